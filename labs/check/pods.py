"""Pod-to-pod: every pod reaches every other under its own address, and nobody translates it.

same node      veth ── cni0 ── veth
across nodes   veth ── cni0 ── vxlan0 ══ eth0 ═══ eth0 ══ vxlan0 ── cni0 ── veth
"""

from ipaddress import ip_address

from labs.check.claim import Refuted, claim
from labs.check.subjects import NotApplicable, Scene, Witness, connections, network_layer
from netfns.overlay import UDP_PORT

KIND = "pod-to-pod"


def reach(scene: Scene, first: Witness, second: Witness, source: str, target: str) -> str:
    """The first asks the second at its address `target`, and its own device shows the first's own address `source`."""
    with scene.captures((second,)) as captures:
        outcome = scene.get(first.machine, target, second.port)
        # The connection by its port, which nobody changes on the way; probes of the kubelet arrive as well.
        arrived = connections(captures[second.name], second.port)
        sources = [source for source, port in arrived if port == outcome.local[1]]
    if not outcome.answered or sources != [source]:
        raise Refuted(
            did=f"asked {target} port {second.port} ({second.name}, {second.node}) from {first.name}, {first.node}",
            expected=f"an answer, and {source} as the source at the receiver's eth0",
            saw=f"{outcome.verdict}, {len(outcome.reply)} bytes; sources there: {', '.join(sources) or 'none'}",
            look=f"`minipod exec node/{first.node} -- ip route get {target}`",
        )
    return (
        f"{first.name} ({first.node}) asks {target} port {second.port} ({second.node}), which sees {sources[0]}"
        f" and answers {len(outcome.reply)} bytes"
    )


@claim("same-node", KIND, "two pods of one node reach each other under their own addresses")
def same_node(scene: Scene) -> str:
    """See `reach`."""
    first, second = scene.near_pair()
    return reach(scene, first, second, first.address, second.address)


@claim("across-nodes", KIND, "pods of two nodes reach each other under their own addresses, without NAT")
def across_nodes(scene: Scene) -> str:
    """See `reach`."""
    first, second = scene.far_pair()
    return reach(scene, first, second, first.address, second.address)


@claim(
    "overlay-packet", KIND, "between nodes the packet travels inside VXLAN, from node address to node address"
)
def overlay_packet(scene: Scene) -> str:
    """Catch the packet on the underlay with scapy, and read both of its headers."""
    from scapy.layers.inet import TCP, UDP
    from scapy.layers.vxlan import VXLAN

    first, second = scene.far_pair()
    with scene.lab.capture(f"node/{second.node}") as capture:
        outcome = scene.get(first.machine, second.address, second.port)
        caught = [
            VXLAN(bytes(p[UDP].payload))
            for p in capture.packets(lambda p: UDP in p and p[UDP].dport == UDP_PORT)
        ]
        outer = capture.packets(lambda p: UDP in p and p[UDP].dport == UDP_PORT)
    for inner, packet in zip(caught, outer, strict=True):
        if TCP not in inner:
            continue
        outside, inside = network_layer(packet), network_layer(inner)
        if (inside.src, inside.dst) == (first.address, second.address):
            ends = f"{outside.src} > {outside.dst}:{packet[UDP].dport}"
            return f"outer {ends}, VNI {inner.vni}; inner {inside.src} > {inside.dst} port {inner[TCP].dport}"
    raise Refuted(
        did=f"asked {second.address}:{second.port} from {first.name} and listened on eth0 of {second.node}",
        expected=f"a packet to UDP port {UDP_PORT} with {first.address} > {second.address} inside",
        saw=f"{len(outer)} VXLAN packets, none with these addresses; the request: {outcome.verdict}",
        look=f"`minipod exec node/{first.node} -- bridge fdb show dev vxlan0`",
    )


@claim("node-to-pods", KIND, "every node reaches each of its own pods")
def node_to_pods(scene: Scene) -> str:
    """Ping each pod of the cluster from its own node."""
    pods = scene.pods("")
    if not pods:
        raise NotApplicable("no pod is Ready")
    lost = []
    for pod in pods:
        family = "-6" if ip_address(pod.address).version == 6 else "-4"
        if scene.lab.exec(f"node/{pod.node}", ["ping", family, "-c1", "-W2", pod.address], timeout=10).status:
            lost.append(f"{pod.name} ({pod.address}) on {pod.node}")
    nodes = sorted({pod.node for pod in pods})
    if lost:
        raise Refuted(
            did=f"pinged {len(pods)} pods, each from its own node",
            expected="every pod answers",
            saw=f"no answer from {', '.join(lost)}",
            look="`minipod exec node/NAME -- bridge link`",
        )
    return f"{len(pods)} of {len(pods)} pods answer a ping from their node ({', '.join(nodes)})"
