"""CronJob: a Job whenever its schedule says so.

    spec.schedule (in spec.timeZone, else UTC) --due--> Job NAME-MINUTES, unless suspended or forbidden to overlap
    finished Jobs beyond the history limits go, the oldest first

A run that was missed is made up for once, if startingDeadlineSeconds allows it.

Source: Kubernetes documentation "CronJob"; k8s.io/kubernetes pkg/controller/cronjob.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from controlplane import cron
from controlplane.api import API
from controlplane.controllers.pods import by_controller
from controlplane.errors import StatusError
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, controller_of, is_true, key_of, owner_reference, seconds, timestamp
from controlplane.reconciler import Reconciler

COMPONENT = "cronjob-controller"
SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
LOOK_BACK = (
    3600.0,
    86400.0,
    32 * 86400.0,
    5 * 366 * 86400.0,
)  # seconds: the last run is mostly in the first span


class CronJobController:
    """Watches CronJobs and Jobs; writes Jobs and the status of CronJobs. `clock` gives seconds since the epoch."""

    def __init__(self, api: API, informers: Informers, *, clock: Callable[[], float] = time.time) -> None:
        self._api = api
        self._clock = clock
        self._cron_jobs = informers["CronJob"]
        self._jobs = informers["Job"]
        self._owned = self._jobs.index(by_controller)
        self.reconciler = Reconciler("cronjob", self._reconcile)
        self._cron_jobs.on_change(lambda old, new: self.reconciler.enqueue(key_of(new or old or {})))
        self._jobs.on_change(self._job_changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _job_changed(self, old: Obj | None, new: Obj | None) -> None:
        job = new or old or {"metadata": {}}
        owner = controller_of(job)
        if owner is not None and owner["kind"] == "CronJob":
            self.reconciler.enqueue((job["metadata"]["namespace"], owner["name"]))

    async def _reconcile(self, key: Key) -> None:
        self._cron_jobs.catch_up()
        self._jobs.catch_up()
        owner = self._cron_jobs.get(*key)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        status: Obj = {}
        if not owner["spec"].get("suspend"):
            status = self._run_due(owner)
        self._jobs.catch_up()
        jobs = list(self._owned[owner["metadata"]["uid"]].values())
        self._forget(owner, jobs)
        active = [job for job in jobs if not _is_finished(job)]
        status["active"] = [_reference(job) for job in active] or None
        done = [
            job["status"]["completionTime"] for job in jobs if (job.get("status") or {}).get("completionTime")
        ]
        if done:
            status["lastSuccessfulTime"] = max(done)
        self._api.update_status("CronJob", key[1], key[0], status)

    def _run_due(self, owner: Obj) -> Obj:
        """Starts what is due, comes back when the next is; returns what the status shall say of it."""
        zone = ZoneInfo(owner["spec"].get("timeZone") or "UTC")
        schedule = cron.parse(owner["spec"]["schedule"])
        moment = self._clock()
        due = _last_due(owner, schedule, zone, moment)
        status: Obj = {}
        if due is not None and self._may_start(owner):
            self._start(owner, due)
            status["lastScheduleTime"] = timestamp(due.timestamp())
        following = schedule.next_after(datetime.fromtimestamp(moment, zone))
        if following is not None:
            self.reconciler.enqueue_after(key_of(owner), following.timestamp() - moment + 0.05)
        return status

    def _may_start(self, owner: Obj) -> bool:
        active = [job for job in self._owned[owner["metadata"]["uid"]].values() if not _is_finished(job)]
        policy = owner["spec"]["concurrencyPolicy"]
        if active and policy == "Forbid":
            text = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._api.event(owner, "JobAlreadyActive", text, component=COMPONENT)
            return False
        if policy == "Replace":
            for job in active:
                namespace, name = key_of(job)
                self._api.delete("Job", name, namespace)
        return True

    def _start(self, owner: Obj, due: datetime) -> None:
        namespace, name = key_of(owner)
        template = owner["spec"]["jobTemplate"]
        given = template.get("metadata") or {}
        metadata: Obj = {
            "name": f"{name}-{int(due.timestamp()) // 60}",
            "ownerReferences": [owner_reference(owner)],
            "labels": given.get("labels") or {},
            "annotations": {**(given.get("annotations") or {}), SCHEDULED: due.isoformat()},
        }
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}
        try:
            self._api.create(job, namespace)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                self._api.event(owner, "FailedCreate", error.message, type="Warning", component=COMPONENT)
                raise
            return
        self._api.event(owner, "SuccessfulCreate", f"Created job {metadata['name']}", component=COMPONENT)

    def _forget(self, owner: Obj, jobs: list[Obj]) -> None:
        for condition, field in (
            ("Complete", "successfulJobsHistoryLimit"),
            ("Failed", "failedJobsHistoryLimit"),
        ):
            ended = sorted((job for job in jobs if is_true(job, condition)), key=_born)
            for job in ended[: max(0, len(ended) - owner["spec"][field])]:
                namespace, name = key_of(job)
                self._api.delete("Job", name, namespace)
                self._api.event(owner, "SuccessfulDelete", f"Deleted job {name}", component=COMPONENT)


def _last_due(owner: Obj, schedule: cron.Schedule, zone: ZoneInfo, moment: float) -> datetime | None:
    """The latest run that is due and has not been started; None if there is none, or only too late ones."""
    last = (owner.get("status") or {}).get("lastScheduleTime") or owner["metadata"]["creationTimestamp"]
    earliest = seconds(last)
    deadline = owner["spec"].get("startingDeadlineSeconds")
    if deadline is not None:
        earliest = max(earliest, moment - deadline)
    for span in LOOK_BACK:
        found = _last_within(schedule, zone, max(earliest, moment - span), moment)
        if found is not None or moment - span <= earliest:
            return found
    return None


def _last_within(schedule: cron.Schedule, zone: ZoneInfo, start: float, end: float) -> datetime | None:
    found = None
    following = schedule.next_after(datetime.fromtimestamp(start, zone))
    while following is not None and following.timestamp() <= end:
        found = following
        following = schedule.next_after(found)
    return found.astimezone(UTC) if found is not None else None


def _is_finished(job: Obj) -> bool:
    return is_true(job, "Complete") or is_true(job, "Failed")


def _born(job: Obj) -> str:
    return str(job["metadata"]["creationTimestamp"])


def _reference(job: Obj) -> Obj:
    metadata = job["metadata"]
    fields = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")}
    return {"apiVersion": "batch/v1", "kind": "Job", **fields}
