"""Services at scale: three endpoints each, on one node, in every layout that a kernel can hold.

    nftables     this house's: concatenated maps, a service is a few elements
    iptables     kube-proxy's chains KUBE-*, where that mode is there
    kube-proxy   its own nftables layout as the reference: a chain for each service and for each endpoint

Aims: full load of 10,000 at least 40 times faster than the reference; one change under 1 ms, the same at 100 as at
10,000; a connection to the last service as fast at 10,000 as at 100; fifty nodes with 1,000 services in less than
twice the time of replaying a compiled batch; throughput through a ClusterIP at least 95 % of direct; from a pod's death
to the last connection that is sent to it under a second.
"""

import os
from typing import Any

from bench.support.common import Report, arguments, counts, in_sandbox, median, milliseconds, settle
from bench.support.dying import deaths
from netfns import PROXY_MODES

INSIDE = "bench.support.service_load"
NODES, ON_NODES, DEATHS = 50, 1000, 7
LAYOUTS = [mode for mode in ("nftables", "iptables") if mode in PROXY_MODES]


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument(
        "--counts", type=counts, default=[100, 1000, 10000], help="services (default 100,1000,10000)"
    )
    parser.add_argument("--layouts", default=",".join([*LAYOUTS, "kube-proxy"]), help="which to measure")
    options = parser.parse_args()
    report = Report("services")
    layouts = options.layouts.split(",")
    measured = {
        (layout, count): measure(layout, count, options.repeat)
        for count in options.counts
        for layout in layouts
    }
    rows = []
    for (layout, count), found in measured.items():
        reference = measured.get(("kube-proxy", count))
        times = ["load", "change", "add"]
        cells = [f"{milliseconds(found[name])}{_ratio(found, reference, name)}" for name in times]
        connect = f"{found['connect'] * 1e6:.1f} us ({found['connect'] / found['direct']:.2f} x)"
        rows.append([f"{count} {layout}", *cells, connect, f"{found['memory'] / 2**20:.1f} MiB"])
    header = [
        "services",
        "full load",
        "one endpoint changed",
        "one service added",
        "connect to the last",
        "kernel memory",
    ]
    report.table(
        "One node (times as fast as kube-proxy's layout; connect beside a direct one; memory of the whole machine)",
        header,
        rows,
    )
    runs = [inside("nodes", NODES, ON_NODES) for _ in range(options.repeat)]
    nodes = {name: median([run[name] for run in runs]) for name in runs[0]}
    ratio = f"{nodes['loaded'] / nodes['replayed']:.2f} x"
    row = [f"{NODES} x {ON_NODES}", f"{nodes['loaded']:.2f} s", f"{nodes['replayed']:.2f} s", ratio]
    row.append(milliseconds(nodes["changed"]))
    report.table(
        "Many nodes",
        ["nodes", "rendered and loaded", "batch replayed", "ratio", "endpoint changed on all"],
        [row],
    )
    flows = inside("flows")
    share = f"{flows['share']:.2f} x"
    speeds = [f"{flows[name] / 1e9:.1f} Gbit/s" for name in ("direct", "through")]
    report.table(
        f"Throughput, one connection, another node (medians of {flows['turns']} pairs of turns)",
        ["", "direct", "by ClusterIP", "share"],
        [["TCP", *speeds, share]],
    )
    died = deaths(DEATHS)
    asked, lost = (sum(counted) for counted in zip(*((d.asked, d.lost) for d in died), strict=True))
    last = sorted(death.last for death in died)
    report.table(
        "In a lab: a pod's program is killed; from its death to the last connection that has no answer",
        ["deaths", "median", "longest", "connections", "without an answer"],
        [[str(DEATHS), milliseconds(last[DEATHS // 2]), milliseconds(last[-1]), str(asked), str(lost)]],
    )
    if options.save:
        report.save()
    return 0


def measure(layout: str, count: int, repeat: int) -> dict[str, float]:
    """The medians of a layout's figures; the reference is measured once where it takes a minute."""
    slow = layout == "kube-proxy" and count > 2000
    runs = [inside(layout, count) for _ in range(1 if slow else repeat)]
    return {name: median([run[name] for run in runs]) for name in runs[0]}


def inside(*words: object) -> dict[str, Any]:
    """A measurement in a sandbox of its own; as the host's root if we are: the reference is one large message."""
    settle()
    return in_sandbox(INSIDE, *map(str, words), privileged=os.geteuid() == 0)


def _ratio(found: dict[str, float], reference: dict[str, float] | None, name: str) -> str:
    if reference is None or reference is found:
        return ""
    return f" ({reference[name] / found[name]:.0f} x)"


if __name__ == "__main__":
    raise SystemExit(main())
