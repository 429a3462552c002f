"""Runs `ip -batch` texts in the namespace that it is started in, and prints what they left. Started by test_netlink.py.

    python netlink_state.py ip|netlink < {"node": batch, "pod": batch}

PID in the node's text becomes the number of a process in the pod's namespace. Output: {"node": state, "pod": state}, or
{"error": …} when the node's text is refused.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from topo import syscalls
from topo.netlink import NetlinkError, Rtnetlink, compile_batch

QUEUES = ("num_tx_queues", "num_rx_queues")


def by_ip(text: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)


def by_netlink(text: str) -> None:
    requests = compile_batch(text)
    assert requests is not None, "a line that only ip knows"
    rtnetlink = Rtnetlink()
    rtnetlink.send(requests)
    rtnetlink.close()


def state() -> dict[str, Any]:
    """The links, addresses and routes, without numbers that differ from one namespace to the next."""
    return {
        "links": [_link(link) for link in _json("-details", "link")],
        "addresses": [
            [
                link["ifname"],
                [(a["local"], a["prefixlen"], a["scope"], a.get("nodad")) for a in link["addr_info"]],
            ]
            for link in _json("addr")
        ],
        "routes": [*_json("-4", "route"), *_json("-6", "route")],
    }


def _link(link: dict[str, Any]) -> dict[str, Any]:
    info = link.get("linkinfo", {})
    kept = {
        key: link.get(key)
        for key in ("ifname", "mtu", "master", "address", "ifalias", "inet6_addr_gen_mode", *QUEUES)
    }
    port = info.get("info_slave_data", {}).get("hairpin")
    if link["ifname"] in ("eth0", "v6", "v7"):
        kept["address"] = ""  # drawn by chance
    return kept | {"up": "UP" in link["flags"], "kind": info.get("info_kind"), "hairpin": port}


def _json(*words: str) -> Any:
    return json.loads(
        subprocess.run(["ip", "-j", *words], capture_output=True, text=True, check=True).stdout or "[]"
    )


def main(argv: Sequence[str]) -> None:
    run = {"ip": by_ip, "netlink": by_netlink}[argv[0]]
    texts = json.load(sys.stdin)
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo there; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as pod:
        assert pod.stdout
        assert pod.stdout.readline() == "there\n"
        by_ip(
            "link add cni0 address 02:00:00:00:00:01 type bridge\nlink set cni0 up\naddr add 10.244.1.1/24 dev cni0\n"
        )
        try:
            run(texts["node"].replace("PID", str(pod.pid)))
        except NetlinkError as error:
            json.dump({"error": error.strerror}, sys.stdout)
            pod.kill()
            return
        node = state()
        syscalls.setns(os.open(f"/proc/{pod.pid}/ns/net", os.O_RDONLY), syscalls.CLONE_NEWNET)
        run(texts["pod"])
        json.dump({"node": node, "pod": state()}, sys.stdout)
        pod.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
