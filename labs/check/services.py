"""Pod-to-service: one address that stays, for pods that come and go.

pod ──10.96.x.y:80──> its own node's NAT picks an endpoint ──> 10.244.a.b:8080
"""

from labs.check.claim import Refuted, claim
from labs.check.subjects import GaveUp, NotApplicable, Scene, Target, Witness, connections, until
from netfns.proxy_mode import SOURCE_LOST

KIND = "pod-to-service"
REQUESTS = 60
AFTER_TAKEOVER = 50
LOOK = "`minipod explain service/NAME.NAMESPACE`"


@claim("cluster-ip", KIND, "a pod reaches a service under its cluster address")
def cluster_ip(scene: Scene) -> str:
    """Ask the cluster address; one endpoint's device shows the connection."""
    target = scene.target(lambda _: True, "service with endpoints")
    return answered_by_one(scene, target, target.cluster_ip)


def answered_by_one(scene: Scene, target: Target, address: str) -> str:
    """A pod asks the service's address `address`, and one of its pods gets the connection and answers."""
    client = scene.client_of(target)
    with scene.captures(target.pods) as captures:
        outcome = scene.get(client.machine, address, target.port)
        by = [pod.name for pod in target.pods if outcome.local in connections(captures[pod.name], pod.port)]
    lost = SOURCE_LOST.get(scene.lab.info["config"]["proxy_mode"], "")
    if lost and outcome.answered:
        asked = f"{client.name} asks {address} port {target.port} ({target.name})"
        return f"{asked}, which answers; by whom cannot be seen: {lost}"
    if not outcome.answered or len(by) != 1:
        raise Refuted(
            did=f"asked {address} port {target.port} (service {target.name}) from {client.name}",
            expected="an answer from exactly one of its pods",
            saw=f"{outcome.verdict}, {len(outcome.reply)} bytes; connections arrived at: {', '.join(by) or 'no pod'}",
            look=LOOK,
        )
    return f"{client.name} asks {address} port {target.port} ({target.name}), {by[0]} answers"


@claim("by-name", KIND, "a pod reaches a service under its name")
def by_name(scene: Scene) -> str:
    """The pod's own resolver finds the short and the full name, and the address answers."""
    target = scene.target(lambda _: True, "service with endpoints")
    client = scene.client_of(target)
    full = f"{target.name}.{target.namespace}.svc.cluster.local"
    found = {}
    for name in (target.name, full):
        database = "ahostsv6" if ":" in target.cluster_ip else "ahostsv4"
        result = scene.lab.exec(client.machine, ["getent", database, name], timeout=15)
        found[name] = result.stdout.split()[0] if result.stdout else "no address"
    outcome = scene.get(client.machine, target.cluster_ip, target.port)
    if set(found.values()) != {target.cluster_ip} or not outcome.answered:
        raise Refuted(
            did=f"looked up {' and '.join(found)} in {client.name}",
            expected=f"{target.cluster_ip} for both, which answers",
            saw=f"{found}; {outcome.verdict}",
            look="`minipod exec pod/NAME -- cat /etc/resolv.conf`, `minipod kubectl get pods -n kube-system`",
        )
    return f"{client.name}: {target.name} and {full} are {target.cluster_ip}, which answers {len(outcome.reply)} bytes"


@claim("spread", KIND, "requests to a service are spread over all of its pods")
def spread(scene: Scene) -> str:
    """Count the connections at each endpoint's own device."""
    target = scene.target(lambda t: len(t.pods) > 1, "service with two pods or more")
    client = scene.client_of(target)
    with scene.captures(target.pods) as captures:
        outcomes = [scene.get(client.machine, target.cluster_ip, target.port) for _ in range(REQUESTS)]
        asked = {outcome.local for outcome in outcomes}
        arrived = {pod.name: set(connections(captures[pod.name], pod.port)) for pod in target.pods}
    lost = SOURCE_LOST.get(scene.lab.info["config"]["proxy_mode"], "")
    # Without the sender's address all that arrives is counted, the kubelet's probes too: so each must have a share.
    counts = {name: len(found if lost else asked & found) for name, found in arrived.items()}
    share = REQUESTS // len(counts) // 2 if lost else 1
    answered = sum(outcome.answered for outcome in outcomes)
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    whole = sum(counts.values()) >= REQUESTS if lost else sum(counts.values()) == REQUESTS
    if answered != REQUESTS or min(counts.values()) < share or not whole:
        raise Refuted(
            did=f"asked {target.cluster_ip}:{target.port} {REQUESTS} times from {client.name}",
            expected=f"{REQUESTS} answers, and connections at each of {len(counts)} pods",
            saw=f"{answered} answers; connections: {shown}",
            look=LOOK,
        )
    return f"{REQUESTS} requests: {shown}" + (f" (with probes, for {lost})" if lost else "")


@claim(
    "takeover",
    KIND,
    "when a pod is deleted, a new one with a new address takes over behind the same cluster address",
)
def takeover(scene: Scene) -> str:
    """Delete a pod and go on asking: once its successor is there, no request fails."""
    target, victim = _replaceable(scene)
    client = scene.client_of(target, besides=victim.name)
    before = {pod.name for pod in target.pods}
    path = scene.client.resource("pods").path(victim.namespace, victim.name)
    scene.client.request("DELETE", path)
    meanwhile = [0, 0]

    def successor() -> Witness | None:
        outcome = scene.get(client.machine, target.cluster_ip, target.port)
        meanwhile[not outcome.answered] += 1
        now = next((t for t in scene.targets() if (t.name, t.port) == (target.name, target.port)), None)
        gone = now is not None and victim.name not in {pod.name for pod in now.pods}
        return next((pod for pod in now.pods if pod.name not in before), None) if now and gone else None

    try:
        heir: Witness = until(successor, f"a successor of {victim.name}")
    except GaveUp as error:
        raise Refuted(
            did=f"deleted {victim.name} behind service {target.name}",
            expected="a new pod becomes Ready in its place",
            saw=str(error),
            look="`minipod kubectl get pods,events`",
        ) from None
    failed = sum(
        not scene.get(client.machine, target.cluster_ip, target.port).answered for _ in range(AFTER_TAKEOVER)
    )
    if failed or heir.address == victim.address:
        raise Refuted(
            did=f"deleted {victim.name} ({victim.address}); {heir.name} ({heir.address}) took over",
            expected=f"a new address, and {AFTER_TAKEOVER} of {AFTER_TAKEOVER} requests answered from then on",
            saw=f"{failed} of {AFTER_TAKEOVER} requests failed",
            look=LOOK,
        )
    return (
        f"{victim.name} ({victim.address}) deleted, {heir.name} ({heir.address}) took over behind {target.cluster_ip};"
        f" meanwhile {meanwhile[1]} of {sum(meanwhile)} requests failed, afterwards 0 of {AFTER_TAKEOVER}"
    )


def _replaceable(scene: Scene) -> tuple[Target, Witness]:
    """A service, and a pod behind it that a controller will replace; best the only one."""
    candidates = [
        (len(target.pods), target, pod)
        for target in scene.targets()
        for pod in target.pods
        if any(owner.get("controller") for owner in pod.obj["metadata"].get("ownerReferences") or ())
    ]
    if not candidates:
        raise NotApplicable(f"namespace {scene.namespace} has no service whose pods a controller replaces")
    _, target, pod = min(candidates, key=lambda candidate: candidate[0])
    return target, pod
