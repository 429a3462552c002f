"""A load balancer: what its clients see, by connections from the machine `outside`, and its decisions one by one.

outside ──> lb2 192.168.50.2xx:80 ──> a node's node port ──> the pod of that node, which tells its name
"""

import socket
import time
from contextlib import contextmanager

import pytest

from labs.check.subjects import GaveUp, until
from labs.checking.probe import body
from netfns.balancer_types import Server, ServerState
from topo.probe import http_get

NODES = ("control-plane", "worker1", "worker2")
PODS = [f"on-{node}" for node in NODES]
VICTIM = NODES[0]
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
QUICK = 0.4  # seconds: less than the balancer waits for a server that is dead
A, B, C = (
    Server(node, f"192.168.50.{number}", 30080) for node, number in zip(NODES, (10, 21, 22), strict=True)
)


def service(lab, probe):
    """The Service, once all of its pods are ready and it has an address."""
    lab.endpoints("web", len(NODES))

    def served():
        [found] = [obj for obj in lab.objects("Service") if obj["metadata"]["name"] == "web"]
        return found if (found["status"].get("loadBalancer") or {}).get("ingress") else None

    try:
        return until(served, "an address", 2.0)
    except GaveUp:
        probe.fail(
            "the Service web has an address", "none: lb2 could not take its configuration, see its events"
        )


def address_of(found):
    """The Service's address outside the cluster."""
    return found["status"]["loadBalancer"]["ingress"][0]["ip"]


@contextmanager
def cut_off(lab, node, port):
    """Within the block, what lb2 sends to a node's port is lost, and nobody says so."""
    where = f"node/{node}"
    table = (
        "table ip cut-off { chain prerouting { type filter hook prerouting priority -310;"
        f" ip saddr 192.168.50.12 tcp dport {port} drop; }}; }}"
    )
    try:
        lab.exec(where, "nft", table)
        yield
    finally:
        lab.exec(where, "nft", "delete table ip cut-off")


@contextmanager
def taken_out(lab, *nodes):
    """Within the block, nodes are not among the balancer's servers."""

    def label(node, value):
        patch = {"metadata": {"labels": {EXCLUDED: value}}}
        lab.client.request(
            "PATCH", f"/api/v1/nodes/{node}", patch, content_type="application/merge-patch+json"
        )

    try:
        for node in nodes:
            label(node, "")
        lab.settle()
        yield
    finally:
        for node in nodes:
            label(node, None)
        lab.settle()


def answers(probe, address, times):
    """Who answers so many requests in a row, "" for nobody."""
    return [body(probe.get("outside", address, 80, wait=3.0)) for _ in range(times)]


def come_to(probe, address, wanted, within=4.0):
    """Wait until the last six answers were all quick, and `wanted(names)` holds for them; whether that came."""
    end, got = time.monotonic() + within, []
    probe.note(f"asked {address}:80 again and again from outside")
    at = len(probe.did)
    while time.monotonic() < end:
        outcome = probe.get("outside", address, 80, wait=3.0)
        got = [*got, body(outcome) or "nobody" if outcome.seconds < QUICK else "somebody, late"][-6:]
        del probe.did[at:]
        if len(got) == 6 and set(got) <= set(PODS) and wanted(set(got)):
            return True
    probe.note(f"the last answers: {', '.join(got)}")
    return False


@pytest.mark.points(20)
@pytest.mark.guide("Step 3: round robin")
@pytest.mark.hint(
    "Ask a few times, `minipod exec outside -- curl -s http://ADDRESS/hostname`, and look at "
    "`minipod exec lb/lb2 -- curl -s --unix-socket /run/minipod/files/lb2/balancer.sock http://lb2/stat`.",
    "`last` is the index of the time before. Whose turn is after the last index of the list?",
    "Try `(last + 1) % len(servers)`, then `(last + 2) % len(servers)`, and so on, `len(servers)` times at most.",
)
def test_round_robin(lab, probe):
    """Connections go to the servers in turn, so that each gets equally many."""
    address = address_of(service(lab, probe))
    come_to(probe, address, lambda names: len(names) == len(PODS), within=2.5)  # one may just be coming back
    got = answers(probe, address, 12)
    turn = got[:3]
    probe.expect(
        sorted(turn) == PODS and got == turn * 4,
        f"{', '.join(PODS)} in turn, four times each",
        ", ".join(name or "nobody" for name in got),
    )


