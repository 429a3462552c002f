"""Controllers and scheduler together, as a user sees them: something is written, and the cluster arrives
somewhere.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.controllers import node_lifecycle
from controlplane.meta import condition, controller_of, micro_now

Obj = dict[str, Any]
Make = Callable[..., Obj]
Run = Callable[..., None]


def _dns(lab: Any) -> list[Obj]:
    pods = lab.list("Pod", "kube-system", label_selector="k8s-app=kube-dns")
    return [pod for pod in pods if pod["status"].get("podIP")]


# workloads


def test_deployment_keeps_its_replicas_spread(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment(replicas=4))
        pods = await lab.running(4)
        assert Counter(pod["spec"]["nodeName"] for pod in pods) == {"worker1": 2, "worker2": 2}
        done = await lab.until(lambda: _complete(lab, "web"))
        assert done["status"]["observedGeneration"] == 1
        assert (condition(done, "Available") or {}).get("status", "") == "True"
        assert (condition(done, "Progressing") or {}).get("reason", "") == "NewReplicaSetAvailable"

    cluster(scenario)


def _complete(lab: Any, name: str) -> Obj | None:
    obj: Obj = lab.api.get("Deployment", name, "default")
    status, replicas = obj["status"], obj["spec"]["replicas"]
    counts = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = status.get("observedGeneration") == obj["metadata"]["generation"]
    return obj if seen and counts == [replicas] * 3 else None


def test_lost_pod_is_replaced_under_a_new_address(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment(replicas=2))
        before = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in await lab.running(2)}
        lost = next(iter(before))
        lab.api.delete("Pod", lost, "default")
        await lab.until(lambda: lab.api.find("Pod", lost, "default") is None)
        after = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in await lab.running(2)}
        assert lost not in after
        assert before[lost] not in after.values()

    cluster(scenario)


def test_scaling_down_takes_the_useless_first(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment(replicas=2))
        good = {pod["metadata"]["name"] for pod in await lab.running(2)}
        lab.ready = False
        lab.api.patch("Deployment", "web", "default", {"spec": {"replicas": 4}})
        await lab.until(lambda: len(lab.list("Pod")) == 4)
        lab.api.patch("Deployment", "web", "default", {"spec": {"replicas": 2}})
        await lab.until(lambda: len(lab.list("Pod")) == 2)
        assert {pod["metadata"]["name"] for pod in lab.list("Pod")} == good

    cluster(scenario)


def test_adoption_and_release(cluster: Run, deployment: Make, pod: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(pod("orphan"))
        replica_set = {**deployment(replicas=2), "kind": "ReplicaSet"}
        lab.api.create(replica_set)
        pods = await lab.running(2)
        adopted = next(entry for entry in pods if entry["metadata"]["name"] == "orphan")
        assert (controller_of(adopted) or {}).get("name") == "web"
        lab.api.patch("Pod", "orphan", "default", {"metadata": {"labels": {"app": "other"}}})
        await lab.running(2)
        released = await lab.until(
            lambda: (entry := lab.api.get("Pod", "orphan", "default")) and not controller_of(entry) and entry
        )
        assert released["status"]["phase"] == "Running"

    cluster(scenario)


def test_rolling_update_never_falls_below_what_is_promised(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        lab.api.create(deployment(replicas=4, strategy=strategy))
        await lab.running(4)
        available: list[int] = []
        total: list[int] = []

        def look(old: Obj | None, new: Obj | None) -> None:
            pods = [entry for entry in lab.list("Pod") if "deletionTimestamp" not in entry["metadata"]]
            available.append(len([entry for entry in pods if entry["status"].get("podIP")]))
            total.append(len(pods))

        lab.pods.on_change(look)
        containers = [{"name": "c", "image": "nginx:2"}]
        lab.api.patch(
            "Deployment", "web", "default", {"spec": {"template": {"spec": {"containers": containers}}}}
        )
        await lab.until(lambda: _complete(lab, "web"))
        assert {entry["spec"]["containers"][0]["image"] for entry in await lab.running(4)} == {"nginx:2"}
        assert min(available) >= 4
        assert max(total) <= 5
        sets = lab.list("ReplicaSet")
        revisions = sorted(
            entry["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for entry in sets
        )
        assert revisions == ["1", "2"]

    cluster(scenario)


def test_going_back_reuses_the_old_replica_set(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment(replicas=1))
        for image in ("nginx:2", "nginx:1"):
            await lab.until(lambda: _complete(lab, "web"))
            containers = [{"name": "c", "image": image}]
            lab.api.patch(
                "Deployment", "web", "default", {"spec": {"template": {"spec": {"containers": containers}}}}
            )
        done = await lab.until(lambda: _complete(lab, "web"))
        assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        assert len(lab.list("ReplicaSet")) == 2

    cluster(scenario)


def test_history_is_limited(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment(replicas=1, revisionHistoryLimit=1))
        for number in range(2, 5):
            await lab.until(lambda: _complete(lab, "web"))
            containers = [{"name": "c", "image": f"nginx:{number}"}]
            lab.api.patch(
                "Deployment", "web", "default", {"spec": {"template": {"spec": {"containers": containers}}}}
            )
        await lab.until(lambda: _complete(lab, "web"))
        await lab.until(lambda: len(lab.list("ReplicaSet")) == 2)

    cluster(scenario)


def test_recreate_has_no_two_versions_at_once(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment(replicas=2, strategy={"type": "Recreate"}))
        await lab.running(2)
        together: list[set[str]] = []
        lab.pods.on_change(
            lambda old, new: together.append({p["spec"]["containers"][0]["image"] for p in lab.list("Pod")})
        )
        containers = [{"name": "c", "image": "nginx:2"}]
        lab.api.patch(
            "Deployment", "web", "default", {"spec": {"template": {"spec": {"containers": containers}}}}
        )
        await lab.until(lambda: _complete(lab, "web"))
        assert {"nginx:2"} in together
        assert all(len(images) < 2 for images in together)

    cluster(scenario)


def test_paused_deployment_scales_but_does_not_roll(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment(replicas=1))
        await lab.until(lambda: _complete(lab, "web"))
        containers = [{"name": "c", "image": "nginx:2"}]
        template = {"spec": {"containers": containers}}
        lab.api.patch(
            "Deployment", "web", "default", {"spec": {"paused": True, "replicas": 3, "template": template}}
        )
        assert {entry["spec"]["containers"][0]["image"] for entry in await lab.running(3)} == {"nginx:1"}
        lab.api.patch("Deployment", "web", "default", {"spec": {"paused": None}})
        await lab.until(lambda: _complete(lab, "web"))

    cluster(scenario)


def test_rollout_that_makes_no_progress_says_so(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.ready = False
        lab.api.create(deployment(replicas=1, progressDeadlineSeconds=1))

        def late() -> bool:
            progressing = condition(lab.api.get("Deployment", "web", "default"), "Progressing") or {}
            return progressing.get("reason") == "ProgressDeadlineExceeded"

        await lab.until(late)

    cluster(scenario)


def test_five_hundred_pods_of_one_deployment(cluster: Run, deployment: Make, service: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(service())
        started = time.process_time()
        lab.api.create(deployment(replicas=500))
        await lab.until(lambda: _complete(lab, "web"))
        assert time.process_time() - started < 2.5  # 1 ms a pod would be 0.5; quadratic work takes far longer
        await lab.until(lambda: sum(len(s["endpoints"]) for s in _slices(lab, "web")) == 500)
        assert all(len(s["endpoints"]) <= 100 for s in _slices(lab, "web"))

    cluster(scenario)


# services


def _slices(lab: Any, name: str) -> list[Obj]:
    return lab.list("EndpointSlice", label_selector=f"kubernetes.io/service-name={name}")  # type: ignore[no-any-return]


def _conditions(lab: Any, name: str) -> dict[str, Obj]:
    return {e["addresses"][0]: e["conditions"] for s in _slices(lab, name) for e in s.get("endpoints") or ()}


def test_endpoints_follow_readiness_and_termination(cluster: Run, deployment: Make, service: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(service())
        lab.api.create(deployment(replicas=2))
        addresses = {pod["status"]["podIP"]: pod["metadata"]["name"] for pod in await lab.running(2)}
        await lab.until(lambda: _conditions(lab, "web").keys() == addresses.keys())
        address, name = next(iter(addresses.items()))
        unready = [{"type": "Ready", "status": "False", "lastTransitionTime": "2024-01-01T00:00:00Z"}]
        lab.api.update_status("Pod", name, "default", {"conditions": unready})
        gone = {"ready": False, "serving": False, "terminating": False}
        await lab.until(lambda: _conditions(lab, "web")[address] == gone)
        address, name = list(addresses.items())[1]
        lab.silent = {"worker1", "worker2"}
        lab.api.delete("Pod", name, "default")
        going = {"ready": False, "serving": True, "terminating": True}
        await lab.until(lambda: _conditions(lab, "web")[address] == going)
        lab.api.delete("Pod", name, "default", grace_period=0)
        await lab.until(lambda: address not in _conditions(lab, "web"))

    cluster(scenario)


def test_an_endpoint_has_a_host_name_in_the_service_that_is_its_subdomain(
    cluster: Run, pod: Make, service: Make
) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(pod("a", hostname="a-0", subdomain="web"))
        lab.api.create(pod("b", hostname="b-0", subdomain="other"))
        lab.api.create(pod("c", subdomain="web"))
        lab.api.create(service())

        def names() -> list[str]:
            found = [e for s in _slices(lab, "web") for e in s["endpoints"]]
            return sorted(e.get("hostname", "") for e in found)

        await lab.until(lambda: names() == ["", "", "a-0"])

    cluster(scenario)


def test_named_target_ports_that_differ_by_pod(cluster: Run, pod: Make, service: Make) -> None:
    async def scenario(lab: Any) -> None:
        for name, number in (("a", 8080), ("b", 9090)):
            ports = [{"name": "http", "containerPort": number}]
            lab.api.create(pod(name, containers=[{"name": "c", "image": "x", "ports": ports}]))
        lab.api.create(service(ports=[{"name": "web", "port": 80, "targetPort": "http"}]))
        await lab.until(
            lambda: sorted(s["ports"][0]["port"] for s in _slices(lab, "web") if s["ports"]) == [8080, 9090]
        )

    cluster(scenario)


def test_service_changes_its_mind(cluster: Run, pod: Make, service: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(pod("a"))
        lab.api.create(service())
        await lab.until(lambda: len(_conditions(lab, "web")) == 1)
        lab.api.patch("Service", "web", "default", {"spec": {"selector": {"app": "none"}}})
        await lab.until(lambda: not _conditions(lab, "web"))
        lab.api.patch("Pod", "a", "default", {"metadata": {"labels": {"app": "none"}}})
        await lab.until(lambda: len(_conditions(lab, "web")) == 1)
        lab.api.delete("Service", "web", "default")
        await lab.until(lambda: not _slices(lab, "web"))

    cluster(scenario)


def test_a_hand_on_our_slice_is_put_right_and_hand_written_ones_stay(
    cluster: Run, pod: Make, service: Make
) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(pod("a"))
        lab.api.create(service())
        await lab.until(lambda: len(_conditions(lab, "web")) == 1)
        ours = _slices(lab, "web")[0]
        lab.api.replace({**ours, "endpoints": []})
        await lab.until(lambda: len(_conditions(lab, "web")) == 1)
        lab.api.delete("EndpointSlice", ours["metadata"]["name"], "default")
        await lab.until(lambda: len(_conditions(lab, "web")) == 1)
        assert lab.api.get("EndpointSlice", "kubernetes", "default")["endpoints"]

    cluster(scenario)


@pytest.mark.parametrize(
    ("distribution", "hints"),
    [
        (None, None),
        ("PreferClose", {"forZones": [{"name": "zone-a"}]}),
        ("PreferSameZone", {"forZones": [{"name": "zone-a"}]}),
        ("PreferSameNode", {"forZones": [{"name": "zone-a"}], "forNodes": [{"name": "worker1"}]}),
    ],
)
def test_traffic_distribution_becomes_hints(
    cluster: Run, pod: Make, service: Make, distribution: str | None, hints: dict[str, Any] | None
) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(pod("a"))
        lab.api.create(service(**({"trafficDistribution": distribution} if distribution else {})))
        await lab.until(lambda: len(_conditions(lab, "web")) == 1)
        node = _slices(lab, "web")[0]["endpoints"][0]["nodeName"]
        label = {"topology.kubernetes.io/zone": "zone-a"}
        lab.api.patch("Node", node, "", {"metadata": {"labels": label}})

        def endpoint() -> dict[str, Any]:
            return dict(_slices(lab, "web")[0]["endpoints"][0])

        await lab.until(lambda: endpoint().get("zone") == "zone-a")
        wanted = hints and {**hints, **({"forNodes": [{"name": node}]} if "forNodes" in hints else {})}
        assert endpoint().get("hints") == wanted

    cluster(scenario)


def _ingress(lab: Any, name: str) -> str:
    ingress = lab.api.get("Service", name, "default")["status"]["loadBalancer"].get("ingress") or [{"ip": ""}]
    return str(ingress[0]["ip"])


# nodes and scheduling


def test_nodes_get_their_part_of_the_pod_range(cluster: Run) -> None:
    async def scenario(lab: Any) -> None:
        lab.add_node("worker7")
        lab.add_node("control-plane")
        lab.add_node("edge")

        def nodes() -> dict[str, Any]:
            return {n["metadata"]["name"]: n["spec"].get("podCIDRs") for n in lab.list("Node", "")}

        await lab.until(lambda: all(nodes().values()))
        found = nodes()
        assert found["control-plane"] == ["10.244.0.0/24", "fd00:244::/64"]
        assert found["worker1"] == ["10.244.1.0/24", "fd00:244:0:1::/64"]
        assert found["worker7"][0] == "10.244.7.0/24"
        assert found["edge"] == ["10.244.3.0/24", "fd00:244:0:3::/64"]
        lab.api.delete("Node", "edge")
        lab.add_node("other")
        await lab.until(lambda: nodes()["other"] == ["10.244.3.0/24", "fd00:244:0:3::/64"])

    cluster(scenario, pod_ranges=("10.244.0.0/16", "fd00:244::/56"))


def test_pod_waits_for_a_node_and_is_told_why(cluster: Run, pod: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(pod("a", nodeSelector={"disk": "ssd"}))

        def message() -> str:
            waiting = condition(lab.api.get("Pod", "a", "default"), "PodScheduled") or {}
            return str(waiting.get("message", ""))

        await lab.until(lambda: message() == "no nodes available to schedule pods")
        taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
        lab.add_node("n1", taints=[taint])
        lab.add_node("n2")
        lab.add_node("n3", unschedulable=True)
        taints = "1 node(s) had untolerated taint {k: v}"
        selector = "1 node(s) didn't match Pod's node affinity/selector"
        wanted = f"0/3 nodes are available: {selector}, {taints}, 1 node(s) were unschedulable."
        await lab.until(lambda: message() == wanted)
        failed = [e for e in lab.list("Event") if e["reason"] == "FailedScheduling"]
        assert wanted in {e["message"] for e in failed}
        lab.api.patch("Node", "n2", "", {"metadata": {"labels": {"disk": "ssd"}}})
        await lab.until(lambda: lab.api.get("Pod", "a", "default")["spec"].get("nodeName") == "n2")

    cluster(scenario, nodes=())


def test_tolerations_affinity_and_room(cluster: Run, pod: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.add_node("tainted", taints=[{"key": "k", "effect": "NoSchedule"}])
        lab.add_node("full")
        await lab.until(lambda: len(_dns(lab)) == 2)
        lab.api.update_status("Node", "full", "", {"allocatable": {"pods": "3"}})
        expression = {"key": "metadata.name", "operator": "In", "values": ["tainted"]}
        affinity = {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchFields": [expression]}]
                }
            }
        }
        tolerations = [{"key": "k", "operator": "Exists"}]
        lab.api.create(pod("a", affinity=affinity, tolerations=tolerations))
        lab.api.create(pod("b"))
        await lab.until(lambda: lab.api.get("Pod", "a", "default")["spec"].get("nodeName") == "tainted")
        await lab.until(lambda: lab.api.get("Pod", "b", "default")["spec"].get("nodeName") == "full")
        lab.api.create(pod("c"))
        await lab.until(lambda: condition(lab.api.get("Pod", "c", "default"), "PodScheduled"))
        assert "Too many pods" in (condition(lab.api.get("Pod", "c", "default"), "PodScheduled") or {}).get(
            "message", ""
        )
        lab.api.delete("Pod", "b", "default")
        await lab.until(lambda: lab.api.get("Pod", "c", "default")["spec"].get("nodeName") == "full")

    cluster(scenario, nodes=())


def test_node_name_bypasses_the_scheduler(cluster: Run, pod: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(pod("a", nodeName="worker2"))
        await lab.until(lambda: lab.api.get("Pod", "a", "default")["status"]["phase"] == "Running")

    cluster(scenario)


def test_new_node_takes_no_pods_until_it_is_ready(cluster: Run, pod: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        lab.api.create(pod("a"))
        await lab.until(lambda: condition(lab.api.get("Pod", "a", "default"), "PodScheduled"))
        assert not lab.api.get("Pod", "a", "default")["spec"].get("nodeName")
        ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}]
        lab.api.update_status("Node", "n1", "", {"conditions": ready})
        await lab.until(lambda: lab.api.get("Pod", "a", "default")["spec"].get("nodeName") == "n1")

    cluster(scenario, nodes=())


def _renew(lab: Any, node: str) -> None:
    spec = {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": micro_now()}
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node},
        "spec": spec,
    }
    if lab.api.find("Lease", node, node_lifecycle.LEASES) is None:
        lab.api.create(lease, node_lifecycle.LEASES)
    else:
        lab.api.patch("Lease", node, node_lifecycle.LEASES, {"spec": spec})


def test_silent_node_is_lost_and_its_pods_are_replaced(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        created = deployment(replicas=2)
        limited = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
        created["spec"]["template"]["spec"]["tolerations"] = [
            {**limited, "key": key} for key in (node_lifecycle.NOT_READY, node_lifecycle.UNREACHABLE)
        ]
        lab.api.create(created)
        await lab.running(2)
        lab.silent = {"worker1"}
        _renew(lab, "worker1")

        def lost() -> bool:
            node = lab.api.get("Node", "worker1")
            taints = {(t["key"], t["effect"]) for t in node["spec"].get("taints") or ()}
            ready = condition(node, "Ready") or {}
            return ready["status"] == "Unknown" and (node_lifecycle.UNREACHABLE, "NoExecute") in taints

        await lab.until(lost)

        def replaced() -> bool:
            live = [pod for pod in lab.list("Pod") if "deletionTimestamp" not in pod["metadata"]]
            return [pod["spec"].get("nodeName") for pod in live] == ["worker2"] * 2

        await lab.until(replaced)
        back = [{"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}]

        def revived() -> bool:
            _renew(lab, "worker1")
            lab.api.update_status("Node", "worker1", "", {"conditions": back})
            return not lab.api.get("Node", "worker1")["spec"].get("taints")

        await lab.until(revived)
        lab.api.delete("Node", "worker1")
        await lab.until(lambda: all(pod["spec"].get("nodeName") != "worker1" for pod in lab.list("Pod")))

    cluster(scenario, node_grace=0.3)


# namespaces and garbage


def test_namespace_is_emptied_before_it_goes(cluster: Run, deployment: Make, service: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        lab.api.create(deployment(), "shop")
        lab.api.create(service(), "shop")
        await lab.until(lambda: lab.api.get("ServiceAccount", "default", "shop"))
        await lab.until(lambda: len([p for p in lab.list("Pod", "shop") if p["status"].get("podIP")]) == 3)
        assert lab.api.delete("Namespace", "shop")["status"]["phase"] == "Terminating"
        await lab.until(lambda: lab.api.find("Namespace", "shop") is None)
        assert not any(lab.api.store.count(kind.key, "shop") for kind in lab.api.kinds if kind.namespaced)

    cluster(scenario)


def test_background_deletion_takes_the_dependents(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment())
        await lab.running(3)
        lab.api.delete("Deployment", "web", "default")
        await lab.until(lambda: not lab.list("Pod") and not lab.list("ReplicaSet"))

    cluster(scenario)


def test_foreground_deletion_waits_for_the_dependents(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment())
        await lab.running(3)
        order: list[str] = []
        lab.pods.on_change(lambda old, new: order.append("pod") if new is None else None)
        lab.control_plane.informers["Deployment"].on_change(
            lambda old, new: order.append("deployment") if new is None else None
        )
        lab.api.delete("Deployment", "web", "default", propagation="Foreground")
        await lab.until(lambda: "deployment" in order and len(order) == 4)
        assert order[-1] == "deployment"

    cluster(scenario)


def test_orphaning_deletion_leaves_the_dependents(cluster: Run, deployment: Make) -> None:
    async def scenario(lab: Any) -> None:
        lab.api.create(deployment(replicas=1))
        await lab.running(1)
        lab.api.delete("Deployment", "web", "default", propagation="Orphan")
        await lab.until(lambda: lab.api.find("Deployment", "web", "default") is None)
        replica_set = lab.list("ReplicaSet")[0]
        assert not replica_set["metadata"].get("ownerReferences")
        await lab.running(1)

    cluster(scenario)


def test_dependent_of_nobody_is_collected(cluster: Run) -> None:
    async def scenario(lab: Any) -> None:
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "0"}
        metadata = {"name": "c", "ownerReferences": [owner]}
        lab.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        await lab.until(lambda: lab.api.find("ConfigMap", "c", "default") is None)

    cluster(scenario)


def test_a_new_cluster_has_its_objects(cluster: Run) -> None:
    async def scenario(lab: Any) -> None:
        assert lab.api.get("Service", "kubernetes", "default")["spec"]["clusterIP"] == "10.96.0.1"
        assert lab.api.get("Service", "kube-dns", "kube-system")["spec"]["clusterIP"] == "10.96.0.10"
        await lab.until(lambda: len(_dns(lab)) == 2)
        assert {pod["spec"]["nodeName"] for pod in _dns(lab)} == {"worker1", "worker2"}

    cluster(scenario)
