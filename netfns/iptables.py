"""iptables-restore text: a ruleset of both families, that can be pasted, and is loaded in parts.

    # iptables-nft-restore --noflush        a section for each family, with the command that takes it
    *nat                                    a table
    :KUBE-MARK-MASQ - [0:0]                 makes the chain, or empties it
    -A KUBE-MARK-MASQ -j MARK ...           a rule at its end; -I: at its head; -D: gone; -X: the chain is gone
    COMMIT                                  all of the table's lines at once, or none

iptables speaks to nf_tables (the variant `-nft`), which takes a table's lines as one netlink message. The
real root may make room for any; root of a sandbox has room for some three hundred lines. So a longer text
goes in parts, each of which is whole by itself. What a rule jumps to must stand above it.

Invariant: the lines of all parts together, in order, are the lines of the text.

Sources: iptables-restore(8), iptables-save(8), xtables-nft(8); netlink(7).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from netfns.kernel import Kernel

RESTORE = {"ip": "iptables-nft-restore", "ip6": "ip6tables-nft-restore"}
SAVE = {"ip": "iptables-nft-save", "ip6": "ip6tables-nft-save"}
PROGRAM = {"ip": "iptables-nft", "ip6": "ip6tables-nft"}
MOST = 200  # lines of a part
Tables = Mapping[str, Sequence[str]]  # table -> its lines, without `*table` and COMMIT


def chain(name: str, rules: Iterable[str] = ()) -> list[str]:
    """The lines that make a chain hold these rules and no others. A rule is written without `-A NAME`."""
    return [f":{name} - [0:0]", *(f"-A {name} {rule}" for rule in rules)]


def section(family: str, tables: Tables) -> str:
    """The text of one family (ip or ip6); "" when no table has a line."""
    filled = "".join(_table(name, lines) for name, lines in tables.items() if lines)
    return f"# {RESTORE[family]} --noflush\n{filled}" if filled else ""


def sections(text: str) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """The inverse of `section`, for a text of several: family and tables of each."""
    families = {f"# {command} --noflush": family for family, command in RESTORE.items()}
    found: list[tuple[str, dict[str, list[str]]]] = []
    lines: list[str] = []
    for line in text.splitlines():
        if line in families:
            found.append((families[line], {}))
        elif line.startswith("*"):
            lines = found[-1][1].setdefault(line[1:], [])
        elif line != "COMMIT" and line and not line.startswith("#"):
            lines.append(line)
    yield from found


def parts(tables: Tables, most: int = MOST) -> list[str]:
    """The texts to be given to iptables-restore one after the other, each of about `most` lines."""
    texts, room = [""], most
    for name, lines in tables.items():
        for start in range(0, len(lines), most):
            some = lines[start : start + most]
            if len(some) > room:
                texts.append("")
                room = most
            texts[-1] += _table(name, some)
            room -= len(some)
    return [text for text in texts if text]


def load(kernel: Kernel, family: str, tables: Tables) -> None:
    """Give the lines to the kernel. Raises CommandError; the parts before the refused one are in force then."""
    for text in parts(tables):
        kernel.run([RESTORE[family], "--noflush"], text)


def held(kernel: Kernel, family: str) -> dict[str, list[str]]:
    """What the kernel holds: the lines of each table, as iptables-save writes them, without counters."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in kernel.run([SAVE[family]]).splitlines():
        if line.startswith("*"):
            lines = found.setdefault(line[1:], [])
        elif line.startswith(":"):
            lines.append(line.rpartition(" ")[0])
        elif line.startswith("-A "):
            lines.append(line)
    return found


def _table(name: str, lines: Iterable[str]) -> str:
    return "\n".join([f"*{name}", *lines, "COMMIT\n"])
