"""NetworkPolicies as newcomers try them: each recipe told in words, applied by kubectl, seen in packets.

    shop: web, api, db        ops: monitor        dev: guest        outside, a machine that is none of Kubernetes'

`cut` are the ways that the recipe closes; every other way between the five pods, and from each to the outside and to
the cluster's DNS, must stay open.
"""

import json
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import labs
from labs.lab import Lab
from labs.policy import measure
from labs.policy.measure import Shot
from labs.state import StateFolder
from tests.e2e.kubectl import Kubectl
from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
MANIFEST = (Path(__file__).parent / "manifests" / "policy-pods.yaml").read_text()
PODS = ("shop/web", "shop/api", "shop/db", "ops/monitor", "dev/guest")
OUTSIDE, DNS = "outside", "dns"
EVERYBODY = (*PODS, OUTSIDE, DNS)
SOON = 5.0  # seconds until a change is in force; bench/policy measures how long it takes
ANSWERS_WITHIN = 0.5
Way = tuple[str, str]


@dataclass(frozen=True)
class Recipe:
    """What somebody wants, the manifest for it, and the ways that it cuts."""

    wish: str
    namespace: str
    manifest: str
    cut: frozenset[Way]


def ways(senders: Iterable[str], receivers: Iterable[str]) -> frozenset[Way]:
    return frozenset((one, other) for one in senders for other in receivers if one != other)


def policy(spec: str, name: str = "recipe") -> str:
    head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
    return f"{head}metadata: {{name: {name}}}\nspec: {spec}\n"


SHOP = frozenset(PODS[:3])
STRANGERS = frozenset(PODS[3:])
RECIPES = (
    Recipe(
        "deny all that comes into a namespace",
        "shop",
        policy("{podSelector: {}, policyTypes: [Ingress]}"),
        ways(PODS, SHOP),
    ),
    Recipe(
        "deny all that leaves a namespace, even its own pods and the DNS",
        "shop",
        policy("{podSelector: {}, policyTypes: [Egress]}"),
        ways(SHOP, EVERYBODY),
    ),
    Recipe(
        "let only one application in",
        "shop",
        policy(
            "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}"
        ),
        ways(set(PODS) - {"shop/api"}, ["shop/db"]),
    ),
    Recipe(
        "keep a namespace to itself",
        "shop",
        policy("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"),
        ways(STRANGERS, SHOP),
    ),
    Recipe(
        "let namespaces in by their label",
        "shop",
        policy("{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: ops}}}]}]}"),
        ways({*SHOP, "dev/guest"}, SHOP),
    ),
    Recipe(
        "let one application of one other namespace in",
        "shop",
        policy(
            "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: "
            "{matchExpressions: [{key: team, operator: In, values: [dev, ops]}]}, "
            "podSelector: {matchLabels: {app: monitor}}}]}]}"
        ),
        ways(set(PODS) - {"ops/monitor"}, ["shop/web"]),
    ),
    Recipe(
        "let everybody in, whatever else is denied",
        "shop",
        policy("{podSelector: {}, policyTypes: [Ingress]}", "deny")
        + "---\n"
        + policy("{podSelector: {}, ingress: [{}]}", "allow"),
        frozenset(),
    ),
    Recipe(
        "let out only to the DNS",
        "shop",
        policy(
            "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: "
            "{matchLabels: {kubernetes.io/metadata.name: kube-system}}}], "
            "ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}]}"
        ),
        ways(SHOP, {*PODS, OUTSIDE}),
    ),
    Recipe(
        "let out only to the world outside the cluster",
        "shop",
        policy(
            "{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress], "
            "egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]}"
        ),
        ways(["shop/api"], {*PODS, DNS}),
    ),
    Recipe(
        "keep a pod from the world outside the cluster",
        "shop",
        policy(
            "{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress], "
            "egress: [{to: [{namespaceSelector: {}}]}]}"
        ),
        ways(["shop/api"], [OUTSIDE]),
    ),
    Recipe(
        "let in by a port's name",
        "shop",
        policy("{podSelector: {}, ingress: [{ports: [{port: http}]}]}"),
        frozenset(),
    ),
    Recipe(
        "let in on a port that nobody asks for",
        "shop",
        policy("{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 5000, endPort: 6000}]}]}"),
        ways(PODS, ["shop/web"]),
    ),
    Recipe(
        "let in by TCP means not by UDP",
        "shop",
        policy("{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{protocol: UDP, port: 80}]}]}"),
        ways(PODS, ["shop/web"]),
    ),
    Recipe(
        "let a block of addresses in, without a part of it",
        "shop",
        policy(
            "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16, except: [10.244.0.0/17]}}]}]}"
        ),
        ways(PODS, SHOP),
    ),
)


