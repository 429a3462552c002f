"""DaemonSet: one pod on every node that its template fits.

    node --fits?--> a pod bound to it by node affinity (the scheduler does the rest)
    node that no longer fits, pod too many, pod that has ended --> deleted
    new template: RollingUpdate  old pods go while at most maxUnavailable nodes lack a pod that is available,
                                 or, with maxSurge, when the new pod beside them is available
                  OnDelete       old pods stay until somebody deletes them

Daemons stay on nodes that are lost, under pressure or cordoned: they get the tolerations for that.

Source: Kubernetes documentation "DaemonSet"; k8s.io/kubernetes pkg/controller/daemon.
"""

from __future__ import annotations

import time

from controlplane.api import API
from controlplane.controllers.history import HASH_LABEL, History, hash_of
from controlplane.controllers.pod_control import PodControl, pod_from_template
from controlplane.controllers.pods import is_finished, is_ready, seconds_until_available
from controlplane.controllers.rollout import share
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, key_of, labels_of
from controlplane.reconciler import Reconciler
from controlplane.scheduling import placement

COMPONENT = "daemonset-controller"
FIRST_RETRY, LAST_RETRY = 1.0, 900.0  # seconds until a pod that has failed is replaced
_NODE = "node.kubernetes.io/"
TOLERATED = (
    (_NODE + "not-ready", "NoExecute"),
    (_NODE + "unreachable", "NoExecute"),
    (_NODE + "disk-pressure", "NoSchedule"),
    (_NODE + "memory-pressure", "NoSchedule"),
    (_NODE + "pid-pressure", "NoSchedule"),
    (_NODE + "unschedulable", "NoSchedule"),
)

NodePods = dict[str, list[Obj]]


