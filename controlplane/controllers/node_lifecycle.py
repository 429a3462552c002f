"""Nodes that come, fall silent, and come back.

    kubelet renews its Lease (kube-node-lease/NODE) --silent for GRACE--> Ready=Unknown
    Ready=True -> no taint; False -> not-ready; Unknown -> unreachable (NoSchedule at once, NoExecute too)
    NoExecute  -> pods that do not tolerate it are deleted; those that do for some seconds, after these
    node gone  -> its pods are removed

A new node bears the taint not-ready until its kubelet says Ready, so no pod is placed on a node that cannot
run it yet. A node without a Lease is judged by its Ready condition alone.

Source: Kubernetes documentation "Nodes: node heartbeats, node controller"; "Taints and Tolerations: taint
based evictions".
"""

from __future__ import annotations

import time

from controlplane.api import API
from controlplane.controllers.pods import is_finished
from controlplane.informers import Informers
from controlplane.meta import Obj, condition, key_of, now, seconds, with_condition
from controlplane.reconciler import Reconciler
from controlplane.scheduling.placement import tolerates

LEASES = "kube-node-lease"
GRACE = 40.0  # seconds of silence until a node counts as lost (node-monitor-grace-period)
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OURS = (NOT_READY, UNREACHABLE, UNSCHEDULABLE)
COMPONENT = "node-controller"


class TaintNewNodes:
    """The admitter of the kind Node: a newborn node is not ready."""

    def admit(self, new: Obj, old: Obj | None) -> Obj:
        """The node, tainted at birth unless it is born Ready."""
        if old is not None or (condition(new, "Ready") or {}).get("status") == "True":
            return new
        spec = new.get("spec") or {}
        taints = spec.get("taints") or []
        if any(taint.get("key") == NOT_READY for taint in taints):
            return new
        return {**new, "spec": {**spec, "taints": [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]}}

    def observe(self, old: Obj | None, new: Obj | None) -> None:
        """Keeps no books."""


