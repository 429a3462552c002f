"""What conntrack on a node knows of the packets: connections to an address, and who answers them.

    10.244.1.2:40312 -> 10.96.0.20:80      answered by 10.244.2.3:8080        the way there and the way back differ:
                                                                              that is the translation

Elements of nftables maps have no counters here (one for each would cost memory for every service); connections tell
which endpoint was chosen, and for how long that is remembered.

Source: conntrack(8).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from labs.explain.scene import LabKernel
from labs.explain.story import Step
from netfns.kernel import CommandError

PAIR = re.compile(r"\b(src|dst|sport|dport|packets|bytes)=(\S+)")
SHOWN = 10  # connections


def connections(kernel: LabKernel, targets: Iterable[tuple[str, int]], title: str) -> Step:
    """The step "packets": the connections whose first packet went to one of the targets: address, port (0: any)."""
    found: list[dict[str, Any]] = []
    try:
        for address, port in targets:
            family = "ipv6" if ":" in address else "ipv4"
            argv = ["conntrack", "-L", "-f", family, "--orig-dst", address]
            read = (_read(line) for line in kernel.run(argv).splitlines())
            found += [one for one in read if one and (not port or one["to"].endswith(f":{port}"))]
    except CommandError as error:
        return Step("packets", title, (f"cannot be read: {error}",), {"error": str(error)})
    to = Counter(f"{one['protocol']} {one['to']} -> {one['answered_by']}" for one in found)
    lines = [f"{count:>5} connections {way}" for way, count in sorted(to.items())]
    lines += [
        f"      {one['from']} {one['state']}, forgotten after {one['seconds']} s" for one in found[:SHOWN]
    ]
    return Step("packets", title, tuple(lines) or ("no connection is remembered",), found)


def _read(line: str) -> dict[str, Any] | None:
    """One line of `conntrack -L`: the tuple of the way there, then that of the way back."""
    words = line.split()
    pairs = PAIR.findall(line)
    there = dict(pairs[: len(pairs) // 2])
    back = dict(pairs[len(pairs) // 2 :])
    if len(words) < 4 or "src" not in back:
        return None
    state = words[3] if words[0] == "tcp" else ("no answer yet" if "[UNREPLIED]" in words else "answered")
    return {
        "protocol": words[0],
        "from": f"{there['src']}:{there.get('sport', '')}",
        "to": f"{there['dst']}:{there.get('dport', '')}",
        "answered_by": f"{back['src']}:{back.get('sport', '')}",
        "state": state,
        "seconds": int(words[2]) if words[2].isdigit() else 0,
    }
