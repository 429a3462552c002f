"""The pods of a StatefulSet as pure functions: each has an ordinal, and by it a name, a hostname and claims for life.

    web-0, web-1, …   hostname web-0, subdomain = serviceName, so DNS knows web-0.SERVICE.NAMESPACE.svc
    volumeClaimTemplates: www  ->  claim www-web-0, mounted as the volume www

Source: Kubernetes documentation "StatefulSets: Pod Identity"; k8s.io/kubernetes pkg/controller/statefulset.
"""

from __future__ import annotations

from controlplane.controllers.history import HASH_LABEL
from controlplane.controllers.pod_control import pod_from_template
from controlplane.meta import Obj, labels_of

NAME_LABEL, INDEX_LABEL = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


def ordinal_of(owner: Obj, pod: Obj) -> int | None:
    """The ordinal in a pod's name; None for a name that is not one of the set's."""
    prefix, _, digits = pod["metadata"]["name"].rpartition("-")
    if prefix != owner["metadata"]["name"] or not digits.isdecimal() or str(int(digits)) != digits:
        return None
    return int(digits)


def first_ordinal(owner: Obj) -> int:
    """Where the counting begins."""
    return int((owner["spec"].get("ordinals") or {}).get("start", 0))


def make_pod(owner: Obj, template: Obj, digest: str, ordinal: int) -> Obj:
    """The pod with this ordinal, of a template whose revision is `digest`."""
    name = f"{owner['metadata']['name']}-{ordinal}"
    spec = {**template["spec"], "hostname": name}
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    claimed = [
        {"name": claim, "persistentVolumeClaim": {"claimName": claim_name}}
        for claim, claim_name in _claim_names(owner, ordinal)
    ]
    if claimed:
        names = {volume["name"] for volume in claimed}
        spec["volumes"] = [
            *(entry for entry in spec.get("volumes") or () if entry["name"] not in names),
            *claimed,
        ]
    labels = {HASH_LABEL: digest, NAME_LABEL: name, INDEX_LABEL: str(ordinal)}
    return pod_from_template(owner, {**template, "spec": spec}, name=name, labels=labels)


def _claim_names(owner: Obj, ordinal: int) -> list[tuple[str, str]]:
    templates = owner["spec"].get("volumeClaimTemplates") or ()
    names = [entry["metadata"]["name"] for entry in templates]
    return [(name, f"{name}-{owner['metadata']['name']}-{ordinal}") for name in names]


def make_claims(owner: Obj, ordinal: int) -> list[Obj]:
    """The claims of the pod with this ordinal."""
    selected = owner["spec"]["selector"].get("matchLabels") or {}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "labels": {**labels_of(template), **selected}},
            "spec": template["spec"],
        }
        for template, (_, name) in zip(
            owner["spec"].get("volumeClaimTemplates") or (), _claim_names(owner, ordinal), strict=True
        )
    ]
