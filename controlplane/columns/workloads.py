"""Deployments, sets and jobs."""

from __future__ import annotations

import time

from controlplane.columns.cell import (
    AGE,
    NAME,
    NONE,
    TEMPLATE,
    Column,
    at,
    count,
    human_duration,
    joined,
    since,
)
from controlplane.meta import Obj, condition, seconds


def _deployment_ready(obj: Obj) -> str:
    return f"{(obj.get('status') or {}).get('readyReplicas', 0)}/{obj['spec']['replicas']}"


DEPLOYMENT = (
    NAME,
    Column("Ready", _deployment_ready),
    Column("Up-to-date", count("status", "updatedReplicas"), "integer"),
    Column("Available", count("status", "availableReplicas"), "integer"),
    AGE,
    *TEMPLATE,
)
REPLICA_SET = (
    NAME,
    Column("Desired", count("spec", "replicas"), "integer"),
    Column("Current", count("status", "replicas"), "integer"),
    Column("Ready", count("status", "readyReplicas"), "integer"),
    AGE,
    *TEMPLATE,
)


def _node_selector(obj: Obj) -> str:
    chosen = obj["spec"]["template"]["spec"].get("nodeSelector") or {}
    return joined(f"{key}={value}" for key, value in sorted(chosen.items()))


DAEMON_SET = (
    NAME,
    Column("Desired", count("status", "desiredNumberScheduled"), "integer"),
    Column("Current", count("status", "currentNumberScheduled"), "integer"),
    Column("Ready", count("status", "numberReady"), "integer"),
    Column("Up-to-date", count("status", "updatedNumberScheduled"), "integer"),
    Column("Available", count("status", "numberAvailable"), "integer"),
    Column("Node Selector", _node_selector),
    AGE,
    *TEMPLATE,
)
STATEFUL_SET = (NAME, Column("Ready", _deployment_ready), AGE, *TEMPLATE[:2])


def _job_status(job: Obj) -> str:
    words = {
        "Complete": "Complete",
        "Failed": "Failed",
        "Suspended": "Suspended",
        "FailureTarget": "FailureTarget",
    }
    for kind, word in words.items():
        if (condition(job, kind) or {}).get("status") == "True":
            return word
    return "Terminating" if "deletionTimestamp" in job["metadata"] else "Running"


def _job_completions(job: Obj) -> str:
    succeeded = (job.get("status") or {}).get("succeeded", 0)
    wanted, parallelism = job["spec"].get("completions"), job["spec"].get("parallelism", 0)
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(job: Obj) -> str:
    status = job.get("status") or {}
    if "startTime" not in status:
        return ""
    end = seconds(status["completionTime"]) if "completionTime" in status else time.time()
    return human_duration(end - seconds(status["startTime"]))


JOB = (
    NAME,
    Column("Status", _job_status),
    Column("Completions", _job_completions),
    Column("Duration", _job_duration),
    AGE,
    *TEMPLATE,
)


def _last_schedule(obj: Obj) -> str:
    moment = (obj.get("status") or {}).get("lastScheduleTime")
    return since(moment) if moment else NONE


CRON_JOB = (
    NAME,
    Column("Schedule", at("spec", "schedule")),
    Column("Timezone", at("spec", "timeZone")),
    Column("Suspend", lambda obj: str(bool(obj["spec"].get("suspend")))),
    Column("Active", lambda obj: len((obj.get("status") or {}).get("active") or ()), "integer"),
    Column("Last Schedule", _last_schedule),
    AGE,
)


def _revision_owner(obj: Obj) -> str:
    owners = [entry for entry in obj["metadata"].get("ownerReferences") or () if entry.get("controller")]
    group = owners[0]["apiVersion"].partition("/")[0] if owners else ""
    return f"{owners[0]['kind'].lower()}.{group}/{owners[0]['name']}" if owners else NONE


CONTROLLER_REVISION = (
    NAME,
    Column("Controller", _revision_owner),
    Column("Revision", at("revision"), "integer"),
    AGE,
)
