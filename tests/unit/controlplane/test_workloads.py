"""DaemonSets, StatefulSets, Jobs, CronJobs, claims, budgets and mirrors, on a control plane with pretended kubelets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane import cron, disruption
from controlplane.controllers import job_status
from controlplane.errors import StatusError
from controlplane.meta import condition, labels_of, seconds, with_condition

Obj = dict[str, Any]
Run = Callable[..., None]
CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def workload(kind: str, name: str = "web", api: str = "apps/v1", **spec: Any) -> Obj:
    template: Obj = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
    }
    selector = {} if api == "batch/v1" else {"selector": {"matchLabels": {"app": name}}}
    if api == "batch/v1":
        template["spec"] |= {"restartPolicy": "Never"}
    body = {**selector, "template": template, **spec}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": body}


def image_patch(image: str) -> Obj:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}


def images(pods: list[Obj]) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in pods]


def status(cluster: Any, kind: str, name: str = "web") -> Obj:
    return dict(cluster.api.get(kind, name, "default").get("status") or {})


def end(cluster: Any, pod: Obj, phase: str) -> None:
    """A pod's containers have ended."""
    conditions = with_condition(pod["status"].get("conditions"), "Ready", "False")
    body = {"phase": phase, "conditions": conditions}
    cluster.api.update_status("Pod", pod["metadata"]["name"], "default", body)


# DaemonSets


