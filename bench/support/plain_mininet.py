"""The other side of bench/pods and bench/up: a plain Mininet net, as its own tutorials build one.

Run inside a sandbox (support.common.in_sandbox): `… plain_mininet star N` has N hosts on one switch,
`… plain_mininet lab WORKERS` has the machines and switches of a lab.
"""

import sys
import time

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo, Topo

from bench.support.common import tell
from topo.underlay import LabTopo


def main() -> None:
    """Build, start and stop the net; tell how long it took, in seconds."""
    shape, number = sys.argv[1], int(sys.argv[2])
    setLogLevel("critical")
    Mininet.inited = True  # it would raise limits of the whole machine
    begun = time.perf_counter()
    graph: Topo = SingleSwitchTopo(number) if shape == "star" else LabTopo(workers=number)
    net = Mininet(topo=graph, switch=LinuxBridge, controller=None, waitConnected=False, ipBase="10.0.0.0/8")
    net.start()
    started = time.perf_counter()
    net.stop()
    tell({"start": started - begun, "stop": time.perf_counter() - started})


if __name__ == "__main__":
    main()
