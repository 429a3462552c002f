"""A lab as a picture: SVG for pages and notebooks, text for a terminal. Pure: a Topology in, text out.

    +--------------+                                  each network is a bar, the router joins them;
    |   outside    |                                  a machine hangs below its network's bar, and a
    +------+-------+                                  node holds its pods
    =======+======= 203.0.113.0/24
          [router]
    ====+====================+======= 192.168.50.0/24
    +---+----+          +----+---+
    | worker1|          | lb1    |
    | pod …  |          +--------+
    +--------+

Source: SVG 1.1, sections 9 (shapes) and 10 (text).
"""

from xml.sax.saxutils import escape, quoteattr

from labs.topology import Machine, Network, Pod, Topology

WIDTH, GAP, LINE, LETTER = 180, 14, 15, 6.8  # of a box, between boxes, of a line, of a letter: pixels
MARGIN, BAR, DROP = 16, 6, 26  # around the picture, a network's bar, from a bar to its machines
POD_HEIGHT = 2 * LINE + 8
MOST_PODS = 12  # of one node that are drawn; the rest is counted
COLOURS = {"node": "#e8f1fb", "lb": "#fdf0dc", "vm": "#ececec", "outside": "#e9f6e9"}
STYLE = "font-family:ui-monospace,monospace;font-size:11px"


def svg(topology: Topology) -> str:
    """The picture as one SVG document."""
    canvas = _Canvas()
    nodes, second, outside = topology.networks
    canvas.text(MARGIN, MARGIN + 8, f"lab {topology.name}", bold=True)
    top = MARGIN + 3 * LINE
    below = _network(canvas, outside, MARGIN, top, room=2) + 2 * LINE + DROP
    router = MARGIN + max(1, len(outside.machines)) * (WIDTH + GAP)
    beside = MARGIN + max(1, len(nodes.machines)) * (WIDTH + GAP) + GAP
    canvas.line(router + WIDTH / 2, top + BAR, router + WIDTH / 2, below)
    canvas.line(router, top + BAR + 2 * DROP, beside + WIDTH / 2, top + BAR + 2 * DROP)
    canvas.line(beside + WIDTH / 2, top + BAR + 2 * DROP, beside + WIDTH / 2, below)
    canvas.box(router, top + BAR + DROP, WIDTH, 2 * DROP, "#ffffff")
    canvas.text(router + 8, top + BAR + DROP + LINE, "router", bold=True)
    canvas.text(router + 8, top + BAR + DROP + 2 * LINE, ".1 of each network")
    _network(canvas, nodes, MARGIN, below)
    _network(canvas, second, beside, below)
    return canvas.document(f"Topology of lab {topology.name}")


def _network(canvas: "_Canvas", network: Network, x: float, y: float, room: int = 1) -> float:
    """Draw a network's bar, `room` boxes long at least, with its machines below; returns the y below it all."""
    length = max(room, len(network.machines)) * (WIDTH + GAP) - GAP
    canvas.text(x, y - 5, f"{network.name} {network.cidr}")
    canvas.box(x, y, length, BAR, "#5b6b7b")
    lowest = y + BAR
    for number, machine in enumerate(network.machines):
        left = x + number * (WIDTH + GAP)
        canvas.line(left + WIDTH / 2, y + BAR, left + WIDTH / 2, y + BAR + DROP)
        lowest = max(lowest, _machine(canvas, machine, left, y + BAR + DROP))
    return lowest


