"""Across nodes: what a tunnel between nodes must do, one packet's story a check.

anna (worker1) ── cni0 ── vxlan0 ══ eth0 ═══ 192.168.50.0/24 ═══ eth0 ══ vxlan0 ── cni0 ── ben (worker2)
cleo (control-plane)
"""

import json

import pytest

from labs.checking.probe import body
from netfns.overlay import MTU, UDP_PORT, VNI, Overlay, Vtep

NODES = ("control-plane", "worker1", "worker2")


def reaches(probe, first, second):
    """One pod asks another one of another node and is seen under its own address."""
    answer = body(probe.get(first, second.address, second.port, "/clientip"))
    probe.expect(answer, f"an answer from {second.name} on {second.node}")
    seen = answer.rpartition(":")[0].strip("[]")
    probe.expect(seen == first.address, f"{second.name} sees {first.address}", f"it sees {seen}")


@pytest.mark.points(10)
@pytest.mark.guide("Step 3: the device")
@pytest.mark.hint(
    "Look at the device: `minipod exec node/worker1 -- ip -d link show vxlan0`.",
    "A VXLAN device learns from what it receives unless it is told not to; its MAC address is chosen by chance unless "
    "it is given.",
    "`link add vxlan0 address MAC … nolearning`, and `vtep_mac` tells the MAC.",
)
def test_device(lab, probe):
    """Every node has the device vxlan0 with its computed MAC address, and it learns nothing."""
    for node in lab.objects("Node", ""):
        name = node["metadata"]["name"]
        address = next(a["address"] for a in node["status"]["addresses"] if "." in a["address"])
        shown = lab.exec(f"node/{name}", "ip", "-d", "-j", "link", "show", "dev", "vxlan0")
        probe.note(f"looked at vxlan0 on {name}")
        probe.expect(shown.status == 0, "a device vxlan0", shown.stderr.strip())
        [link] = json.loads(shown.stdout)
        mac = "02:00:" + ":".join(f"{int(byte):02x}" for byte in address.split("."))
        probe.expect(link["address"] == mac, f"the MAC address {mac}", f"{link['address']}")
        learning = link["linkinfo"]["info_data"]["learning"]
        probe.expect(not learning, "a device that learns nothing (nolearning)", "learning is on")


@pytest.mark.points(25)
@pytest.mark.guide("Step 4: the other tunnel ends")
@pytest.mark.hint(
    "Which of the three tables lacks something? Ask the kernel: `minipod exec node/worker1 -- ip route get` and ben's "
    "address.",
    "Three entries for each peer: a route to its range, a neighbour for its tunnel address, an fdb entry for its MAC.",
    "Compare `ip route`, `ip neigh show dev vxlan0` and `bridge fdb show dev vxlan0` with the picture in the guide.",
)
def test_two_workers(pod, probe):
    """A pod on worker1 and one on worker2 reach each other under their own addresses."""
    anna, ben = pod("anna"), pod("ben")
    reaches(probe, anna, ben)
    reaches(probe, ben, anna)


@pytest.mark.points(15)
@pytest.mark.guide("Step 4: the other tunnel ends")
@pytest.mark.hint(
    "It works between the workers. How many peers does `desired.peers` hold?",
    "Write the entries for each peer, not for one of them.",
)
def test_every_node(pod, probe):
    """Pods of the workers and of the control plane reach each other, too."""
    anna, ben, cleo = pod("anna"), pod("ben"), pod("cleo")
    for first, second in ((anna, cleo), (cleo, anna), (ben, cleo), (cleo, ben)):
        reaches(probe, first, second)


@pytest.mark.points(20)
@pytest.mark.guide("Step 5: look inside")
@pytest.mark.hint(
    "Which UDP port does your tunnel use? `minipod exec node/worker1 -- ip -d link show vxlan0` shows dstport.",
    f"VXLAN's own port is 4789 (RFC 7348), but the kernel's default and this lab's use is {UDP_PORT}.",
)
def test_inside_vxlan(lab, pod, probe):
    """Between nodes the packet travels inside VXLAN, from node to node, to UDP port 8472 and in network 1."""
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.vxlan import VXLAN

    anna, ben = pod("anna"), pod("ben")
    with lab.lab.capture("node/worker2") as capture:
        outcome = probe.get(anna, ben.address, ben.port)
        packets = capture.packets(lambda p: UDP in p and IP in p)
    seen = []
    for packet in packets:
        inner = VXLAN(bytes(packet[UDP].payload))
        if TCP in inner and inner[TCP].sport == outcome.local[1] and inner[IP].dst == ben.address:
            seen.append((packet[IP].src, packet[IP].dst, packet[UDP].dport, inner.vni))
    probe.note("listened at eth0 of worker2")
    wanted = ("192.168.50.21", "192.168.50.22", UDP_PORT, VNI)
    shown = (
        ", ".join(f"{a} > {b}:{port} network {vni}" for a, b, port, vni in dict.fromkeys(seen))
        or "no such packet"
    )
    probe.expect(
        seen and set(seen) == {wanted},
        f"the request inside UDP, 192.168.50.21 > 192.168.50.22:{UDP_PORT}, network {VNI}",
        shown,
    )


