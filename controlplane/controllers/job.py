"""Job: pods that run to their end, as often as it takes.

    active = min(parallelism, completions - succeeded); one that fails is made again, after 10 s, 20 s, 40 s, …
    succeeded = completions            -> Complete
    failed > backoffLimit, or too late -> Failed, and what still runs is ended
    suspend                            -> what runs is ended, to begin again later
    ttlSecondsAfterFinished            -> the Job goes, with its pods

A pod that is deleted after its end stays counted: what the status has counted and is no longer there is remembered.
Indexed: each of 0 … completions-1 has to succeed once; a pod has its index as annotation, label, hostname and variable.
What a failure means may be said by the Job's policies: see job_policy.py.

Source: Kubernetes documentation "Jobs"; k8s.io/kubernetes pkg/controller/job, ttlafterfinished.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from controlplane.api import API
from controlplane.controllers import job_policy, job_status
from controlplane.controllers.job_policy import Verdict
from controlplane.controllers.pod_control import PodControl, pod_from_template
from controlplane.controllers.pods import deletion_order, is_active, is_finished, is_ready
from controlplane.informers import Informers
from controlplane.meta import (
    Key,
    Obj,
    condition,
    controller_of,
    is_true,
    key_of,
    now,
    seconds,
    with_condition,
)
from controlplane.reconciler import Reconciler

COMPONENT = "job-controller"
FIRST_RETRY, LAST_RETRY = 10.0, 600.0  # seconds
FAILURES = {
    "BackoffLimitExceeded": "Job has reached the specified backoff limit",
    "DeadlineExceeded": "Job was active longer than specified deadline",
    "MaxFailedIndexesExceeded": "Job has exceeded the specified maximal number of failed indexes",
    "FailedIndexes": "Job has failed indexes",
}
ALL_COMPLETIONS = {
    "reason": "CompletionsReached",
    "message": "Reached expected number of succeeded pods",
}


@dataclass
class _Pods:
    """A Job's pods, sorted by how they are, and those counted that are no longer there."""

    active: list[Obj]
    going: list[Obj]
    succeeded: list[Obj]
    failed: list[Obj]
    gone: tuple[int, int]  # (succeeded, failed)

    @property
    def successes(self) -> int:
        """Pods that have succeeded, ever."""
        return len(self.succeeded) + self.gone[0]

    @property
    def failures(self) -> int:
        """Pods that have failed, ever."""
        return len(self.failed) + self.gone[1]


