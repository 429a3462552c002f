"""Jobs and CronJobs: how often, how many at once, how many failures; and the times of a crontab."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from controlplane import cron
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.selectors import from_object
from controlplane.validation.meta import non_negative, one_of, unchanged, validate_selector
from controlplane.validation.pod import validate_template

MODES = ("Indexed", "NonIndexed")
REPLACEMENT = ("Failed", "TerminatingOrFailed")
CONCURRENCY = ("Allow", "Forbid", "Replace")
NAME_LIMIT = 52  # of a CronJob: its Jobs' names get eleven characters more
COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "backoffLimitPerIndex")
FIXED = (
    "selector",
    "completionMode",
    "podFailurePolicy",
    "successPolicy",
    "backoffLimitPerIndex",
    "managedBy",
)


def job(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A Job; what it runs is for ever once it runs."""
    spec = new["spec"]
    _validate_job_spec(spec, "spec", errors)
    if spec.get("selector") is None:
        errors.required("spec.selector")
    else:
        validate_selector(spec["selector"], "spec.selector", errors)
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        selector = from_object(spec["selector"])
        if selector is not None and not selector.matches(labels):
            text = "`selector` does not match template `labels`"
            errors.invalid("spec.template.metadata.labels", labels, text)
    if old is not None:
        _validate_change(spec, old, errors)


def _validate_change(spec: Obj, old: Obj, errors: FieldErrors) -> None:
    before = old["spec"]
    for name in FIXED:
        unchanged(errors, f"spec.{name}", spec.get(name), before.get(name))
    elastic = spec["completionMode"] == "Indexed" and spec.get("completions") == spec.get("parallelism")
    if spec.get("completions") != before.get("completions") and not elastic:
        unchanged(errors, "spec.completions", spec.get("completions"), before.get("completions"))
    started = "startTime" in (old.get("status") or {})
    if not (before.get("suspend") and not started):
        unchanged(errors, "spec.template", spec.get("template"), before.get("template"))


def _validate_job_spec(spec: Obj, field: str, errors: FieldErrors) -> None:
    for name in (*COUNTS, "ttlSecondsAfterFinished", "maxFailedIndexes"):
        non_negative(errors, f"{field}.{name}", spec.get(name))
    mode = spec.get("completionMode")
    if mode is not None:
        one_of(errors, f"{field}.completionMode", mode, MODES)
    if mode == "Indexed" and spec.get("completions") is None:
        errors.required(f"{field}.completions", "when completion mode is Indexed")
    if spec.get("podReplacementPolicy") is not None:
        one_of(errors, f"{field}.podReplacementPolicy", spec["podReplacementPolicy"], REPLACEMENT)
    template = spec.get("template")
    if template is None:
        errors.required(f"{field}.template")
        return
    validate_template(
        template, f"{field}.template", errors, restart_policies=("Always", "Never", "OnFailure")
    )
    if (template.get("spec") or {}).get("restartPolicy") == "Always":
        errors.required(f"{field}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')


def cron_job(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A CronJob: its schedule must be one, its Jobs must be right."""
    spec, name = new["spec"], new["metadata"]["name"]
    if len(name) > NAME_LIMIT:
        errors.invalid("metadata.name", name, f"must be no more than {NAME_LIMIT} characters")
    _validate_schedule(spec, errors)
    one_of(errors, "spec.concurrencyPolicy", spec.get("concurrencyPolicy"), CONCURRENCY)
    for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        non_negative(errors, f"spec.{field}", spec.get(field))
    if spec.get("jobTemplate") is None:
        errors.required("spec.jobTemplate")
    else:
        _validate_job_spec(spec["jobTemplate"].get("spec") or {}, "spec.jobTemplate.spec", errors)


def _validate_schedule(spec: Obj, errors: FieldErrors) -> None:
    schedule = spec.get("schedule", "")
    if not schedule:
        errors.required("spec.schedule")
        return
    try:
        cron.parse(schedule)
    except ValueError as error:
        errors.invalid("spec.schedule", schedule, str(error))
    zone = spec.get("timeZone")
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (ValueError, OSError, KeyError):
            errors.invalid("spec.timeZone", zone, f"unknown time zone {zone}")
