"""Starter and solution from one source: the reference, with what students write taken out of it.

    netfns/overlay.py ──blank("render")──> overlay.py: the same file, but
        render          its signature and docstring, and a TODO instead of its body
        _single         a helper that only the body used: gone
        tunnel_addresses   a helper that only the body used, but the docstring names it: it stays
        MTU             a plain constant: it stays, the docstring speaks of it
        ip_address      an import that only they used: gone

    solution/answers.toml ──> answers.toml: every value is ""

The other way round, `overlay` puts other functions into the reference: so a wrong answer holds only what it gets
wrong, and what it gets right cannot drift from the reference.

Invariant: a starter is a valid file, and no line of what it lacks is left in it.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

from labs.course.definition import STARTER, Exercise, LabDefinition
from labs.errors import LabError

BODY = '# TODO: write this. The docstring says what it must do.\nraise NotImplementedError("{}: not written yet")\n'
ORIGINAL = "reference_"  # how an overlaid file calls the reference's own function
_VALUE = re.compile(
    r"^(?P<key>[A-Za-z0-9_-]+)\s*=\s*(?P<value>(\"[^\"]*\"|'[^']*'|[^#\n]*?))(?P<rest>\s*(#.*)?)$",
    re.MULTILINE,
)
_CHUNK = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def solution(definition: LabDefinition, exercise: Exercise) -> str:
    """The reference's text. Raises LabError where there is none, as in a hand-out."""
    path = definition.reference(exercise)
    try:
        return path.read_text()
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}: a hand-out has no solutions") from None


def starter(definition: LabDefinition, exercise: Exercise) -> str:
    """What a student begins with."""
    if definition.is_handout:
        return (definition.folder / STARTER / exercise.file).read_text()
    text = solution(definition, exercise)
    return blank(text, exercise.functions, exercise.omit) if exercise.module else blank_values(text)


def blank_values(text: str) -> str:
    """A TOML text of single lines, each value an empty text."""
    return _VALUE.sub(lambda found: f'{found["key"]} = ""{found["rest"]}', text)


def blank(source: str, functions: Sequence[str], omit: Sequence[str] = ()) -> str:
    """A Python text without the bodies of `functions` (`name` or `Class.method`), without `omit`, and without what
    only they needed.
    """
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    edits = [_blanked(lines, node, name) for name, node in _found(tree, functions)]
    tops = _top_level(tree)
    edits += [(*_span(lines, tops[name]), "") for name in omit]
    edits += [(*_span(lines, tops[name]), "") for name in sorted(_needed_no_more(tree, functions, omit))]
    return _without_unused_imports(_edited(lines, edits))


def overlay(reference: str, other: str) -> str:
    """The reference with the definitions of `other` instead of its own.

    A function that is replaced is still there as `reference_NAME`; a constant is replaced where it stands.
    """
    lines = reference.splitlines(keepends=True)
    tops, edits, added = _top_level(ast.parse(reference)), list[tuple[int, int, str]](), list[str]()
    for node in ast.parse(other).body:
        text = ast.get_source_segment(other, node) or ""
        names = [name for name in _defined(node) if name in tops]
        if isinstance(node, _CHUNK) and not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            edits += [(*_span(lines, tops[name]), f"{text}\n") for name in names]
            added += [] if names else [text]
            continue
        if _is_docstring(node) or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            continue
        edits += [_renamed(lines, tops[name], name) for name in names]
        added.append(text)
    return "\n\n".join([_edited(lines, edits).rstrip("\n") + "\n", *added]) + "\n"


def overlay_values(reference: str, other: str) -> str:
    """A TOML text of single lines with the values of `other` instead of its own."""
    values = {found["key"]: found["value"] for found in _VALUE.finditer(other)}
    return _VALUE.sub(
        lambda found: f"{found['key']} = {values.get(found['key'], found['value'])}{found['rest']}", reference
    )


# ---------------------------------------------------------------- what is where