@dataclass
class Ground:
    """The five pods in the lab that tests share."""

    kube: Kubectl
    lab: Lab
    addresses: dict[str, tuple[str, int]]

    def open_ways(self, asked: Iterable[Way], wait: float = ANSWERS_WITHIN) -> frozenset[Way]:
        """The ways on which a connection is made within `wait` seconds."""
        shots = {
            (one, other): Shot(machine(one), self.addresses[other][0], "TCP", self.addresses[other][1])
            for one, other in asked
        }
        with ExitStack() as stack:
            measure.fire(self.lab, shots.values(), stack)
            end = time.monotonic() + wait
            while time.monotonic() < end and not all(shot.answered for shot in shots.values()):
                measure.listen(shots.values())
                time.sleep(0.005)
        return frozenset(way for way, shot in shots.items() if shot.answered)

    def expect(self, cut: frozenset[Way]) -> None:
        """These ways are cut, soon, and no others."""
        everything = ways(PODS, EVERYBODY)
        end = time.monotonic() + SOON
        while differing := (everything - cut) ^ self.open_ways(everything):
            assert time.monotonic() < end, f"not as wished: {sorted(differing)}"

    def apply(self, manifest: str, namespace: str) -> None:
        self.kube.output("apply", "-n", namespace, "-f", "-", stdin=manifest.encode())


def machine(pod: str) -> str:
    namespace, name = pod.split("/")
    return f"pod/{name}.{namespace}"


@pytest.fixture(scope="module")
def ground(lab: RunningLab) -> Iterator[Ground]:
    kube = Kubectl.of(lab, "shop")
    lab.apply(MANIFEST)
    for pod in PODS:
        namespace, _, name = pod.partition("/")
        kube.output("wait", "-n", namespace, "--for=condition=Ready", f"pod/{name}", "--timeout=30s")
    addresses = {OUTSIDE: ("203.0.113.10", 80), DNS: ("10.96.0.10", 53)}
    for pod in PODS:
        namespace, _, name = pod.partition("/")
        found = kube.output("get", "-n", namespace, f"pod/{name}", "-o", "jsonpath={.status.podIP}").decode()
        addresses[pod] = (found, 80)
    attached = Lab(StateFolder(lab.name, lab.user.home / lab.name), {})
    yield Ground(kube, attached, addresses)
    lab.delete(MANIFEST)


@pytest.fixture
def clean(ground: Ground) -> Iterator[Ground]:
    """Without policies before and after."""
    yield ground
    ground.kube.output("delete", "-n", "shop", "networkpolicy", "--all")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.wish)
def test_recipe(clean: Ground, recipe: Recipe) -> None:
    clean.apply(recipe.manifest, recipe.namespace)
    clean.expect(recipe.cut)


def test_a_policy_that_goes_opens_what_it_closed(clean: Ground) -> None:
    clean.apply(RECIPES[0].manifest, "shop")
    clean.expect(RECIPES[0].cut)
    clean.kube.output("delete", "-n", "shop", "networkpolicy", "recipe")
    clean.expect(frozenset())


def test_labels_of_pods_and_namespaces_count_as_soon_as_they_change(clean: Ground) -> None:
    wish = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: ops}}"
    clean.apply(policy(wish + ", podSelector: {matchLabels: {app: monitor}}}]}]}"), "shop")
    clean.expect(ways(set(PODS) - {"ops/monitor"}, ["shop/web"]))
    clean.kube.output("label", "--overwrite", "-n", "dev", "pod", "guest", "app=monitor")
    clean.expect(ways(set(PODS) - {"ops/monitor"}, ["shop/web"]))
    clean.kube.output("label", "--overwrite", "namespace", "dev", "team=ops")
    clean.expect(ways(SHOP, ["shop/web"]))
    clean.kube.output("label", "--overwrite", "-n", "dev", "pod", "guest", "app=guest")
    clean.expect(ways(set(PODS) - {"ops/monitor"}, ["shop/web"]))
    clean.kube.output("label", "--overwrite", "namespace", "dev", "team=dev")


def test_a_connection_goes_on_when_a_policy_comes_and_a_new_one_is_not_made(clean: Ground) -> None:
    address = clean.addresses["shop/web"]
    with clean.lab.socket(machine("dev/guest"), socket.AF_INET, socket.SOCK_STREAM) as before:
        before.settimeout(5.0)
        before.connect(address)
        clean.apply(RECIPES[0].manifest, "shop")
        clean.expect(RECIPES[0].cut)
        before.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert before.recv(100).startswith(b"HTTP/1.")