def test_a_daemon_on_every_node_that_it_fits(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.add_node("control", taints=[CONTROL_PLANE_TAINT])
        one.api.create(workload("DaemonSet"), "default")
        await one.running(2)
        await one.until(lambda: status(one, "DaemonSet").get("numberReady") == 2)
        assert status(one, "DaemonSet")["desiredNumberScheduled"] == 2
        one.add_node("late")
        pods = await one.running(3)
        assert sorted(pod["spec"]["nodeName"] for pod in pods) == ["late", "worker1", "worker2"]
        one.api.patch("Node", "worker1", "", {"spec": {"unschedulable": True}})
        one.api.patch(
            "DaemonSet",
            "web",
            "default",
            {"spec": {"template": {"spec": {"nodeSelector": {"name": "late"}}}}},
        )
        pods = await one.running(1)
        assert pods[0]["spec"]["nodeName"] == "late"

    cluster(scenario)


def test_a_daemon_stays_on_a_cordoned_node_and_leaves_a_tainted_one(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("DaemonSet"), "default")
        before = {pod["metadata"]["uid"] for pod in await one.running(2)}
        one.api.patch("Node", "worker1", "", {"spec": {"unschedulable": True}})
        taint = {"key": "broken", "effect": "NoExecute"}
        one.api.patch("Node", "worker2", "", {"spec": {"taints": [taint]}})
        pods = await one.running(1)
        assert pods[0]["spec"]["nodeName"] == "worker1"
        assert pods[0]["metadata"]["uid"] in before

    cluster(scenario)


def test_daemons_are_updated_one_node_at_a_time(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("DaemonSet"), "default")
        await one.running(3)
        one.ready = False
        one.api.patch("DaemonSet", "web", "default", image_patch("nginx:2"))
        await one.until(lambda: sorted(images(one.list("Pod"))) == ["nginx:1", "nginx:1", "nginx:2"])
        await one.until(lambda: status(one, "DaemonSet").get("numberUnavailable") == 1)
        assert sorted(images(one.list("Pod"))) == ["nginx:1", "nginx:1", "nginx:2"], (
            "the new one is not available"
        )
        one.ready = True
        for pod in one.list("Pod"):
            one._act("default", pod["metadata"]["name"])
        await one.until(lambda: images(one.list("Pod")) == ["nginx:2"] * 3)
        await one.until(lambda: status(one, "DaemonSet").get("updatedNumberScheduled") == 3)
        assert len(one.list("ControllerRevision")) == 2

    cluster(scenario, nodes=("a", "b", "c"))


def test_daemons_with_surge_are_never_missing(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        one.api.create(workload("DaemonSet", updateStrategy=strategy), "default")
        await one.running(2)
        least = 2

        def look(old: Obj | None, new: Obj | None) -> None:
            nonlocal least
            ready = [
                pod
                for pod in one.pods.objects.values()
                if (condition(pod, "Ready") or {}).get("status") == "True"
                and "deletionTimestamp" not in pod["metadata"]
            ]
            least = min(least, len({pod["spec"]["nodeName"] for pod in ready}))

        one.pods.on_change(look)
        one.api.patch("DaemonSet", "web", "default", image_patch("nginx:2"))
        await one.until(lambda: images(one.list("Pod")) == ["nginx:2"] * 2)
        assert least == 2

    cluster(scenario)


def test_on_delete_waits_for_a_hand(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("DaemonSet", updateStrategy={"type": "OnDelete"}), "default")
        await one.running(2)
        one.api.patch("DaemonSet", "web", "default", image_patch("nginx:2"))
        await one.until(lambda: status(one, "DaemonSet").get("observedGeneration") == 2)
        pods = one.list("Pod")
        assert images(pods) == ["nginx:1"] * 2
        one.api.delete("Pod", pods[0]["metadata"]["name"], "default")
        await one.until(lambda: sorted(images(one.list("Pod"))) == ["nginx:1", "nginx:2"])

    cluster(scenario)


def test_a_daemon_that_ends_is_replaced(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("DaemonSet"), "default")
        (pod,) = await one.running(1)
        end(one, pod, "Failed")
        (other,) = await one.until(lambda: [p for p in one.list("Pod") if p["status"]["phase"] == "Running"])
        assert other["spec"]["nodeName"] == "a"
        assert any(event["reason"] == "FailedDaemonPod" for event in one.list("Event"))

    cluster(scenario, nodes=("a",))


# StatefulSets


def names(pods: list[Obj]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


def test_ordered_one_after_the_other_and_back(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.ready = False
        one.api.create(workload("StatefulSet", replicas=3, serviceName="nginx"), "default")
        await one.until(lambda: names(one.list("Pod")) == ["web-0"])
        await one.until(lambda: status(one, "StatefulSet").get("replicas") == 1)
        assert names(one.list("Pod")) == ["web-0"], "web-0 is not ready yet"
        one.ready = True
        one._act("default", "web-0")
        pods = await one.running(3)
        assert names(pods) == ["web-0", "web-1", "web-2"]
        assert (pods[1]["spec"]["hostname"], pods[1]["spec"]["subdomain"]) == ("web-1", "nginx")
        assert labels_of(pods[1])["apps.kubernetes.io/pod-index"] == "1"
        gone: list[str] = []
        one.pods.on_change(lambda old, new: gone.append(old["metadata"]["name"]) if old and not new else None)
        one.api.patch("StatefulSet", "web", "default", {"spec": {"replicas": 1}})
        await one.running(1)
        await one.until(lambda: gone == ["web-2", "web-1"])
        await one.until(lambda: status(one, "StatefulSet")["replicas"] == 1)

    cluster(scenario)


def test_parallel_all_at_once(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.ready = False
        spec: Obj = {"replicas": 3, "podManagementPolicy": "Parallel", "ordinals": {"start": 5}}
        one.api.create(workload("StatefulSet", **spec), "default")
        await one.until(lambda: names(one.list("Pod")) == ["web-5", "web-6", "web-7"])

    cluster(scenario)


def test_a_lost_pod_comes_back_under_its_name_with_its_claim(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        claim = {
            "metadata": {"name": "www"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        one.api.create(workload("StatefulSet", replicas=2, volumeClaimTemplates=[claim]), "default")
        before = await one.running(2)
        await one.until(
            lambda: [c["status"]["phase"] for c in one.list("PersistentVolumeClaim")] == ["Bound"] * 2
        )
        assert names(one.list("PersistentVolumeClaim")) == ["www-web-0", "www-web-1"]
        one.api.delete("Pod", "web-0", "default")
        uid = before[0]["metadata"]["uid"]
        await one.until(lambda: one.api.get("Pod", "web-0", "default")["metadata"]["uid"] != uid)
        again = one.api.get("Pod", "web-0", "default")
        assert again["spec"]["volumes"][:1] == [
            {"name": "www", "persistentVolumeClaim": {"claimName": "www-web-0"}}
        ]
        one.api.delete("StatefulSet", "web", "default")
        await one.until(lambda: not one.list("Pod"))
        assert len(one.list("PersistentVolumeClaim")) == 2, "claims are kept"

    cluster(scenario)


def test_claims_go_when_the_policy_says_so(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        claim = {
            "metadata": {"name": "www"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
        spec: Obj = {"volumeClaimTemplates": [claim], "persistentVolumeClaimRetentionPolicy": policy}
        one.api.create(workload("StatefulSet", replicas=2, **spec), "default")
        await one.running(2)
        one.api.patch("StatefulSet", "web", "default", {"spec": {"replicas": 1}})
        await one.until(lambda: names(one.list("PersistentVolumeClaim")) == ["www-web-0"])
        one.api.delete("StatefulSet", "web", "default")
        await one.until(lambda: not one.list("PersistentVolumeClaim"))
        await one.until(lambda: not one.api.list("PersistentVolume")[0])

    cluster(scenario)


def test_updates_from_the_last_to_the_partition(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        one.api.create(workload("StatefulSet", replicas=3, updateStrategy=strategy), "default")
        await one.running(3)
        first = status(one, "StatefulSet")["currentRevision"]
        one.api.patch("StatefulSet", "web", "default", image_patch("nginx:2"))
        await one.until(lambda: images(one.list("Pod")) == ["nginx:1", "nginx:2", "nginx:2"])
        await one.until(lambda: status(one, "StatefulSet").get("updatedReplicas") == 2)
        now = status(one, "StatefulSet")
        assert now["currentRevision"] == first != now["updateRevision"]
        one.api.delete("Pod", "web-0", "default")
        await one.running(3)
        assert images(one.list("Pod"))[0] == "nginx:1", (
            "below the partition a lost pod is of the old revision"
        )
        patch = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
        one.api.patch("StatefulSet", "web", "default", patch)
        await one.until(lambda: images(one.list("Pod")) == ["nginx:2"] * 3)
        await one.until(lambda: status(one, "StatefulSet")["currentRevision"] == now["updateRevision"])

    cluster(scenario)


# Jobs


def test_a_job_runs_as_often_as_it_must(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("Job", "pi", "batch/v1", completions=5, parallelism=2), "default")
        done = 0
        while done < 5:
            seen = done
            pods = await one.until(
                lambda: (
                    status(one, "Job", "pi").get("succeeded", 0) == seen  # noqa: B023 - awaited at once
                    and [p for p in one.list("Pod") if p["status"]["phase"] == "Running"]
                )
            )
            assert len(pods) <= min(2, 5 - done)
            end(one, pods[0], "Succeeded")
            done += 1
            if done == 2:  # what is deleted afterwards stays counted
                one.api.delete("Pod", pods[0]["metadata"]["name"], "default")
        await one.until(lambda: condition(one.api.get("Job", "pi", "default"), "Complete"))
        final = status(one, "Job", "pi")
        assert (final["succeeded"], final.get("active"), final.get("failed")) == (5, None, None)
        assert "completionTime" in final

    cluster(scenario)


@pytest.mark.parametrize("limit", [0, 2])
def test_a_job_that_fails_too_often(cluster: Run, limit: int) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("Job", "pi", "batch/v1", backoffLimit=limit), "default")
        for _ in range(limit + 1):
            (pod,) = await one.until(
                lambda: [p for p in one.list("Pod") if p["status"]["phase"] == "Running"]
            )
            end(one, pod, "Failed")
        failed = await one.until(lambda: condition(one.api.get("Job", "pi", "default"), "Failed"))
        assert failed["reason"] == "BackoffLimitExceeded"
        assert status(one, "Job", "pi")["failed"] == limit + 1

    cluster(scenario, job_retry=0.01)


def test_a_job_that_takes_too_long(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("Job", "pi", "batch/v1", activeDeadlineSeconds=1, parallelism=2), "default")
        await one.running(2, "job-name=pi")
        failed = await one.until(lambda: condition(one.api.get("Job", "pi", "default"), "Failed"))
        assert failed["reason"] == "DeadlineExceeded"
        await one.until(lambda: not one.list("Pod"))

    cluster(scenario)


def test_a_suspended_job_goes_on(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("Job", "pi", "batch/v1", suspend=True), "default")
        await one.until(lambda: condition(one.api.get("Job", "pi", "default"), "Suspended"))
        assert not one.list("Pod")
        assert "startTime" not in status(one, "Job", "pi")
        one.api.patch("Job", "pi", "default", {"spec": {"suspend": False}})
        await one.running(1, "job-name=pi")
        one.api.patch("Job", "pi", "default", {"spec": {"suspend": True}})
        await one.until(lambda: not one.list("Pod"))
        one.api.patch("Job", "pi", "default", {"spec": {"suspend": False}})
        (pod,) = await one.running(1, "job-name=pi")
        end(one, pod, "Succeeded")
        await one.until(lambda: condition(one.api.get("Job", "pi", "default"), "Complete"))

    cluster(scenario)


def test_an_indexed_job_does_each_index_once(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        spec: Obj = {"completions": 3, "parallelism": 3, "completionMode": "Indexed"}
        one.api.create(workload("Job", "pi", "batch/v1", **spec), "default")
        pods = await one.running(3, "job-name=pi")
        by_index = {job_status.index_of(pod): pod for pod in pods}
        assert set(by_index) == {0, 1, 2}
        assert by_index[1]["spec"]["hostname"] == "pi-1"
        end(one, by_index[1], "Failed")
        await one.until(lambda: len(one.list("Pod")) == 4)
        for pod in one.list("Pod"):
            if pod["status"]["phase"] != "Failed":
                end(one, pod, "Succeeded")
        await one.until(lambda: condition(one.api.get("Job", "pi", "default"), "Complete"))
        assert status(one, "Job", "pi")["completedIndexes"] == "0-2"

    cluster(scenario, job_retry=0.01)


def test_a_finished_job_expires(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("Job", "pi", "batch/v1", ttlSecondsAfterFinished=0), "default")
        (pod,) = await one.running(1, "job-name=pi")
        end(one, pod, "Succeeded")
        await one.until(lambda: not one.list("Job") and not one.list("Pod"))

    cluster(scenario)


def test_indexes_in_short() -> None:
    assert job_status.format_indexes({0, 1, 2, 4, 6, 7}) == "0-2,4,6-7"
    assert job_status.parse_indexes("0-2,4,6-7") == {0, 1, 2, 4, 6, 7}
    assert job_status.parse_indexes("") == set()


# CronJobs


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/5 * * * *", "2026-03-01T10:02:30", "2026-03-01T10:05:00"),
        ("30 8 * * 1-5", "2026-03-06T09:00:00", "2026-03-09T08:30:00"),
        ("0 0 1 1 *", "2026-03-06T09:00:00", "2027-01-01T00:00:00"),
        ("@daily", "2026-12-31T00:00:00", "2027-01-01T00:00:00"),
        ("0 12 29 feb *", "2026-01-01T00:00:00", "2028-02-29T12:00:00"),
        ("0 0 13 * fri", "2026-02-01T00:00:00", "2026-02-06T00:00:00"),
        ("0 0 * * 7", "2026-03-02T00:00:00", "2026-03-08T00:00:00"),
    ],
)
def test_schedules(schedule: str, after: str, expected: str) -> None:
    found = cron.parse(schedule).next_after(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "schedule", ["* * * *", "60 * * * *", "* * * * mon-sun-", "a * * * *", "5-1 * * * *", "*/x * * * *"]
)
def test_what_is_no_schedule(schedule: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        cron.parse(schedule)


def test_a_cron_job_makes_up_for_a_run_and_forgets_old_ones(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        template = workload("Job", "x", "batch/v1")["spec"]
        spec = {"schedule": "* * * * *", "jobTemplate": {"spec": template}, "successfulJobsHistoryLimit": 0}
        body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "hello"}, "spec": spec}
        one.api.create({**body, "spec": {**spec, "suspend": True}}, "default")
        one.api.update_status("CronJob", "hello", "default", {"lastScheduleTime": "2026-01-01T00:00:00Z"})
        one.api.patch("CronJob", "hello", "default", {"spec": {"suspend": False}})
        (job,) = await one.until(lambda: one.list("Job"))
        assert seconds(status(one, "CronJob", "hello")["lastScheduleTime"]) > seconds("2026-01-01T00:00:00Z")
        (pod,) = await one.running(1, f"job-name={job['metadata']['name']}")
        one.api.patch("CronJob", "hello", "default", {"spec": {"suspend": True}})
        end(one, pod, "Succeeded")
        await one.until(lambda: not one.list("Job"))

    cluster(scenario)


# budgets and evictions


def test_a_budget_holds_an_eviction_back(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("Deployment", replicas=2), "default")
        pods = await one.running(2)
        budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
        metadata = {"name": "web"}
        body = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": budget,
        }
        one.api.create(body, "default")
        await one.until(lambda: status(one, "PodDisruptionBudget").get("disruptionsAllowed") == 1)
        one.ready = False  # no replacement gets ready
        disruption.evict(one.api, pods[0]["metadata"]["name"], "default", {})
        with pytest.raises(StatusError) as caught:
            disruption.evict(one.api, pods[1]["metadata"]["name"], "default", {})
        assert (caught.value.code, caught.value.reason) == (429, "TooManyRequests")
        assert "needs 1 healthy pods and has 1 currently" in caught.value.details["causes"][0]["message"]
        waiting = await one.until(lambda: [p for p in one.list("Pod") if p["status"]["phase"] == "Pending"])
        disruption.evict(one.api, waiting[0]["metadata"]["name"], "default", {})

    cluster(scenario)


@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [({"maxUnavailable": 1}, 2, 1), ({"maxUnavailable": "34%"}, 1, 2), ({"minAvailable": "50%"}, 2, 1)],
)
def test_what_a_budget_allows(cluster: Run, spec: Obj, desired: int, allowed: int) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("Deployment", replicas=3), "default")
        await one.running(3)
        budget = {**spec, "selector": {"matchLabels": {"app": "web"}}}
        body = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web"},
            "spec": budget,
        }
        one.api.create(body, "default")
        found = disruption.status_of(one.api, one.api.get("PodDisruptionBudget", "web", "default"))
        assert (found["desiredHealthy"], found["disruptionsAllowed"]) == (desired, allowed)

    cluster(scenario)


# Endpoints, the cluster's own Service


def test_endpoints_and_slices_follow_each_other(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(workload("Deployment", replicas=2), "default")
        service = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        one.api.create(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service}, "default"
        )
        await one.running(2)
        await one.until(
            lambda: (
                [
                    len(part["addresses"])
                    for part in one.api.get("Endpoints", "web", "default").get("subsets") or ()
                ]
                == [2]
            )
        )
        assert one.api.get("Endpoints", "web", "default")["subsets"][0]["ports"] == [
            {"port": 80, "protocol": "TCP"}
        ]
        by_hand: Obj = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db"}}
        by_hand["subsets"] = [{"addresses": [{"ip": "203.0.113.5"}], "ports": [{"port": 5432}]}]
        one.api.create({**service_without_selector("db")}, "default")
        one.api.create(by_hand, "default")
        selector = "kubernetes.io/service-name=db"
        (mirrored,) = await one.until(lambda: one.list("EndpointSlice", label_selector=selector))
        assert mirrored["endpoints"][0]["addresses"] == ["203.0.113.5"]
        one.api.delete("Endpoints", "db", "default")
        await one.until(lambda: not one.list("EndpointSlice", label_selector=selector))

    cluster(scenario)


def service_without_selector(name: str) -> Obj:
    spec = {"ports": [{"port": 5432}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def test_the_clusters_own_service_comes_back(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        one.api.delete("Service", "kubernetes", "default")
        one.api.patch("EndpointSlice", "kubernetes", "default", {"endpoints": []})
        one.api.delete("Endpoints", "kubernetes", "default")
        found = await one.until(lambda: one.api.get("Service", "kubernetes", "default"))
        assert found["spec"]["clusterIP"] == "10.96.0.1"
        await one.until(lambda: one.api.get("EndpointSlice", "kubernetes", "default").get("endpoints"))
        await one.until(lambda: one.api.get("Endpoints", "kubernetes", "default"))

    cluster(scenario)


def test_the_clusters_own_namespaces_stay(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        with pytest.raises(StatusError) as caught:
            one.api.delete("Namespace", "default")
        assert caught.value.code == 403
        assert caught.value.message == 'namespaces "default" is forbidden: this namespace may not be deleted'

    cluster(scenario)


def test_a_replication_controller_keeps_its_pods(cluster: Run) -> None:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    }
    obj = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "template": template},
    }

    async def scenario(one: Any) -> None:
        stranger = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "other"},
            "spec": template["spec"],
        }
        one.api.create(stranger)
        made = one.api.create(obj)
        assert made["spec"]["selector"] == {"app": "web"}
        before = await one.running(2)
        assert {owner["kind"] for pod in before for owner in pod["metadata"]["ownerReferences"]} == {
            "ReplicationController"
        }
        one.api.delete("Pod", before[0]["metadata"]["name"], "default")
        await one.running(2)
        one.api.patch("ReplicationController", "web", "default", {"spec": {"replicas": 3}})
        await one.running(3)
        await one.until(
            lambda: one.api.get("ReplicationController", "web", "default")["status"].get("readyReplicas") == 3
        )
        assert "ownerReferences" not in one.api.get("Pod", "other", "default")["metadata"]

    cluster(scenario)


def test_an_indexed_job_with_a_limit_for_each_index(cluster: Run) -> None:
    async def scenario(one: Any) -> None:
        spec: Obj = {
            "completions": 3,
            "parallelism": 3,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": 1,
        }
        one.api.create(workload("Job", "pi", "batch/v1", **spec), "default")
        for tries in (1, 2):
            pods = await one.until(
                lambda tries=tries: [
                    pod
                    for pod in one.list("Pod")
                    if job_status.index_of(pod) == 1 and pod["status"]["phase"] == "Running"
                ]
            )
            end(one, pods[0], "Failed")
            await one.until(lambda tries=tries: status(one, "Job", "pi").get("failed") == tries)
        await one.until(lambda: status(one, "Job", "pi").get("failedIndexes") == "1")
        for pod in one.list("Pod"):
            if pod["status"]["phase"] == "Running":
                end(one, pod, "Succeeded")
        over = await one.until(lambda: condition(one.api.get("Job", "pi", "default"), "Failed"))
        assert over["reason"] == "FailedIndexes"
        assert status(one, "Job", "pi")["completedIndexes"] == "0,2"
        assert len(one.list("Pod")) == 4, "the index that has failed is not tried a third time"

    cluster(scenario, job_retry=0.01)