class NodeLifecycleController:
    """Watches nodes, their Leases and pods; writes taints and conditions, deletes pods. `grace` is in
    seconds.
    """

    def __init__(self, api: API, informers: Informers, *, grace: float = GRACE) -> None:
        self._api = api
        self._grace = grace
        self._nodes = informers["Node"]
        self._leases = informers["Lease"]
        self._pods = informers["Pod"]
        self._pods_of = self._pods.index(lambda pod: (pod["spec"].get("nodeName", ""),))
        self._heard: dict[
            str, tuple[str, float]
        ] = {}  # node -> (renewTime, when we saw it, on our own clock)
        self.reconciler = Reconciler("node-lifecycle", self._reconcile)
        self._nodes.on_change(
            lambda old, new: self.reconciler.enqueue((new or old or {})["metadata"]["name"])
        )
        self._leases.on_change(self._lease_changed)
        self._pods.on_change(self._pod_changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _lease_changed(self, old: Obj | None, new: Obj | None) -> None:
        lease = new or old or {}
        if lease["metadata"]["namespace"] != LEASES:
            return
        name = lease["metadata"]["name"]
        self._heard[name] = ((lease.get("spec") or {}).get("renewTime", ""), time.monotonic())
        if new is None:
            del self._heard[name]
        self.reconciler.enqueue(name)

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """A pod that has just got its node may be on one that is going down, or gone."""
        if (
            new is not None
            and new["spec"].get("nodeName")
            and (old is None or not old["spec"].get("nodeName"))
        ):
            node = self._nodes.get("", new["spec"]["nodeName"])
            if node is None or _taints(node, "NoExecute"):
                self.reconciler.enqueue(new["spec"]["nodeName"])

    async def _reconcile(self, name: str) -> None:
        for informer in (self._nodes, self._leases, self._pods):
            informer.catch_up()
        node = self._nodes.get("", name)
        if node is None:
            self._remove_pods(name)
            return
        node = self._judge(node)
        node = self._set_taints(node)
        self._evict(node)

    def _remove_pods(self, node: str) -> None:
        """Nobody is left who could end these pods."""
        for pod in tuple(self._pods_of[node].values()):
            namespace, name = key_of(pod)
            if self._api.find("Pod", name, namespace) is not None:
                self._api.delete("Pod", name, namespace, grace_period=0)

    def _judge(self, node: Obj) -> Obj:
        """A silent node is Unknown; otherwise its kubelet's own word holds."""
        name = node["metadata"]["name"]
        heard = self._heard.get(name)
        if heard is None:
            return node
        remaining = heard[1] + self._grace - time.monotonic()
        if remaining > 0:
            self.reconciler.enqueue_after(name, remaining)
            return node
        if (condition(node, "Ready") or {}).get("status") in ("Unknown", None):
            return node
        conditions = with_condition(
            node["status"].get("conditions"),
            "Ready",
            "Unknown",
            reason="NodeStatusUnknown",
            message="Kubelet stopped posting node status.",
            lastHeartbeatTime=heard[0][:19] + "Z" if heard[0] else now(),
        )
        node = self._api.update_status("Node", name, "", {"conditions": conditions})
        self._api.event(node, "NodeNotReady", f"Node {name} status is now: NodeNotReady", component=COMPONENT)
        for pod in tuple(self._pods_of[name].values()):
            self._mark_not_ready(pod)
        return node

    def _mark_not_ready(self, pod: Obj) -> None:
        """No service may lead to a pod of a lost node."""
        if (condition(pod, "Ready") or {}).get("status") != "True":
            return
        conditions = with_condition(pod["status"]["conditions"], "Ready", "False", reason="NodeLost")
        namespace, name = key_of(pod)
        self._api.update_status("Pod", name, namespace, {"conditions": conditions})

    def _set_taints(self, node: Obj) -> Obj:
        spec = node.get("spec") or {}
        ready = (condition(node, "Ready") or {}).get("status", "")
        wanted: list[tuple[str, str]] = []
        if ready == "Unknown":
            wanted = [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
        elif ready == "False":
            wanted = [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
        elif not ready:
            wanted = [(NOT_READY, "NoSchedule")]
        if spec.get("unschedulable"):
            wanted.append((UNSCHEDULABLE, "NoSchedule"))
        present = spec.get("taints") or []
        taints = [
            taint
            for taint in present
            if taint["key"] not in OURS or (taint["key"], taint["effect"]) in wanted
        ]
        known = {(taint["key"], taint["effect"]) for taint in taints}
        taints += [_taint(key, effect) for key, effect in wanted if (key, effect) not in known]
        if taints == present:
            return node
        return self._api.patch("Node", node["metadata"]["name"], "", {"spec": {"taints": taints or None}})

    def _evict(self, node: Obj) -> None:
        taints = _taints(node, "NoExecute")
        if not taints:
            return
        name = node["metadata"]["name"]
        waits = [self._evict_pod(pod, taints) for pod in tuple(self._pods_of[name].values())]
        later = [wait for wait in waits if wait is not None]
        if later:
            self.reconciler.enqueue_after(name, min(later))

    def _evict_pod(self, pod: Obj, taints: list[Obj]) -> float | None:
        """Deletes the pod if its time is over; else the seconds that it has left (None: for ever, or it is
        already going).
        """
        if "deletionTimestamp" in pod["metadata"] or is_finished(pod):
            return None
        left = [_time_left(pod, taint) for taint in taints]
        limited = [value for value in left if value is not None]
        if not limited or min(limited) > 0:
            return min(limited, default=None)
        namespace, name = key_of(pod)
        self._api.event(
            pod, "TaintManagerEviction", f"Marking for deletion Pod {namespace}/{name}", component=COMPONENT
        )
        self._api.delete("Pod", name, namespace)
        return None


def _taint(key: str, effect: str) -> Obj:
    return (
        {"key": key, "effect": effect, "timeAdded": now()}
        if effect == "NoExecute"
        else {"key": key, "effect": effect}
    )


def _taints(node: Obj, effect: str) -> list[Obj]:
    return [taint for taint in (node.get("spec") or {}).get("taints") or () if taint["effect"] == effect]


def _time_left(pod: Obj, taint: Obj) -> float | None:
    """Seconds that the pod may stay under a taint; None for ever."""
    matching = [entry for entry in pod["spec"].get("tolerations") or () if tolerates(entry, taint)]
    if not matching:
        return 0.0
    limits: list[int] = [entry["tolerationSeconds"] for entry in matching if "tolerationSeconds" in entry]
    if not limits:
        return None
    since = seconds(taint["timeAdded"]) if "timeAdded" in taint else time.time()
    return max(0.0, since + max(0, min(limits)) - time.time())