@pytest.mark.points(10)
@pytest.mark.guide("Step 3: the device")
@pytest.mark.hint(
    "What source address does the node's own packet have? Ask `minipod exec node/worker1 -- ip route get` for ben's.",
    "A node takes the address of the device that the packet leaves by. Does vxlan0 have one?",
    "`address replace` the node's tunnel address, as a single address (/32), on vxlan0.",
)
def test_node_to_pod(lab, pod, probe):
    """A node reaches another node's pod, with its tunnel address as the sender, so that the answer is tunnelled too."""
    ben = pod("ben")
    answer = body(probe.get("node/worker1", ben.address, ben.port, "/clientip"))
    probe.expect(answer, "an answer from ben")
    [node] = [node for node in lab.objects("Node", "") if node["metadata"]["name"] == "worker1"]
    tunnel = next(c for c in node["spec"]["podCIDRs"] if "." in c).partition("/")[0]
    seen = answer.rpartition(":")[0]
    probe.expect(seen == tunnel, f"ben sees worker1's tunnel address {tunnel}", f"it sees {seen}")


@pytest.mark.points(10)
@pytest.mark.guide("Step 3: the device")
@pytest.mark.hint(
    "A header of 50 bytes is put before each packet. What is left of 1500?",
    f"`link add vxlan0 … mtu {MTU}`.",
)
def test_size(lab, pod, probe):
    """A packet of 1450 bytes passes the tunnel in one piece, and a node itself refuses to send a larger one."""
    anna, ben, headers = pod("anna"), pod("ben"), 28
    answer = probe.udp(anna, ben.address, 8081, "echo ".ljust(MTU - headers, "x"))
    probe.expect(answer.answered, f"a datagram that fills a packet of {MTU} bytes is answered")
    size = str(MTU + 1 - headers)
    sent = lab.exec("node/worker1", "ping", "-c1", "-W1", "-Mdo", "-s", size, ben.address, timeout=5.0)
    probe.note(f"pinged {ben.address} with {size} bytes from node/worker1, not to be fragmented")
    said = (sent.stdout + sent.stderr).strip()
    probe.expect(
        "message too long" in said.lower(), f"worker1 itself says: message too long, mtu={MTU}", said[-120:]
    )


@pytest.mark.points(5)
@pytest.mark.guide("Step 4: the other tunnel ends")
@pytest.mark.hint(
    "What becomes of a packet for a MAC address that nobody has? `minipod exec node/worker1 -- bridge fdb show`",
    "An fdb entry for 00:00:00:00:00:00 floods. There is one entry for each peer, and no other.",
)
def test_nothing_is_flooded(lab, probe):
    """Every node knows each other node's tunnel end, once, and sends to nobody else."""
    for name in NODES:
        shown = json.loads(
            lab.exec(f"node/{name}", "bridge", "-j", "fdb", "show", "dev", "vxlan0").stdout or "[]"
        )
        found = sorted((entry["mac"], entry["dst"]) for entry in shown if "dst" in entry)
        addresses = {"control-plane": "192.168.50.10", "worker1": "192.168.50.21", "worker2": "192.168.50.22"}
        others = [address for node, address in addresses.items() if node != name]
        wanted = sorted(("02:00:" + ":".join(f"{int(b):02x}" for b in a.split(".")), a) for a in others)
        probe.note(f"looked at the forwarding entries of {name}")
        told = ", ".join(f"{mac} at {address}" for mac, address in found) or "none"
        probe.expect(found == wanted, f"one for each of {', '.join(others)}", told)


@pytest.mark.points(5)
@pytest.mark.visibility("hidden")
@pytest.mark.guide("Step 6: both families")
def test_ranges_of_both_families(student, probe):
    """A node with an IPv4 and an IPv6 range is reached by routes to both."""
    local = Vtep("n1", "192.168.50.31", ("10.244.7.0/24", "fd00:244:0:7::/64"))
    peer = Vtep("n2", "192.168.50.32", ("10.244.8.0/24", "fd00:244:0:8::/64"))
    words = [line.split() for line in student.call("render", Overlay(local, (peer,))).ip.splitlines()]
    probe.note("called render for two nodes with ranges of both families")
    routes = {word for line in words if line[0] == "route" for word in line if "/" in word}
    probe.expect(
        set(peer.pod_cidrs) <= routes, f"routes to {' and '.join(peer.pod_cidrs)}", f"routes to {routes}"
    )