class DaemonSetController:
    """Watches DaemonSets, nodes and pods; writes pods, ControllerRevisions and the status of DaemonSets."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._sets = informers["DaemonSet"]
        self._nodes = informers["Node"]
        self._pods = informers["Pod"]
        self._control = PodControl(api, self._sets, self._pods, COMPONENT)
        self._history = History(api, informers)
        self._failures: dict[
            tuple[str, str], tuple[int, float]
        ] = {}  # (set's uid, node) -> (count, not before)
        self.reconciler = Reconciler("daemonset", self._reconcile)
        self._sets.on_change(self._set_changed)
        self._nodes.on_change(self._node_changed)
        self._control.wake(self.reconciler.enqueue)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _set_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            gone = old["metadata"]["uid"]
            self._failures = {key: value for key, value in self._failures.items() if key[0] != gone}
        self.reconciler.enqueue(key_of(new or old or {}))

    def _node_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None or new is None or placement.differs(old, new):
            self.reconciler.enqueue_all(self._sets.objects)

    async def _reconcile(self, key: Key) -> None:
        for informer in (self._sets, self._nodes, self._pods):
            informer.catch_up()
        owner = self._sets.get(*key)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        revision = self._history.current(owner)
        digest = hash_of(revision)
        pods = self._by_node(self._control.claim(owner))
        self._place(owner, digest, pods)
        pods = self._refreshed(owner)
        if owner["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            self._roll(owner, digest, pods)
            pods = self._refreshed(owner)
        self._write_status(owner, digest, pods)
        names = {f"{key[1]}-{labels_of(pod).get(HASH_LABEL, '')}" for entry in pods.values() for pod in entry}
        self._history.forget(owner, names | {revision["metadata"]["name"]})

    def _refreshed(self, owner: Obj) -> NodePods:
        self._pods.catch_up()
        return self._by_node(self._control.of(owner))

    @staticmethod
    def _by_node(pods: list[Obj]) -> NodePods:
        result: NodePods = {}
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"])):
            result.setdefault(_node_of(pod), []).append(pod)
        return result

    def _verdict(self, owner: Obj, node: Obj) -> tuple[bool, bool]:
        """(may a pod be placed on the node, may one that is there stay)."""
        spec = owner["spec"]["template"]["spec"]
        pod = {"metadata": {}, "spec": {**spec, "tolerations": _tolerations(spec)}}
        if spec.get("nodeName") not in (None, node["metadata"]["name"]) or not placement.is_selected(
            spec, node
        ):
            return False, False
        taints = (node.get("spec") or {}).get("taints") or ()
        against = {taint["effect"] for taint in placement.untolerated(pod, taints)}
        return not against & set(placement.REPELLING), "NoExecute" not in against

    def _place(self, owner: Obj, digest: str, pods: NodePods) -> None:
        """A pod where one is missing, none where it may not be."""
        for name, node in ((key[1], node) for key, node in self._nodes.objects.items()):
            here = [pod for pod in pods.get(name, ()) if "deletionTimestamp" not in pod["metadata"]]
            may_start, may_stay = self._verdict(owner, node)
            ended = [pod for pod in here if is_finished(pod)]
            alive = [pod for pod in here if not is_finished(pod)]
            for pod in ended:
                self._note_failure(owner, name, pod)
            if not may_stay:
                for pod in alive:
                    self._control.delete(owner, pod)
            elif may_start and not pods.get(name):
                self._start(owner, digest, name)
        for name, entries in pods.items():
            if ("", name) not in self._nodes.objects:
                for pod in entries:
                    self._control.delete(owner, pod)

    def _note_failure(self, owner: Obj, node: str, pod: Obj) -> None:
        """A daemon must not end: it is replaced, after a while that doubles."""
        key = (owner["metadata"]["uid"], node)
        count, before = self._failures.get(key, (0, 0.0))
        delay = min(FIRST_RETRY * 2**count, LAST_RETRY)
        self._failures[key] = (count + 1, max(before, time.monotonic() + delay))
        message = f"Found failed daemon pod {'/'.join(key_of(pod))} on node {node}, will try to kill it"
        self._control.tell(owner, "FailedDaemonPod", message, "Warning")
        self._control.delete(owner, pod)

    def _start(self, owner: Obj, digest: str, node: str) -> None:
        _, not_before = self._failures.get((owner["metadata"]["uid"], node), (0, 0.0))
        remaining = not_before - time.monotonic()
        if remaining > 0:
            self.reconciler.enqueue_after(key_of(owner), remaining)
            return
        template = owner["spec"]["template"]
        bound = {**template, "spec": _bound_to(template["spec"], node)}
        self._control.create(owner, pod_from_template(owner, bound, labels={HASH_LABEL: digest}))

    # updates

    def _roll(self, owner: Obj, digest: str, pods: NodePods) -> None:
        limits = owner["spec"]["updateStrategy"]["rollingUpdate"]
        wanted = [name for name in sorted(pods) if self._is_wanted(owner, name)]
        surge = share(limits["maxSurge"], len(wanted), round_up=True)
        if surge:
            self._roll_with_surge(owner, digest, pods, wanted, surge)
            return
        unavailable = 0
        replaceable: list[Obj] = []
        for name in wanted:
            alive = _alive(pods[name])
            if not alive or not self._is_available(owner, alive[-1]):
                unavailable += 1
                for pod in (pod for pod in alive if not _is_of(pod, digest)):
                    self._control.delete(owner, pod)
            else:
                replaceable += [pod for pod in alive if not _is_of(pod, digest)]
        room = max(1, share(limits["maxUnavailable"], len(wanted), round_up=True)) - unavailable
        for pod in replaceable[: max(0, room)]:
            self._control.delete(owner, pod)

    def _roll_with_surge(
        self, owner: Obj, digest: str, pods: NodePods, wanted: list[str], surge: int
    ) -> None:
        """The new pod first, beside the old one; at most `surge` nodes have both."""
        room = surge
        waiting: list[str] = []
        for name in wanted:
            alive = _alive(pods[name])
            old = [pod for pod in alive if not _is_of(pod, digest)]
            new = [pod for pod in alive if _is_of(pod, digest)]
            if old and new and any(self._is_available(owner, pod) for pod in new):
                for pod in old:
                    self._control.delete(owner, pod)
            elif old and new:
                room -= 1
            elif old and not self._is_available(owner, old[-1]):
                self._control.delete(owner, old[-1])
            elif old:
                waiting.append(name)
        for name in waiting[: max(0, room)]:
            self._start(owner, digest, name)

    def _is_wanted(self, owner: Obj, name: str) -> bool:
        node = self._nodes.get("", name)
        return node is not None and self._verdict(owner, node)[0]

    @staticmethod
    def _is_available(owner: Obj, pod: Obj) -> bool:
        return seconds_until_available(pod, owner["spec"].get("minReadySeconds", 0)) == 0

    # status

    def _write_status(self, owner: Obj, digest: str, pods: NodePods) -> None:
        desired = misplaced = current = ready = updated = available = 0
        waits: list[float] = []
        for (_, name), node in self._nodes.objects.items():
            alive = _alive(pods.get(name, []))
            if not self._verdict(owner, node)[0]:
                misplaced += bool(alive)
                continue
            desired += 1
            if not alive:
                continue
            current += 1
            best = max(alive, key=lambda pod: (is_ready(pod), _is_of(pod, digest)))
            wait = seconds_until_available(best, owner["spec"].get("minReadySeconds", 0))
            ready += is_ready(best)
            available += wait == 0
            updated += _is_of(best, digest)
            waits += [wait] if wait else []
        status: Obj = {
            "observedGeneration": owner["metadata"]["generation"],
            "desiredNumberScheduled": desired,
            "currentNumberScheduled": current,
            "numberMisscheduled": misplaced,
            "numberReady": ready,
            "updatedNumberScheduled": updated or None,
            "numberAvailable": available or None,
            "numberUnavailable": (desired - available) or None,
        }
        namespace, name = key_of(owner)
        self._api.update_status("DaemonSet", name, namespace, status)
        if waits:
            self.reconciler.enqueue_after((namespace, name), min(waits) + 0.01)


def _alive(pods: list[Obj]) -> list[Obj]:
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and not is_finished(pod)]


def _is_of(pod: Obj, digest: str) -> bool:
    return labels_of(pod).get(HASH_LABEL) == digest


def _tolerations(spec: Obj) -> list[Obj]:
    given: list[Obj] = list(spec.get("tolerations") or ())
    extra = [
        *TOLERATED,
        *([(_NODE + "network-unavailable", "NoSchedule")] if spec.get("hostNetwork") else []),
    ]
    return [*given, *({"key": key, "operator": "Exists", "effect": effect} for key, effect in extra)]


def _bound_to(spec: Obj, node: str) -> Obj:
    """The pod's spec with the affinity to one node, in place of that to any, and a daemon's tolerations."""
    affinity = spec.get("affinity") or {}
    of_node = affinity.get("nodeAffinity") or {}
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    bound = {**of_node, "requiredDuringSchedulingIgnoredDuringExecution": required}
    return {**spec, "affinity": {**affinity, "nodeAffinity": bound}, "tolerations": _tolerations(spec)}


def _node_of(pod: Obj) -> str:
    """The node that the pod is on, or is meant for."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    of_node = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = of_node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return ""