class JobController:
    """Watches Jobs and pods; writes pods and the status of Jobs. `first_retry` is in seconds."""

    def __init__(self, api: API, informers: Informers, *, first_retry: float = FIRST_RETRY) -> None:
        self._api = api
        self._first_retry = first_retry
        self._jobs = informers["Job"]
        self._pods = informers["Pod"]
        self._control = PodControl(api, self._jobs, self._pods, COMPONENT)
        self.reconciler = Reconciler("job", self._reconcile)
        self._jobs.on_change(self._job_changed)
        self._lost: dict[
            str, dict[str, set[str]]
        ] = {}  # Job's uid -> succeeded/failed -> pods gone before counted
        self._pods.on_change(self._remember_lost)
        self._control.wake(self.reconciler.enqueue)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _job_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._lost.pop(old["metadata"]["uid"], None)
        self.reconciler.enqueue(key_of(new or old or {}))

    def _remember_lost(self, old: Obj | None, new: Obj | None) -> None:
        """A pod may end and be deleted before anybody has looked."""
        owner = controller_of(old) if old is not None and new is None else None
        if old is None or owner is None or owner["kind"] != "Job" or not is_finished(old):
            return
        field = str(old["status"]["phase"]).lower()
        self._lost.setdefault(owner["uid"], {}).setdefault(field, set()).add(old["metadata"]["uid"])

    async def _reconcile(self, key: Key) -> None:
        self._jobs.catch_up()
        self._pods.catch_up()
        job = self._jobs.get(*key)
        if job is None or "deletionTimestamp" in job["metadata"]:
            return
        if is_true(job, "Complete") or is_true(job, "Failed"):
            self._lost.pop(job["metadata"]["uid"], None)
            self._expire(job)
            return
        pods = self._sorted(job, self._control.claim(job))
        status = self._begin(job)
        verdict = job_policy.judge(job, pods.failed)
        reason, message = self._why_failed(job, status, pods, verdict)
        rule = job_policy.success_rule(job, _done_indexes(job, pods))
        try:
            if reason:
                self._end(job, pods.active)
                status["conditions"] = _failed(status.get("conditions"), reason, message)
                self._control.tell(job, reason, message, "Warning")
            elif rule is not None:
                self._end(job, pods.active)
                words = {"reason": "SuccessPolicy", "message": f"Matched rules at index {rule}"}
                status["conditions"] = _complete(status.get("conditions"), **words)
                status["completionTime"] = now()
                self._control.tell(job, "Completed", "Job completed")
            elif self._is_complete(job, pods):
                self._end(job, pods.active)
                status["conditions"] = _complete(status.get("conditions"), **ALL_COMPLETIONS)
                status["completionTime"] = now()
                self._control.tell(job, "Completed", "Job completed")
            elif job["spec"].get("suspend"):
                self._end(job, pods.active)
            else:
                self._keep_active(job, pods, verdict)
        finally:
            self._write_status(job, status, verdict)

    def _sorted(self, job: Obj, pods: list[Obj]) -> _Pods:
        succeeded = [pod for pod in pods if pod["status"].get("phase") == "Succeeded"]
        failed = [pod for pod in pods if pod["status"].get("phase") == "Failed"]
        active = [pod for pod in pods if is_active(pod)]
        ended = {pod["metadata"]["uid"] for pod in (*succeeded, *failed, *active)}
        going = [pod for pod in pods if pod["metadata"]["uid"] not in ended]
        return _Pods(active, going, succeeded, failed, self._gone(job, pods))

    def _gone(self, job: Obj, pods: list[Obj]) -> tuple[int, int]:
        """Of the pods that the status counts, those that are no longer there; it names the uids of those that are."""
        counted = (job.get("status") or {}).get("uncountedTerminatedPods") or {}
        there = {pod["metadata"]["uid"] for pod in pods}
        result = []
        for field in ("succeeded", "failed"):
            named = set(counted.get(field) or ())
            lost = self._lost.get(job["metadata"]["uid"], {}).get(field, set())
            total = (job.get("status") or {}).get(field, 0)
            result.append(total - len(named & there) + len(lost - named))
        return result[0], result[1]

    # the Job's course

    def _begin(self, job: Obj) -> Obj:
        """The status to go on with: the start, and whether the Job is suspended."""
        before = job.get("status") or {}
        status: Obj = {"conditions": before.get("conditions"), "startTime": before.get("startTime")}
        suspended = condition(job, "Suspended")
        if job["spec"].get("suspend"):
            status["startTime"] = None
            status["conditions"] = with_condition(
                before.get("conditions"), "Suspended", "True", reason="JobSuspended", message="Job suspended"
            )
            if suspended is None or suspended["status"] != "True":
                self._control.tell(job, "Suspended", "Job suspended")
        elif suspended is not None and suspended["status"] == "True":
            status["startTime"] = now()
            status["conditions"] = with_condition(
                before.get("conditions"), "Suspended", "False", reason="JobResumed", message="Job resumed"
            )
            self._control.tell(job, "Resumed", "Job resumed")
        elif not status["startTime"]:
            status["startTime"] = now()
        return status

    def _why_failed(self, job: Obj, status: Obj, pods: _Pods, verdict: Verdict) -> tuple[str, str]:
        """Reason and message; empty for a Job that has not failed."""
        if verdict.fail_job:
            return "PodFailurePolicy", verdict.fail_job
        reason = _too_many_indexes(job, pods, verdict) or self._too_many_or_too_late(
            job, status, pods, pods.failures - len(verdict.ignored)
        )
        return reason, FAILURES.get(reason, "")

    def _too_many_or_too_late(self, job: Obj, status: Obj, pods: _Pods, failures: int) -> str:
        spec = job["spec"]
        limit = spec["backoffLimit"]
        if failures > limit:
            return "BackoffLimitExceeded"
        if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
            restarts = job_status.restarts(pods.active)
            if restarts > limit or (limit and restarts >= limit):
                return "BackoffLimitExceeded"
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and status.get("startTime"):
            remaining = seconds(status["startTime"]) + deadline - time.time()
            if remaining <= 0:
                return "DeadlineExceeded"
            self.reconciler.enqueue_after(key_of(job), remaining + 0.01)
        return ""

    @staticmethod
    def _is_complete(job: Obj, pods: _Pods) -> bool:
        wanted = job["spec"].get("completions")
        if wanted is None:
            return pods.successes > 0 and not pods.active
        if job["spec"]["completionMode"] == "Indexed":
            return bool(len(_done_indexes(job, pods)) >= wanted)
        return bool(pods.successes >= wanted)

    def _end(self, job: Obj, pods: list[Obj]) -> None:
        for pod in pods:
            self._control.delete(job, pod)

    def _keep_active(self, job: Obj, pods: _Pods, verdict: Verdict) -> None:
        """As many as may run at once, and not more than are still needed."""
        parallelism, completions = job["spec"]["parallelism"], job["spec"].get("completions")
        if job["spec"]["completionMode"] == "Indexed":
            needed = completions - len(_done_indexes(job, pods) | verdict.failed_indexes)
        elif completions is None:
            needed = parallelism if not pods.successes else len(pods.active)
        else:
            needed = completions - pods.successes
        wanted = min(parallelism, needed)
        if len(pods.active) > wanted:
            self._end(job, sorted(pods.active, key=deletion_order)[: len(pods.active) - wanted])
            return
        occupied = len(pods.active) + (
            len(pods.going) if job["spec"]["podReplacementPolicy"] == "Failed" else 0
        )
        missing = wanted - occupied
        if missing <= 0 or ("backoffLimitPerIndex" not in job["spec"] and self._must_wait(job, pods)):
            return
        free: list[int | None] = [None] * missing
        if job["spec"]["completionMode"] == "Indexed":
            free = [index for index in _free_indexes(job, pods, verdict) if self._is_due(job, pods, index)]
        for index in free[:missing]:
            self._control.create(job, _make_pod(job, index))

    def _is_due(self, job: Obj, pods: _Pods, index: int) -> bool:
        """Whether an index that is tried by itself, not with the others, has waited long enough."""
        if "backoffLimitPerIndex" not in job["spec"]:
            return True
        remaining = job_policy.due_at(pods.failed, index, self._first_retry, LAST_RETRY) - time.time()
        if remaining > 0:
            self.reconciler.enqueue_after(key_of(job), remaining)
        return remaining <= 0

    def _must_wait(self, job: Obj, pods: _Pods) -> bool:
        since, delay = job_status.retry_delay(pods.failed, pods.succeeded, self._first_retry, LAST_RETRY)
        remaining = since + delay - time.time()
        if remaining > 0:
            self.reconciler.enqueue_after(key_of(job), remaining)
        return remaining > 0

    def _expire(self, job: Obj) -> None:
        """A finished Job whose time is over goes."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return
        ended = condition(job, "Complete" if is_true(job, "Complete") else "Failed") or {}
        remaining = seconds(ended["lastTransitionTime"]) + ttl - time.time()
        namespace, name = key_of(job)
        if remaining > 0:
            self.reconciler.enqueue_after((namespace, name), remaining + 0.01)
        else:
            self._api.delete("Job", name, namespace, propagation="Foreground", uid=job["metadata"]["uid"])

    def _write_status(self, job: Obj, status: Obj, verdict: Verdict) -> None:
        self._pods.catch_up()
        pods = self._sorted(job, self._control.of(job))
        over = any(entry["type"] in ("Complete", "Failed") for entry in status.get("conditions") or ())
        named = {
            "succeeded": [pod["metadata"]["uid"] for pod in pods.succeeded],
            "failed": [
                pod["metadata"]["uid"] for pod in pods.failed if pod["metadata"]["uid"] not in verdict.ignored
            ],
        }
        status |= {
            "active": len(pods.active) or None,
            "terminating": len(pods.going),
            "ready": sum(is_ready(pod) for pod in pods.active),
            "succeeded": pods.successes or None,
            "failed": pods.failures - len(verdict.ignored) or None,
            "uncountedTerminatedPods": None if over else named,
        }
        if job["spec"]["completionMode"] == "Indexed":
            status["completedIndexes"] = job_status.format_indexes(_done_indexes(job, pods)) or None
            if "backoffLimitPerIndex" in job["spec"]:
                status["failedIndexes"] = job_status.format_indexes(verdict.failed_indexes)
        namespace, name = key_of(job)
        self._api.update_status("Job", name, namespace, status)
        self._lost.pop(job["metadata"]["uid"], None)


def _done_indexes(job: Obj, pods: _Pods) -> set[int]:
    known = job_status.parse_indexes((job.get("status") or {}).get("completedIndexes", ""))
    found = known | {index for index in map(job_status.index_of, pods.succeeded) if index is not None}
    return {index for index in found if index < job["spec"]["completions"]}


def _too_many_indexes(job: Obj, pods: _Pods, verdict: Verdict) -> str:
    """Why a Job has failed by its indexes: too many of them, or some when all the others are done."""
    most, failed = job["spec"].get("maxFailedIndexes"), verdict.failed_indexes
    if most is not None and len(failed) > most:
        return "MaxFailedIndexesExceeded"
    if failed and len(_done_indexes(job, pods) | failed) >= job["spec"]["completions"]:
        return "FailedIndexes"
    return ""


def _free_indexes(job: Obj, pods: _Pods, verdict: Verdict) -> list[int]:
    """Those that have neither succeeded nor failed and that no pod works on, lowest first."""
    taken: set[int | None] = {job_status.index_of(pod) for pod in (*pods.active, *pods.going)}
    taken |= _done_indexes(job, pods) | verdict.failed_indexes
    return [index for index in range(job["spec"]["completions"]) if index not in taken]


def _make_pod(job: Obj, index: int | None) -> Obj:
    template = job["spec"]["template"]
    if index is None:
        return pod_from_template(job, template)
    name = f"{job['metadata']['name']}-{index}"
    path = f"metadata.annotations['{job_status.INDEX}']"
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": path}}}
    spec = {"hostname": name, **template["spec"]}
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [{**entry, "env": [*(entry.get("env") or ()), variable]} for entry in spec[field]]
    mark = {job_status.INDEX: str(index)}
    return pod_from_template(
        job, {**template, "spec": spec}, generateName=f"{name}-", labels=mark, annotations=mark
    )


def _complete(conditions: list[Obj] | None, **words: str) -> list[Obj]:
    met = with_condition(conditions, "SuccessCriteriaMet", "True", **words)
    return with_condition(met, "Complete", "True", **words)


def _failed(conditions: list[Obj] | None, reason: str, message: str) -> list[Obj]:
    words = {"reason": reason, "message": message}
    target = with_condition(conditions, "FailureTarget", "True", **words)
    return with_condition(target, "Failed", "True", **words)