def _machine(canvas: "_Canvas", machine: Machine, x: float, y: float) -> float:
    """Draw one machine; returns the y below it."""
    lines = [
        *machine.addresses,
        *([f"pods {machine.pod_cidr}"] if machine.pod_cidr else []),
        *_words(machine),
    ]
    drawn = machine.pods[:MOST_PODS]
    rest = len(machine.pods) - len(drawn)
    height = (len(lines) + 1) * LINE + 12 + len(drawn) * (POD_HEIGHT + 4) + (LINE if rest else 0)
    canvas.box(x, y, WIDTH, height, COLOURS.get(machine.kind, "#ffffff"))
    canvas.text(x + 8, y + LINE, machine.name, bold=True)
    for number, line in enumerate(lines, 2):
        canvas.text(x + 8, y + number * LINE, line, WIDTH - 16)
    at = y + (len(lines) + 1) * LINE + 6
    for pod in drawn:
        canvas.box(x + 6, at, WIDTH - 12, POD_HEIGHT, "#ffffff" if pod.ready else "#f6d5d5")
        canvas.text(x + 12, at + LINE, pod.name, WIDTH - 24, title=f"{pod.namespace}/{pod.name}")
        canvas.text(x + 12, at + 2 * LINE, _where(pod))
        at += POD_HEIGHT + 4
    if rest:
        canvas.text(x + 12, at + LINE - 4, f"and {rest} more pods")
    return y + height


def _words(machine: Machine) -> list[str]:
    """The Services that a machine serves, a line for the name and one for the address."""
    return [word for served in machine.serves for word in served.split()]


def _where(pod: Pod) -> str:
    return "the node's network" if pod.host_network else pod.address or "no address yet"


class _Canvas:
    """Shapes in the order of their drawing, and how far they reach."""

    def __init__(self) -> None:
        self._shapes: list[str] = []
        self._right = self._bottom = 0.0

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        self._reach(x + width, y + height)
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" fill="{fill}" stroke="#5b6b7b"/>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self._shapes.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="#5b6b7b"/>')

    def text(
        self, x: float, y: float, words: str, width: float = 400, *, bold: bool = False, title: str = ""
    ) -> None:
        """A line of text, cut to `width`; `title` shows all of it under the mouse."""
        most = int(width / LETTER)
        shown = words if len(words) <= most else f"{words[: most - 1]}…"
        weight = ' font-weight="bold"' if bold else ""
        hint = f"<title>{escape(title or words)}</title>" if title or shown != words else ""
        self._reach(x + len(shown) * LETTER, y)
        self._shapes.append(f'<text x="{x:g}" y="{y:g}"{weight}>{hint}{escape(shown)}</text>')

    def document(self, title: str) -> str:
        width, height = self._right + MARGIN, self._bottom + MARGIN
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" style={quoteattr(STYLE)} role="img">\n'
            f"<title>{escape(title)}</title>\n"
            f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(self._shapes) + "\n</svg>\n"
        )

    def _reach(self, x: float, y: float) -> None:
        self._right, self._bottom = max(self._right, x), max(self._bottom, y)


def text(topology: Topology) -> str:
    """The picture for a terminal: a tree from the router down to the pods."""
    lines = [f"lab {topology.name}", "router"]
    for index, network in enumerate(topology.networks):
        last = index == len(topology.networks) - 1
        lines.append(f"{'└' if last else '├'}── {network.name}  {network.cidr}  (router {network.router})")
        branches = [_branches(machine) for machine in network.machines]
        lines += _indented(branches, "    " if last else "│   ")
    return "\n".join(lines) + "\n"


def _branches(machine: Machine) -> list[str]:
    """A machine's own line, and one for each pod and Service on it."""
    cidr = f"  pods {machine.pod_cidr}" if machine.pod_cidr else ""
    leaves = [
        *(f"{served}" for served in machine.serves),
        *(
            f"pod/{pod.name}.{pod.namespace}  {_where(pod)}{'' if pod.ready else '  not Ready'}"
            for pod in machine.pods
        ),
    ]
    head = f"{machine.name:<14} {'  '.join(machine.addresses)}{cidr}"
    return [head, *_indented([[leaf] for leaf in leaves], "")]


def _indented(branches: list[list[str]], before: str) -> list[str]:
    """Branches of a tree, each with the lines below it."""
    lines = []
    for index, (head, *rest) in enumerate(branches):
        last = index == len(branches) - 1
        lines.append(f"{before}{'└' if last else '├'}── {head}")
        lines += [f"{before}{'    ' if last else '│   '}{line}" for line in rest]
    return lines