@pytest.mark.points(20)
@pytest.mark.guide("Step 4: health checks")
@pytest.mark.timeout(30)
@pytest.mark.hint(
    "Does the table of `/stat` say DOWN for the server, some seconds after it is cut off?",
    "Two functions have a part in this: `checked` says that a server is down, `choose` passes it over.",
)
def test_a_dead_server_gets_nothing(lab, probe):
    """A server that does not answer is found out, and then no client has to wait for it."""
    found = service(lab, probe)
    address = address_of(found)
    probe.note(f"made {VICTIM} lose all that lb2 sends to its node port")
    with cut_off(lab, VICTIM, found["spec"]["ports"][0]["nodePort"]):
        found_out = come_to(probe, address, lambda names: f"on-{VICTIM}" not in names)
        probe.expect(found_out, f"soon nothing but quick answers, and none of on-{VICTIM}", "see above")


@pytest.mark.points(10)
@pytest.mark.guide("Step 4: health checks")
@pytest.mark.timeout(30)
@pytest.mark.hint(
    "A server that is down is checked as well. What does `checked` say when a check passes?",
    "`rise` checks in a row that pass bring a server up again. Here `rise` is 1.",
)
def test_a_server_comes_back(lab, probe):
    """A server that answers again gets its turn again."""
    found = service(lab, probe)
    address = address_of(found)
    probe.note(f"made {VICTIM} lose all that lb2 sends to its node port, and then no more")
    with cut_off(lab, VICTIM, found["spec"]["ports"][0]["nodePort"]):
        found_out = come_to(probe, address, lambda names: f"on-{VICTIM}" not in names)
        probe.expect(found_out, f"first, nothing but quick answers, and none of on-{VICTIM}", "see above")
    back = come_to(probe, address, lambda names: f"on-{VICTIM}" in names)
    probe.expect(back, f"then quick answers, and on-{VICTIM} among them", "see above")


@pytest.mark.points(15)
@pytest.mark.guide("Step 4: health checks")
@pytest.mark.hint(
    "One lost packet is no dead server: that is what `fall` and `rise` are for.",
    "Results that say the opposite of `up` are counted in `streak`. Which results set it to 0?",
    "A result that agrees with `up` sets it to 0, and so does the change of `up` itself.",
)
def test_results_in_a_row(student, probe):
    """Only `fall` failures in a row take a server down, and only `rise` successes in a row bring it up."""
    state, seen = ServerState(A, connections=1), []
    results = (False, False, True, False, False, False, True, False, True, True)
    for passed in results:
        state = student.call("checked", state, passed, 2, 3)
        seen.append((state.up, state.streak))
    told = "".join("+" if passed else "-" for passed in results)
    probe.note(f"called checked(state, …, rise=2, fall=3) with the results {told}")
    wanted = [
        *((True, 1), (True, 2), (True, 0), (True, 1), (True, 2), (False, 0)),
        *((False, 1), (False, 0), (False, 1), (True, 0)),
    ]
    probe.expect(seen == wanted, f"(up, streak) after each: {wanted}", f"{seen}")
    probe.expect(state == ServerState(A, connections=1), "nothing else of the state is changed", f"{state}")


class Talk:
    """One connection that stays open: a question, an answer, another question."""

    def __init__(self, lab, address):
        self._address = address
        self._socket = lab.lab.socket("outside", socket.AF_INET, socket.SOCK_STREAM)
        self._socket.settimeout(2.0)
        self._socket.connect((address, 80))

    def ask(self):
        """Who answers on this connection; "" when it is cut."""
        request = http_get("/hostname", self._address).replace(b"Connection: close\r\n", b"")
        try:
            self._socket.sendall(request)
            reply = b""
            while b"\r\n\r\n" not in reply or not reply.partition(b"\r\n\r\n")[2]:
                data = self._socket.recv(4096)
                if not data:
                    return ""
                reply += data
        except OSError:
            return ""
        return reply.partition(b"\r\n\r\n")[2].decode().strip()

    def end(self):
        """Close it."""
        self._socket.close()


