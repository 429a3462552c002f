"""External-to-service, and the way out.

outside 203.0.113.10 ── router ──┬── 192.168.50.x:NodePort on every node ──┐
                                 └── 192.168.50.2xx (lb1, HAProxy) ────────┴──> pod
pod ── masquerade ── router ── www.outside.example
"""

from contextlib import suppress
from typing import Any

from labs.check.claim import Refuted, claim
from labs.check.subjects import GaveUp, NotApplicable, Scene, Target, connections, until

KIND = "external-to-service"
OUTSIDE = "outside"
CHECKED = 3.0  # seconds in which HAProxy has asked every node anew


@claim("node-port", KIND, "from outside, a service answers on its node port at every node")
def node_port(scene: Scene) -> str:
    """See `at_every_node`."""
    return at_every_node(scene, scene.target(lambda t: bool(t.node_port), "service with a node port"), "")


def at_every_node(scene: Scene, target: Target, mark: str) -> str:
    """Ask the node port at every node from the machine `outside`, at the node's first address that has `mark` in it
    (":" for IPv6).
    """
    nodes = {
        node["metadata"]["name"]: next(
            a["address"]
            for a in node["status"]["addresses"]
            if a["type"] == "InternalIP" and mark in a["address"]
        )
        for node in scene.objects("Node", "")
    }
    outcomes = {name: scene.get(OUTSIDE, address, target.node_port) for name, address in nodes.items()}
    silent = [f"{name} ({outcome.verdict})" for name, outcome in outcomes.items() if not outcome.answered]
    asked = ", ".join(f"{name} ({address})" for name, address in nodes.items())
    if silent:
        raise Refuted(
            did=f"asked port {target.node_port} (service {target.name}) of {asked} from outside",
            expected="an answer from every node",
            saw=f"none from {', '.join(silent)}",
            look="`minipod explain service/NAME.NAMESPACE`",
        )
    return f"{target.name}: outside asks port {target.node_port} of {asked}: {len(nodes)} answers"


@claim(
    "load-balancer",
    KIND,
    "from outside, a service answers under its load-balancer address, through HAProxy on lb1",
)
def load_balancer(scene: Scene) -> str:
    """Follow the connection over lb1: one arrives there, and HAProxy opens another one to a node."""
    target = scene.target(lambda t: bool(t.load_balancer), "service with a load-balancer address")
    with suppress(GaveUp):  # HAProxy asks a node again only some time after it has begun to serve
        until(lambda: scene.get(OUTSIDE, target.load_balancer, target.port).answered, "served", CHECKED)
    with scene.lab.capture("lb/lb1") as capture:
        outcome = scene.get(OUTSIDE, target.load_balancer, target.port)
        arrived = connections(capture, target.port)
        onward = connections(capture, target.node_port)
    if not outcome.answered or not arrived or not onward:
        raise Refuted(
            did=f"asked {target.load_balancer}:{target.port} (service {target.name}) from outside",
            expected=f"an answer; at lb1 one connection in, one out to node port {target.node_port}",
            saw=f"{outcome.verdict}; at lb1 {len(arrived)} in, {len(onward)} out",
            look="`minipod exec lb/lb1 -- ss -tln`",
        )
    return (
        f"{target.name}: outside asks {target.load_balancer}:{target.port}; lb1 sees {arrived[0][0]}"
        f" come in and {onward[0][0]} go on to node port {target.node_port}; {len(outcome.reply)} bytes back"
    )


@claim("cluster-ip-stays-inside", KIND, "from outside, a cluster address is not reachable")
def cluster_ip_stays_inside(scene: Scene) -> str:
    """The address that just answered a pod answers nobody outside."""
    target = scene.target(lambda _: True, "service with endpoints")
    inside = scene.get(scene.client_of(target).machine, target.cluster_ip, target.port)
    outcome = scene.get(OUTSIDE, target.cluster_ip, target.port, timeout=1.0)
    if outcome.verdict == "connected" or not inside.answered:
        raise Refuted(
            did=f"asked {target.cluster_ip}:{target.port} ({target.name}) from outside, and from a pod",
            expected="no way from outside, an answer inside",
            saw=f"outside: {outcome.verdict}; inside: {inside.verdict}",
            look="`minipod exec router -- ip route`",
        )
    return f"{target.cluster_ip}:{target.port} answers a pod; from outside: {outcome.verdict}"


@claim("external-name", KIND, "a pod fetches a page from outside through an ExternalName service")
def external_name(scene: Scene) -> str:
    """The name leads over a CNAME to an outside address; the page sees the node's address, not the pod's."""
    services = [s for s in scene.objects("Service") if s["spec"].get("type") == "ExternalName"]
    pods = scene.pods()
    if not services or not pods:
        raise NotApplicable(f"namespace {scene.namespace} has no ExternalName service and a pod to use it")
    name, wanted = services[0]["metadata"]["name"], services[0]["spec"]["externalName"].rstrip(".")
    pod = pods[0]
    full = f"{name}.{scene.namespace}.svc.cluster.local"
    alias, address = _resolve(scene, pod.machine, full)
    outcome = scene.get(pod.machine, address, 80, "/clientip") if address else None
    family = ":" if ":" in address else "."
    node = next((row["ip"] for row in pod.obj["status"]["hostIPs"] if family in row["ip"]), "")
    body = outcome.reply.partition(b"\r\n\r\n")[2].decode(errors="replace") if outcome else ""
    seen = body.rpartition(":")[0]
    if alias != wanted or seen != node:
        raise Refuted(
            did=f"looked up {full} in {pod.name} and fetched http://{name}/clientip",
            expected=f"CNAME {wanted}, and {node} ({pod.node}) as the client's address at the page",
            saw=f"CNAME {alias or 'none'}, address {address or 'none'}; the page saw {body[:80] or 'nobody'}",
            look="`minipod exec node/NAME -- nft list table ip masquerading`",
        )
    return f"{full} is CNAME {alias}, {address}; its page sees {seen} ({pod.node}), not {pod.address}"


def _resolve(scene: Scene, machine: str, name: str) -> tuple[str, str]:
    """The CNAME target and the IPv4 address that a pod's own name server gives for a name; "" for none."""
    import dns.message
    import dns.rdatatype

    text = scene.lab.exec(machine, ["cat", "/etc/resolv.conf"], timeout=10).stdout
    servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")]
    query = dns.message.make_query(name, "A")
    reply = scene.lab.udp(machine, servers[0], 53, query.to_wire()).reply if servers else b""
    if not reply:
        return "", ""
    found: dict[Any, str] = {}
    for rrset in dns.message.from_wire(reply).answer:
        found.setdefault(rrset.rdtype, str(rrset[0]).rstrip("."))
    return found.get(dns.rdatatype.CNAME, ""), found.get(dns.rdatatype.A, "")
