"""The measured part of bench/exec, run in a lab's sandbox: `… entering PIDFD NAMESPACES ROUNDS`.

PIDFD is an inherited pidfd of a pod's container. The ways take turns, so that all see the same weather.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mininet.log import setLogLevel
from mininet.node import Node

from bench.support.common import median, seconds_of
from topo import syscalls
from topo.enter import Namespaces, environment

WARM_UPS = 20
COMMAND = ["/usr/bin/true"]  # by its path: the shell of a Mininet host has a `true` of its own


def main() -> None:
    """Print the medians in seconds as JSON."""
    pidfd, namespaces, rounds = (int(word) for word in sys.argv[1:4])
    setLogLevel("critical")
    # `ip netns exec` mounts a sysfs, which the kernel allows only where another one is in sight.
    syscalls.unshare(syscalls.CLONE_NEWNS)
    in_sight = Path("/run/bench-sys")
    in_sight.mkdir(exist_ok=True)
    syscalls.mount("sysfs", str(in_sight), "sysfs")
    pod = Namespaces.of_process(pidfd)
    host = Node("bench-exec")
    names = [f"bench-exec-{number}" for number in range(namespaces)]
    _change("add", names)
    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: _wait(subprocess.Popen(COMMAND, env=environment())),
        "enter": lambda: _wait(pod.popen(COMMAND)),
        "netns": lambda: _wait(
            subprocess.Popen(["ip", "netns", "exec", names[-1], *COMMAND], env=environment())
        ),
        "mininet": lambda: host.cmd(COMMAND),
    }
    try:
        turns = [{way: seconds_of(start) for way, start in ways.items()} for _ in range(WARM_UPS + rounds)]
    finally:
        _change("delete", names)
        host.terminate()
    print(json.dumps({way: median([turn[way] for turn in turns[WARM_UPS:]]) for way in ways}))


def _wait(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        raise RuntimeError(f"{process.args!r}: status {process.returncode}")


def _change(verb: str, names: list[str]) -> None:
    """Add or delete named network namespaces."""
    lines = "".join(f"netns {verb} {name}\n" for name in names)
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)


if __name__ == "__main__":
    main()