@pytest.mark.points(20)
@pytest.mark.guide("Step 5: draining")
@pytest.mark.timeout(30)
@pytest.mark.hint(
    "Which states come out of `reload` for a server that is not in `wanted` any more? Is it there at all?",
    "The loop cuts the connections of every server that `reload` does not give back. Who still has connections must be "
    "given back, draining.",
    "And a server that is draining gets no new connection: `choose` passes it over.",
)
def test_draining(lab, probe):
    """A server that is taken out finishes the connections that it has, and gets no new one."""
    address = address_of(service(lab, probe))
    end = time.monotonic() + 3.0
    while (talk := Talk(lab, address)).ask() != f"on-{VICTIM}":
        talk.end()
        probe.expect(time.monotonic() < end, f"one connection in {len(NODES)} to {VICTIM}", "none")
    probe.note(
        f"opened a connection to {address}:80 that {VICTIM} serves, and took {VICTIM} out of the balancer"
    )
    try:
        with taken_out(lab, VICTIM):
            said = talk.ask()
            probe.note("asked again on that connection")
            probe.expect(said == f"on-{VICTIM}", "the connection goes on", "it was cut")
            got = answers(probe, address, 4)
            probe.expect(
                got and set(got) <= set(PODS[1:]),
                f"new connections go to {', '.join(PODS[1:])}",
                ", ".join(name or "nobody" for name in got),
            )
    finally:
        talk.end()


@pytest.mark.points(10)
@pytest.mark.guide("Step 3: round robin")
@pytest.mark.hint(
    "With one server left, `last` may be its index: it gets the next connection again.",
    "With none that may get a connection, `choose` gives None, and the client is refused at once.",
)
def test_nobody_left(lab, student, probe):
    """The last server that is up gets everything; with none, a client is refused at once."""
    up, down, leaving = ServerState(B), ServerState(A, up=False), ServerState(C, draining=True, connections=1)
    probe.note("called choose with one server up, one down and one draining, whoever was last")
    got = [student.call("choose", (down, up, leaving), last) for last in (-1, 0, 1, 2)]
    probe.expect(got == [1] * 4, "the index of the one that is up, 1, each time", f"{got}")
    got = [student.call("choose", servers, last) for servers, last in (((down, leaving), 0), ((), -1))]
    probe.note("called choose with nobody who may get a connection")
    probe.expect(got == [None, None], "None", f"{got}")
    address = address_of(service(lab, probe))
    with taken_out(lab, *NODES):
        outcome = probe.get("outside", address, 80, wait=2.0)
        probe.note("did so when no node was among the balancer's servers")
        probe.expect(
            not outcome.answered and outcome.seconds < 1.0, "no answer, and that within a second",
            f"{outcome.verdict} after {outcome.seconds:.1f} s",
        )  # fmt: skip


@pytest.mark.points(5)
@pytest.mark.visibility("hidden")
@pytest.mark.guide("Step 5: draining")
def test_states_after_a_reload(student, probe):
    """What stays keeps its state, what is new begins anew, and what has nothing left to finish is forgotten."""
    a = ServerState(A, up=False, streak=1, connections=2)
    b, c = ServerState(B, connections=1), ServerState(C)
    gone = ServerState(C, draining=True, connections=1)
    table = [
        ((a, c), (A, B), (a, ServerState(B))),
        ((a, b, c), (A,), (a, ServerState(B, draining=True, connections=1))),
        ((gone, a), (C, A), (ServerState(C, connections=1), a)),
        ((ServerState(C, draining=True),), (A,), (ServerState(A),)),
    ]
    for servers, wanted, states in table:
        got = tuple(student.call("reload", servers, wanted))
        probe.note(
            f"called reload with {len(servers)} servers, of which {[s.node for s in wanted]} are wanted"
        )
        probe.expect(got == states, f"{states}", f"{got}")