def _top_level(tree: ast.Module) -> dict[str, ast.stmt]:
    return {name: node for node in tree.body for name in _defined(node)}


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines, imports excepted."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _found(
    tree: ast.Module, names: Iterable[str]
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The functions and methods called `names`."""
    for name in names:
        head, _, method = name.partition(".")
        node = _top_level(tree).get(head)
        if isinstance(node, ast.ClassDef) and method:
            node = {n: found for found in node.body for n in _defined(found)}.get(method)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            raise LabError(f"functions: {name}: the reference has no such function: name one of its own")
        yield name, node


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """The statements after the docstring."""
    return node.body[1:] if _is_docstring(node.body[0]) else node.body


def _used(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name that occurs in `nodes`; annotations that are texts count too."""
    names = set()
    for node in nodes:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name):
                names.add(inner.id)
    return names


def _needed_no_more(tree: ast.Module, functions: Sequence[str], omit: Sequence[str]) -> set[str]:
    """The top-level names that only the bodies of `functions`, and `omit`, needed."""
    tops = _top_level(tree)
    blanked = [node for _, node in _found(tree, functions)]
    bodies = [statement for node in blanked for statement in _body(node)] + [tops[name] for name in omit]
    candidates = _reached(tops, _used(bodies)) - {name.partition(".")[0] for name in functions} - set(omit)
    inside = {id(inner) for body in bodies for inner in ast.walk(body)}
    kept = {name for name in tops if name not in candidates and name not in omit}
    needed: set[str] = set()
    while kept - needed:
        needed |= kept
        outside = [inner for name in kept for inner in ast.walk(tops[name]) if id(inner) not in inside]
        kept = {node.id for node in outside if isinstance(node, ast.Name)} & set(tops)
        kept |= {
            word for node in blanked for word in re.findall(r"\w+", ast.get_docstring(node) or "")
        } & set(tops)
    return {name for name in candidates - needed if not _is_plain_constant(tops[name])}


def _reached(tops: dict[str, ast.stmt], names: set[str]) -> set[str]:
    """`names` and all that they need in turn, as far as it is defined here."""
    reached: set[str] = set()
    pending = names & set(tops)
    while pending:
        reached |= pending
        pending = (_used(tops[name] for name in pending) & set(tops)) - reached
    return reached


def _is_plain_constant(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return isinstance(value, ast.Constant) and node.lineno == node.end_lineno


# ---------------------------------------------------------------- editing lines


def _span(lines: Sequence[str], node: ast.stmt) -> tuple[int, int]:
    """First and last+1 line of a definition, with its decorators and the comment right above it."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    return first, node.end_lineno or node.lineno


def _blanked(
    lines: Sequence[str], node: ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> tuple[int, int, str]:
    body = _body(node)
    indent = " " * (node.col_offset + 4)
    text = "".join(f"{indent}{line}\n" for line in BODY.format(name).replace("'", '"').splitlines())
    if not body:
        end = node.end_lineno or node.lineno
        return end, end, text
    first = body[0].lineno - 1
    while lines[first - 1].lstrip().startswith("#"):  # a comment may tell as much as the line below it
        first -= 1
    return first, node.end_lineno or node.lineno, text


def _renamed(lines: Sequence[str], node: ast.stmt, name: str) -> tuple[int, int, str]:
    """The line that defines `name`, defining `reference_name` instead."""
    number = node.lineno - 1
    return number, number + 1, re.sub(rf"\b{name}\b", f"{ORIGINAL}{name}", lines[number], count=1)


def _edited(lines: Sequence[str], edits: list[tuple[int, int, str]]) -> str:
    """The lines with each (first, last+1, text) replaced; never more than two empty lines together."""
    result = list(lines)
    for first, last, text in sorted(edits, reverse=True):
        result[first:last] = [text] if text else []
    text = re.sub(
        r"(^# -{10,}[^\n]*\n)\n*(?=# -{10,})", "", "".join(result), flags=re.MULTILINE
    )  # empty sections
    return re.sub(r"\n{4,}", "\n\n\n", text)


def _without_unused_imports(source: str) -> str:
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    used = _used(node for node in tree.body if node not in imports)
    edits = []
    for node in imports:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("__future__", "netfns")):
            continue  # what the project offers for the job stays in sight
        kept = [alias for alias in node.names if (alias.asname or alias.name.partition(".")[0]) in used]
        if len(kept) < len(node.names):
            node.names = kept
            text = f"{ast.unparse(node)}\n" if kept else ""
            edits.append((node.lineno - 1, node.end_lineno or node.lineno, text))
    return _edited(source.splitlines(keepends=True), edits)
