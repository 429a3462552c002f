"""A Service's cluster address: what the service NAT of every node must do, one packet's story a check.

anna (worker1) ──10.96.x.y:80──> web-1 (worker1), web-2 (worker2) or web-3 (control-plane), port 8080
outside ──192.168.50.21:30080──> the same            alone ──its own Service──> alone
"""

import pytest

from labs.checking.probe import body

WEB = ("web-1", "web-2", "web-3")
REQUESTS = 40  # that one of three pods gets none of them has a chance of 3 in ten million
ANOTHER = """\
apiVersion: v1
kind: Service
metadata: {name: another}
spec:
  selector: {app: web}
  ports: [{port: 8000, targetPort: 8080}]
"""


def cluster_ip(lab, name):
    """The cluster address of a Service."""
    [service] = [s for s in lab.objects("Service") if s["metadata"]["name"] == name]
    return service["spec"]["clusterIP"]


@pytest.mark.points(20)
@pytest.mark.guide("Step 3: the first translation")
@pytest.mark.hint(
    "Does your table hold the address? `minipod exec node/worker1 -- nft list table ip service`",
    "A pod's packet passes the hook prerouting of its node. That is where its destination must change.",
    "`type nat hook prerouting priority dstnat`, and in it `ip daddr … tcp dport … dnat to …`.",
)
def test_cluster_ip(lab, pod, probe):
    """Pods of different nodes reach the Service under its cluster address."""
    lab.endpoints("web", 3)
    for name in ("anna", "ben"):
        found = body(probe.get(pod(name), cluster_ip(lab, "web"), 80))
        probe.expect(found in WEB, f"an answer from one of {', '.join(WEB)}")


@pytest.mark.points(10)
@pytest.mark.guide("Step 3: the first translation")
@pytest.mark.hint("The protocol belongs to the key: port 81 of this Service is UDP.")
def test_udp(lab, pod, probe):
    """A port with protocol UDP works as well."""
    lab.endpoints("web", 3)
    outcome = probe.udp(pod("anna"), cluster_ip(lab, "web"), 81)
    probe.expect(
        outcome.reply.decode(errors="replace").strip() in WEB, f"an answer from one of {', '.join(WEB)}"
    )


@pytest.mark.points(15)
@pytest.mark.guide("Step 4: one of several")
@pytest.mark.hint(
    "Who answers? Ask several times: `minipod kubectl exec anna -- wget -qO- http://…/hostname`",
    "`numgen random mod 3` gives 0, 1 or 2; a map turns that into an endpoint.",
)
def test_spread(lab, pod, probe):
    """Connections are spread over all endpoints of the Service."""
    lab.endpoints("web", 3)
    found = probe.names(pod("anna"), cluster_ip(lab, "web"), 80, REQUESTS)
    probe.expect(set(found) == set(WEB), f"answers from each of {', '.join(WEB)}")


@pytest.mark.points(15)
@pytest.mark.guide("Step 6: from outside")
@pytest.mark.hint(
    "`desired.node_addresses` are this node's own; a port has its `node_port`.",
    "The endpoint must answer by the same node. Whose address should it see as the sender?",
    "Mark the packet when it enters by a node port (bit 16, through a mask), and `masquerade` it in postrouting.",
)
def test_node_port(lab, probe):
    """From outside, every node answers at the Service's node port."""
    lab.endpoints("web", 3)
    for node in lab.objects("Node", ""):
        address = next(a["address"] for a in node["status"]["addresses"] if "." in a["address"])
        for _ in range(3):  # the endpoint may be on this node, or on another one
            found = body(probe.get("outside", address, 30080))
            probe.expect(found in WEB, f"an answer from one of {', '.join(WEB)}")


@pytest.mark.points(10)
@pytest.mark.guide("Step 5: who is asking?")
@pytest.mark.hint(
    "alone asks its Service and becomes its own endpoint. To whom does it answer?",
    "The answer must pass the node again to be translated back: masquerade when endpoint and sender are the same.",
)
def test_hairpin(lab, pod, probe):
    """A pod that reaches itself through its Service gets its answer."""
    lab.endpoints("alone", 1)
    found = body(probe.get(pod("alone"), cluster_ip(lab, "alone"), 80))
    probe.expect(found == "alone", "an answer from alone itself")


@pytest.mark.points(5)
@pytest.mark.guide("Step 5: who is asking?")
@pytest.mark.hint("Masquerade only where the answer would not come back through this node otherwise.")
def test_source_is_kept(lab, pod, probe):
    """The endpoint sees the address of the pod that asks."""
    lab.endpoints("web", 3)
    anna = pod("anna")
    for _ in range(6):  # on this node and on others
        seen = body(probe.get(anna, cluster_ip(lab, "web"), 80, "/clientip")).rpartition(":")[0]
        probe.expect(seen, "an answer")
        probe.expect(seen == anna.address, f"the endpoint sees {anna.address}", f"it sees {seen}")


@pytest.mark.points(10)
@pytest.mark.guide("Step 7: nobody is there")
@pytest.mark.hint(
    "A client that is refused at once can do something else. What does yours wait for?",
    "`reject` in the hook forward, for new connections to an address and port without endpoints.",
)
def test_refused(lab, pod, probe):
    """A Service without endpoints refuses at once."""
    lab.endpoints("empty", 0)
    outcome = probe.get(pod("anna"), cluster_ip(lab, "empty"), 80)
    probe.expect(outcome.verdict == "refused", "refused, at once")


@pytest.mark.points(5)
@pytest.mark.guide("Step 3: the first translation")
@pytest.mark.hint("Match the address and the port, both.")
def test_others_are_left_alone(lab, pod, probe):
    """A pod that serves on the same port and is behind no Service is reached as before."""
    lab.endpoints("web", 3)
    found = body(probe.get(pod("anna"), cluster_ip(lab, "web"), 80))
    probe.expect(found in WEB, "the Service answers; before that there is nothing to leave alone")
    found = body(probe.get(pod("anna"), pod("plain").address, 80))
    probe.expect(found == "plain", "an answer from plain", f"an answer from {found or 'nobody'}")


@pytest.mark.points(10)
@pytest.mark.guide("Step 8: it changes")
@pytest.mark.hint(
    "Does a second load leave anything of the first? `minipod exec node/worker1 -- nft list table ip service`",
    "The text must empty the table before it fills it: declare it, delete it, write it.",
)
def test_removal(lab, pod, probe):
    """A Service that comes is answered, and one that goes is answered no more."""
    anna = pod("anna")
    with lab.applied(ANOTHER):
        lab.endpoints("another", 3)
        address = cluster_ip(lab, "another")
        probe.note("made a Service called another")
        found = body(probe.get(anna, address, 8000))
        probe.expect(found in WEB, f"an answer from one of {', '.join(WEB)}")
    probe.note("deleted it")
    outcome = probe.get(anna, address, 8000, wait=0.5)
    probe.expect(not outcome.answered, "no answer")
