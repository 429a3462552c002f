"""The scheduler: gives each new pod a node.

    pod without node --> filter (which nodes may?) --> score (which is best?) --> bind
                              `none: event FailedScheduling and condition PodScheduled=False say why;
                                     tried again as soon as a node appears or changes, or a pod goes

Preferences (taints, affinities) decide first; then the node with the fewest pods of the same owner wins, then the one
with the fewest pods, then the first by name. Counts are kept up with every change of a pod, so a decision costs one
pass over the nodes, whatever the number of pods; only a pod that says something about its neighbours, or that others
keep away, costs one over the pods.

Sources: Kubernetes documentation "Kubernetes Scheduler", "Taints and Tolerations", "Assigning Pods to Nodes".
"""

from __future__ import annotations

from collections import Counter

from controlplane.api import API
from controlplane.controllers.pods import is_finished
from controlplane.errors import StatusError
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, condition, controller_of, key_of, labels_of, with_condition
from controlplane.reconciler import Reconciler
from controlplane.scheduling import neighbours, placement
from controlplane.scheduling.ledger import Ledger, Needs
from controlplane.scheduling.neighbours import Neighbours, Scene

NAME = "default-scheduler"


class Scheduler:
    """Watches pods and nodes, writes spec.nodeName (through the binding)."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._pods = informers["Pod"]
        self._nodes = informers["Node"]
        self._unschedulable: set[Key] = set()
        self._ledger = Ledger()
        self._repelling: dict[Key, Obj] = {}  # the pods that may keep others away
        self._per_owner: Counter[tuple[str, str]] = Counter()  # (uid of the owner, node)
        self.reconciler = Reconciler("scheduler", self._reconcile)
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(self._node_changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None:
            self._count(old, -1)
        if new is not None:
            self._count(new, 1)
            if _wants_node(new):
                self.reconciler.enqueue(key_of(new))
                return
        gone = new or old
        if gone is not None:
            self._unschedulable.discard(key_of(gone))
        if old is None or new is None or is_finished(new) or _is_another_neighbour(old, new):
            self._try_again()

    def _node_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None or new is None or placement.differs(old, new):
            self._try_again()

    def _try_again(self) -> None:
        self.reconciler.enqueue_all(self._unschedulable)

    def _count(self, pod: Obj, step: int) -> None:
        node = pod["spec"].get("nodeName")
        if not node or is_finished(pod):
            return
        self._ledger.count(pod, node, step)
        if neighbours.repels(pod):
            if step > 0:
                self._repelling[key_of(pod)] = pod
            else:
                self._repelling.pop(key_of(pod), None)
        owner = controller_of(pod)
        if owner is not None:
            key = (owner["uid"], node)
            self._per_owner[key] += step
            if not self._per_owner[key]:
                del self._per_owner[key]

    async def _reconcile(self, key: Key) -> None:
        self._pods.catch_up()
        self._nodes.catch_up()
        namespace, name = key
        pod = self._pods.get(namespace, name)
        if pod is None or not _wants_node(pod):
            return
        near, needs = self._neighbours(pod), Needs.of(pod)
        verdicts = {
            node["metadata"]["name"]: self._why_not(pod, needs, node, near)
            for node in self._nodes.objects.values()
        }
        fitting = [node for node, why_not in verdicts.items() if not why_not]
        if not fitting:
            self._tell_why(pod, list(verdicts.values()))
            return
        chosen = min(fitting, key=lambda node: self._score(pod, node, near))
        try:
            self._api.bind(name, namespace, chosen)
        except StatusError as error:
            if error.code not in (404, 409):
                raise
            return  # deleted or bound meanwhile: its watch event will tell
        self._unschedulable.discard((namespace, name))
        message = f"Successfully assigned {namespace}/{name} to {chosen}"
        self._api.event(pod, "Scheduled", message, component=NAME)

    def _neighbours(self, pod: Obj) -> Neighbours | None:
        """What the pod asks of each node by who else is there; None when that does not matter."""
        if not (self._repelling or neighbours.wishes(pod)):
            return None
        placed = [
            other
            for other in self._pods.objects.values()
            if other["spec"].get("nodeName") and not is_finished(other)
        ]
        nodes = {node["metadata"]["name"]: node for node in self._nodes.objects.values()}
        namespaces = {home["metadata"]["name"]: labels_of(home) for home in self._api.list("Namespace")[0]}
        return Neighbours(pod, Scene(nodes, placed, namespaces))

    def _why_not(self, pod: Obj, needs: Needs, node: Obj, near: Neighbours | None) -> list[str]:
        """Why the pod may not run on the node; empty if it may."""
        if "deletionTimestamp" in node["metadata"]:
            return ["node(s) were being deleted"]
        reason = placement.why_not(pod, node)
        if reason:
            return [reason]
        return self._ledger.why_not(needs, node) or (near.why_not(node) if near else [])

    def _score(self, pod: Obj, name: str, near: Neighbours | None) -> tuple[int, float, int, int, str]:
        node = self._nodes.objects["", name]
        owner = controller_of(pod)
        siblings = self._per_owner[owner["uid"], name] if owner else 0
        dislike = (near.dislike(node) if near else 0) - placement.preference(pod, node)
        return placement.disliked_taints(pod, node), dislike, siblings, self._ledger.pods[name], name

    def _tell_why(self, pod: Obj, verdicts: list[list[str]]) -> None:
        key = key_of(pod)
        self._unschedulable.add(key)
        reasons = Counter(reason for verdict in verdicts for reason in verdict)
        counted = sorted(f"{count} {reason}" for reason, count in reasons.items())
        message = (
            f"0/{len(verdicts)} nodes are available: {', '.join(counted)}."
            if verdicts
            else "no nodes available to schedule pods"
        )
        before = condition(pod, "PodScheduled")
        if before is not None and before.get("message") == message:
            return
        conditions = with_condition(
            pod["status"].get("conditions"), "PodScheduled", "False", reason="Unschedulable", message=message
        )
        self._api.update_status("Pod", key[1], key[0], {"conditions": conditions})
        self._api.event(pod, "FailedScheduling", message, type="Warning", component=NAME)


def _is_another_neighbour(old: Obj, new: Obj) -> bool:
    """Whether a pod's change can change what other pods may be near."""
    return old["spec"].get("nodeName") != new["spec"].get("nodeName") or labels_of(old) != labels_of(new)


def _wants_node(pod: Obj) -> bool:
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and spec.get("schedulerName") == NAME
        and not spec.get("schedulingGates")
        and "deletionTimestamp" not in pod["metadata"]
        and not is_finished(pod)
    )
