"""Defaults of Job and CronJob.

A Job finds its pods by a label that holds its uid, so that no two Jobs ever claim the same pod; selector and label
are given to it here, unless its author insists on another selector (manualSelector).
"""

from __future__ import annotations

from controlplane.defaults.apps import with_template
from controlplane.meta import Obj

UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
MAX_INT = 2**31 - 1
CRON_JOB_SPEC: Obj = {
    "concurrencyPolicy": "Allow",
    "suspend": False,
    "successfulJobsHistoryLimit": 3,
    "failedJobsHistoryLimit": 1,
}


def job(obj: Obj) -> Obj:
    """One completion, one pod at a time, six failures forgiven."""
    spec = _job_spec(obj.get("spec") or {})
    if not spec.get("manualSelector") and not spec.get("selector") and spec.get("template"):
        uid, name = obj["metadata"].get("uid", ""), obj["metadata"].get("name", "")
        spec["selector"] = {"matchLabels": {UID_LABEL: uid}}
        labels = {UID_LABEL: uid, NAME_LABEL: name, "controller-uid": uid, "job-name": name}
        metadata = spec["template"]["metadata"]
        labelled = {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}
        spec["template"] = {**spec["template"], "metadata": labelled}
    return {**obj, "metadata": _labelled(obj["metadata"], spec), "spec": spec}


def _labelled(metadata: Obj, spec: Obj) -> Obj:
    """A Job without labels has those of its template."""
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    return {**metadata, "labels": labels} if labels and not metadata.get("labels") else metadata


def _job_spec(spec: Obj) -> Obj:
    spec = {"completionMode": "NonIndexed", "suspend": False, **spec}
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", MAX_INT if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    return with_template(spec)


def cron_job(obj: Obj) -> Obj:
    """Runs may overlap; three good and one failed run are kept."""
    spec = {**CRON_JOB_SPEC, **(obj.get("spec") or {})}
    template = spec.get("jobTemplate")
    if template is not None:
        spec["jobTemplate"] = {**template, "spec": with_template(template.get("spec") or {})}
    return {**obj, "spec": spec}
