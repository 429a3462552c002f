"""A cluster that goes on after its lab has ended: the objects are there, but nothing of what ran is.

    pod on a node    restartPolicy Never and already running: Failed, as after a node's sudden end; otherwise Pending
                     again on its node, without address and container statuses: the kubelet starts it anew
    pod on its way out    the kubelet finds nothing to stop and removes it
    node             no Ready condition: it takes pods again when its kubelet has spoken
    counts of ready and available pods    gone until somebody has counted

So no Service leads to an address of before, and nobody takes a word of before for the present.
"""

from __future__ import annotations

from controlplane.api import API
from controlplane.meta import Obj, key_of

NOT_RUN_AGAIN = "The lab ended while the pod was running, and its restartPolicy is Never"
KEPT_CONDITIONS = ("PodScheduled",)
COUNTS: dict[str, Obj] = {
    "Deployment": {"readyReplicas": None, "availableReplicas": None},
    "ReplicaSet": {"readyReplicas": None, "availableReplicas": None},
    "ReplicationController": {"readyReplicas": None, "availableReplicas": None},
    "StatefulSet": {"readyReplicas": None, "availableReplicas": 0},
    "DaemonSet": {"numberReady": 0, "numberAvailable": None},
}


def renew(api: API) -> None:
    """Take back what is said about the present. Called once, before anybody reads. Raises StatusError."""
    for pod in api.list("Pod")[0]:
        if pod["spec"].get("nodeName") and pod["status"].get("phase") not in ("Succeeded", "Failed"):
            namespace, name = key_of(pod)
            api.update_status("Pod", name, namespace, _status_of(pod))
    for node in api.list("Node")[0]:
        api.update_status("Node", node["metadata"]["name"], "", {"conditions": None})
    for kind, gone in COUNTS.items():
        for obj in api.list(kind)[0]:
            namespace, name = key_of(obj)
            api.update_status(kind, name, namespace, gone)


def _status_of(pod: Obj) -> Obj:
    """The status of a bound pod of before, as a merge patch."""
    before = pod["status"]
    if pod["spec"].get("restartPolicy") == "Never" and before.get("phase") == "Running":
        conditions = [
            {**entry, "status": "False"} if entry["type"] in ("Ready", "ContainersReady") else entry
            for entry in before.get("conditions") or ()
        ]
        return {"phase": "Failed", "reason": "LabEnded", "message": NOT_RUN_AGAIN, "conditions": conditions}
    kept = [entry for entry in before.get("conditions") or () if entry["type"] in KEPT_CONDITIONS]
    forgotten = dict.fromkeys(name for name in before if name not in ("phase", "qosClass"))
    return {**forgotten, "phase": "Pending", "conditions": kept or None}