def test_a_service_is_judged_by_the_pods_behind_it(clean: Ground) -> None:
    only_web = "{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress], egress: [{to: [{podSelector: "
    clean.apply(policy(only_web + "{matchLabels: {app: web}}}], ports: [{port: 80}]}]}"), "shop")
    clean.expect(ways(["shop/api"], set(EVERYBODY) - {"shop/web"}))
    service = clean.kube.output(
        "get", "-n", "shop", "service/web", "-o", "jsonpath={.spec.clusterIP}"
    ).decode()
    assert clean.lab.tcp(machine("shop/api"), service, 8080).verdict == "connected"


def test_why_tells_policy_and_rule_and_matrix_agrees_with_the_packets(clean: Ground) -> None:
    clean.apply(RECIPES[2].manifest, "shop")
    clean.expect(RECIPES[2].cut)
    lab = clean.kube.lab
    done = lab.minipod("policy", "why", "pod/web.shop", "pod/db.shop:80", "-o", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["agrees"]
    assert answer["arrived"] is None
    assert [t["policy"] for t in answer["ways"][0]["ingress"]["tried"]] == ["shop/recipe"]
    words = ("-n", "shop", "-n", "ops", "-n", "dev", "-o", "json")
    for protocol in ("tcp", "udp", "sctp"):
        done = lab.minipod("policy", "matrix", "--port", f"80/{protocol}", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        dropped = {(cell["from"], cell["to"]) for cell in found["cells"] if not cell["measured"]}
        assert dropped == {way for way in RECIPES[2].cut if OUTSIDE not in way}


@contextmanager
def watching(ground: Ground) -> Iterator[Callable[[], dict[str, str]]]:
    """Watch denied packets; a function that gives the next one, which must be told of soon."""
    lab = ground.kube.lab
    with lab.user.start("policy", "--name", lab.name, "watch", "-o", "json", bufsize=1) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        output = process.stdout

        def denied() -> dict[str, str]:
            assert select.select([output], [], [], SOON)[0], "no denied packet was seen"
            found: dict[str, str] = json.loads(output.readline())
            return found

        try:
            assert "watching" in process.stderr.readline()
            yield denied
        finally:
            process.kill()


def test_watch_names_the_policy_and_leaves_nothing_behind(clean: Ground) -> None:
    clean.apply(RECIPES[0].manifest, "shop")
    clean.expect(RECIPES[0].cut)
    with watching(clean) as denied:
        clean.open_ways([("dev/guest", "shop/web")])
        seen = denied()
    assert (seen["from"], seen["to"], seen["policies"]) == ("dev/guest", "shop/web", "shop/recipe")
    lab = clean.kube.lab
    tables = (lab.output(f"node/{node}", "nft", "list", "tables") for node in ("worker1", "worker2"))
    wait_until(lambda: not any("policy-watch" in found for found in tables), SOON)


def test_watch_names_a_policy_that_is_newer_than_itself(clean: Ground) -> None:
    with watching(clean) as denied:
        clean.apply(RECIPES[0].manifest, "shop")
        clean.expect(RECIPES[0].cut)
        seen = denied()
    assert (seen["from"], seen["to"]) in RECIPES[0].cut
    assert seen["policies"] == "shop/recipe"


def test_rules_that_somebody_deletes_are_there_again(clean: Ground) -> None:
    clean.apply(RECIPES[0].manifest, "shop")
    clean.expect(RECIPES[0].cut)
    for node in ("worker1", "worker2"):
        done = clean.kube.lab.exec(f"node/{node}", "nft", "delete", "table", "inet", "network-policy")
        assert done.returncode == 0, done.stderr
    clean.expect(RECIPES[0].cut)


FIRST_BREATH = """
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: shop, labels: {app: breath}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox
    command: [bash, -c, "echo NAME > /dev/udp/ADDRESS/7777"]
"""


def test_a_pod_has_its_policies_with_its_first_breath(clean: Ground) -> None:
    """The first thing that each container does is to send a datagram; not one of them may get through."""
    address = clean.addresses["dev/guest"][0]

    def breaths(names: list[str]) -> None:
        manifest = "---".join(
            FIRST_BREATH.replace("NAME", name).replace("ADDRESS", address) for name in names
        )
        clean.apply(manifest, "shop")
        done = "--for=jsonpath={.status.phase}=Succeeded"
        clean.kube.output("wait", "-n", "shop", done, "pod", "-l", "app=breath", "--timeout=25s")
        clean.kube.output("delete", "-n", "shop", "pod", "-l", "app=breath", "--now")

    with clean.lab.socket(machine("dev/guest"), socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind((address, 7777))
        listening.settimeout(5.0)
        breaths(["free"])
        assert listening.recv(20) == b"free\n"
        clean.apply(policy("{podSelector: {matchLabels: {app: breath}}, policyTypes: [Egress]}"), "shop")
        for _ in range(2):
            breaths([f"breath-{number}" for number in range(8)])
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.recv(20)


LAST_BREATH = """
apiVersion: v1
kind: Pod
metadata: {name: last, namespace: shop, labels: {app: breath}}
spec: {containers: [{name: main, image: busybox, command: [sleep, "600"]}]}
"""


def test_a_pod_has_its_policies_to_its_last_breath(clean: Ground) -> None:
    """A socket keeps the network of a deleted pod alive, and sends until the network is taken away from it."""
    address = clean.addresses["dev/guest"][0]
    clean.apply(LAST_BREATH, "shop")
    clean.kube.output("wait", "-n", "shop", "--for=condition=Ready", "pod/last", "--timeout=25s")
    datagrams = socket.AF_INET, socket.SOCK_DGRAM
    with (
        clean.lab.socket(machine("dev/guest"), *datagrams) as listening,
        clean.lab.socket("pod/last.shop", *datagrams) as sending,
    ):
        listening.bind((address, 7777))
        listening.settimeout(5.0)
        sending.sendto(b"free", (address, 7777))
        assert listening.recv(20) == b"free"
        listening.setblocking(False)
        clean.apply(policy("{podSelector: {matchLabels: {app: breath}}, policyTypes: [Egress]}"), "shop")
        wait_until(lambda: not passes(sending, listening, address), SOON)
        clean.kube.output("delete", "-n", "shop", "pod/last", "--now")
        wait_until(lambda: not connected(sending, listening, address), 4 * SOON)


def connected(sending: socket.socket, listening: socket.socket, address: str) -> bool:
    """Whether the sender has a network; what it sends there must not arrive."""
    try:
        assert not passes(sending, listening, address)
    except OSError:
        return False
    return True


def passes(sending: socket.socket, listening: socket.socket, address: str) -> bool:
    """Whether a datagram of a new flow arrives within a moment."""
    sending.sendto(b"late", (address, 7777))
    arrived, _, _ = select.select([listening], [], [], 0.02)
    while select.select([listening], [], [], 0)[0]:
        listening.recv(20)
    return bool(arrived)


TENANTS = (Path(labs.__file__).parent / "tenants" / "tenants.yaml").read_text()
TENANT_PODS = ("red-web/app", "red-data/app", "blue-web/app", "blue-data/app", "shared/registry")


def test_two_tenants_share_dns_and_one_service_and_nothing_else(clean: Ground) -> None:
    kube, lab = clean.kube, clean.kube.lab
    lab.apply(TENANTS)
    addresses = {DNS: ("10.96.0.10", 53), OUTSIDE: ("203.0.113.10", 80)}
    for pod in TENANT_PODS:
        namespace, name = pod.split("/")
        kube.output("wait", "-n", namespace, "--for=condition=Ready", f"pod/{name}", "--timeout=30s")
        found = kube.output("get", "-n", namespace, f"pod/{name}", "-o", "jsonpath={.status.podIP}").decode()
        addresses[pod] = (found, 80)
    tenants = Ground(kube, clean.lab, {**clean.addresses, **addresses})
    red, blue = frozenset(TENANT_PODS[:2]), frozenset(TENANT_PODS[2:4])
    wanted = ways(red, {*red, DNS, "shared/registry"}) | ways(blue, {*blue, DNS, "shared/registry"})
    asked = ways({*TENANT_PODS, "dev/guest"}, {*TENANT_PODS, DNS, OUTSIDE}) - ways(
        ["dev/guest"], [DNS, OUTSIDE]
    )
    wait_until(lambda: tenants.open_ways(asked) == wanted, SOON, f"only {sorted(wanted)}")
    page = lab.fetch("pod/app.red-web", "http://registry.shared.svc.cluster.local/")
    assert "html" in page
    assert lab.fetch("pod/app.red-web", "http://app.red-data/") != ""
    assert lab.fetch("pod/app.red-web", "http://app.blue-web/") == ""
    lab.delete(TENANTS)
