"""What a new pod gets from the cluster before it is stored: its priority, what its service account brings along, the
defaults of its namespace's LimitRanges; and what it is refused for.

    pod --admit--> spec.priority                  from its PriorityClass, or the one that is everybody's default
                   volume kube-api-access-xxxxx   token, ca.crt, namespace, mounted into every container
                   resources                      what LimitRanges say where the author said nothing

Sources: Kubernetes documentation "Admission Controllers" (ServiceAccount, Priority, LimitRanger, RuntimeClass),
"Configure Service Accounts for Pods", "Limit Ranges".
"""

from __future__ import annotations

from controlplane import errors, limit_ranges
from controlplane.meta import Obj
from controlplane.newborn import random_suffix
from controlplane.store import Store

ACCESS_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
ACCESS_SECONDS = 3607
ROOT_CA = "kube-root-ca.crt"
# The same objects in every pod: nobody changes what is stored.
ACCESS_SOURCES = [
    {"serviceAccountToken": {"expirationSeconds": ACCESS_SECONDS, "path": "token"}},
    {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
            ]
        }
    },
]
_ACCESS = {"defaultMode": 0o644, "sources": ACCESS_SOURCES}


class PodAdmission:
    """The admitter of the kind Pod."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, new: Obj, old: Obj | None) -> Obj:
        """A new pod with all that the cluster gives it. Raises StatusError 403."""
        if old is not None:
            return new
        namespace, spec = new["metadata"]["namespace"], new["spec"]
        spec = {**spec, **self._priority(new["metadata"]["name"], spec)}
        runtime = spec.get("runtimeClassName")
        if runtime and self._store.get("RuntimeClass", "", runtime) is None:
            raise _refused(new, f'pod rejected: RuntimeClass "{runtime}" not found')
        account = self._account(new, namespace, spec["serviceAccountName"])
        if spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True)):
            spec = _with_access(spec)
        if account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
            spec = {**spec, "imagePullSecrets": account["imagePullSecrets"]}
        ranges = list(self._store.objects("LimitRange", namespace))
        if ranges:
            spec = limit_ranges.apply(spec, ranges)
            complaints = limit_ranges.complaints(spec, ranges)
            if complaints:
                raise _refused(new, "; ".join(complaints))
        return {**new, "spec": spec}

    def observe(self, old: Obj | None, new: Obj | None) -> None:
        """Nothing is kept here."""

    def _priority(self, pod: str, spec: Obj) -> Obj:
        """spec.priority and its policy, from the class that the pod names, or from the global default."""
        name = spec.get("priorityClassName")
        if name:
            found = self._store.get("PriorityClass", "", name)
            if found is None:
                raise errors.forbidden("pods", "", pod, f"no PriorityClass with name {name} was found")
        else:
            classes = self._store.objects("PriorityClass")
            found = max(
                (one for one in classes if one.get("globalDefault")),
                key=lambda one: one["value"],
                default=None,
            )
            if found is None:
                return {}
        return {
            "priorityClassName": found["metadata"]["name"],
            "priority": found["value"],
            "preemptionPolicy": found.get("preemptionPolicy") or "PreemptLowerPriority",
        }

    def _account(self, pod: Obj, namespace: str, name: str) -> Obj:
        """The service account; `default` may still be on its way into a new namespace."""
        found = self._store.get("ServiceAccount", namespace, name)
        if found is None and name != "default":
            why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            raise _refused(pod, why)
        return found or {}


def _refused(pod: Obj, why: str) -> errors.StatusError:
    return errors.forbidden("pods", "", pod["metadata"]["name"], why)


def _with_access(spec: Obj) -> Obj:
    """The spec with the volume of the service account, mounted wherever nothing else is mounted there."""
    name = f"kube-api-access-{random_suffix()}"
    mount = {"name": name, "readOnly": True, "mountPath": ACCESS_PATH}

    def mounted(container: Obj) -> Obj:
        mounts = container.get("volumeMounts") or []
        if any(one.get("mountPath") == ACCESS_PATH for one in mounts):
            return container
        return {**container, "volumeMounts": [*mounts, mount]}

    spec = {**spec, "containers": [mounted(container) for container in spec.get("containers") or ()]}
    if spec.get("initContainers"):
        spec["initContainers"] = [mounted(container) for container in spec["initContainers"]]
    spec["volumes"] = [*(spec.get("volumes") or ()), {"name": name, "projected": _ACCESS}]
    return spec
