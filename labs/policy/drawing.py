"""A matrix of who reaches whom, as a table for a terminal and as a picture."""

from __future__ import annotations

from html import escape

from labs.policy.matrix import Cell, Matrix

PIXELS, MARGIN, LETTER = 22, 12, 7  # of a cell, around everything, and a letter's width
COLOURS = {"yes": "#4c9f70", "no": "#c0392b", "differs": "#f39c12", "self": "#dddddd"}


def mark(cell: Cell | None) -> str:
    """One cell: reaches, dropped, or !, when the packet did not do what was predicted."""
    if cell is None:
        return " "
    if not cell.agrees:
        return "!"
    return "o" if cell.predicted else "."


def text(matrix: Matrix) -> str:
    """Rows send, columns receive."""
    width = max(len(name) for name in matrix.pods)
    numbers = [str(number) for number in range(1, len(matrix.pods) + 1)]
    column = max(len(numbers[-1]), 1) + 1
    lines = [f"{'':>{column}} {'':<{width}} " + "".join(f"{number:>{column}}" for number in numbers)]
    for number, sender in zip(numbers, matrix.pods, strict=True):
        cells = "".join(f"{mark(matrix.cells.get((sender, r))):>{column}}" for r in matrix.pods)
        lines.append(f"{number:>{column}} {sender:<{width}} {cells}")
    differing = [cell for cell in matrix.cells.values() if not cell.agrees]
    lines += ["", f"{matrix.port}/{matrix.protocol}, from row to column: o reaches, . is dropped, ! differs"]
    lines += [f"! {c.sender} -> {c.receiver}: {_difference(c)}" for c in differing]
    unmeasured = sum(cell.measured is None for cell in matrix.cells.values())
    if unmeasured:
        lines.append(f"{unmeasured} pairs were only predicted: a pod of theirs does not run")
    return "\n".join(lines)


def _difference(cell: Cell) -> str:
    return "was to be dropped, and arrived" if cell.measured else "was to arrive, and did not"


def svg(matrix: Matrix) -> str:
    """The same as a picture; a cell's title says what it means."""
    left = MARGIN + LETTER * max(len(name) for name in matrix.pods) + MARGIN
    size = left + PIXELS * len(matrix.pods) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size + 2 * PIXELS}" '
        'font-family="monospace" font-size="12">',
        f'<rect width="{size}" height="{size + 2 * PIXELS}" fill="white"/>',
    ]
    for index, name in enumerate(matrix.pods):
        place = left + PIXELS * index
        middle = place + PIXELS // 2 + 4
        parts.append(f'<text x="{left - MARGIN // 2}" y="{middle}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<text transform="translate({middle},{left - MARGIN // 2}) rotate(-90)">{escape(name)}</text>'
        )
    for row, sender in enumerate(matrix.pods):
        for column, receiver in enumerate(matrix.pods):
            parts.append(
                _square(matrix.cells.get((sender, receiver)), left + PIXELS * column, left + PIXELS * row)
            )
    legend = f"{matrix.port}/{matrix.protocol}, from row to column"
    parts.append(
        f'<text x="{MARGIN}" y="{size + PIXELS}">{legend}: green reaches, red dropped, orange differs</text>'
    )
    return "\n".join(parts) + "\n</svg>\n"


def _square(cell: Cell | None, x: int, y: int) -> str:
    if cell is None:
        kind, title = "self", ""
    else:
        kind = "differs" if not cell.agrees else "yes" if cell.predicted else "no"
        seen = _difference(cell) if not cell.agrees else "reaches" if cell.predicted else "dropped"
        title = f"<title>{escape(f'{cell.sender} to {cell.receiver}: {seen}')}</title>"
    side = PIXELS - 2
    return f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{COLOURS[kind]}">{title}</rect>'
