"""What the failures of a Job's pods mean, as pure functions: the pod failure policy, the limit for each index, the
success policy.

    a failed pod --first rule that matches--> FailJob | FailIndex | Ignore (made again, not counted) | Count
    an index with more failures than backoffLimitPerIndex has failed; the others go on

Source: Kubernetes documentation "Jobs": "Pod failure policy", "Backoff limit per index", "Success policy";
k8s.io/kubernetes pkg/controller/job/pod_failure_policy.go, backoff_utils.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from controlplane.controllers.job_status import finished_at, index_of, parse_indexes
from controlplane.meta import Obj, key_of


@dataclass
class Verdict:
    """fail_job: why the Job has failed, "" if it has not. ignored: uids of failed pods that do not count."""

    fail_job: str = ""
    ignored: set[str] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)


def judge(job: Obj, failed: Iterable[Obj]) -> Verdict:
    """What the failed pods of a Job mean for it."""
    verdict, counts = Verdict(), Counter[int]()
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    verdict.failed_indexes |= parse_indexes((job.get("status") or {}).get("failedIndexes", ""))
    for pod in failed:
        action, why = _action(rules, pod)
        index = index_of(pod)
        if action == "FailJob":
            verdict.fail_job = verdict.fail_job or why
        elif action == "Ignore":
            verdict.ignored.add(pod["metadata"]["uid"])
        elif index is not None:
            counts[index] += 1
            if action == "FailIndex":
                verdict.failed_indexes.add(index)
    limit = job["spec"].get("backoffLimitPerIndex")
    if limit is not None:
        verdict.failed_indexes |= {index for index, count in counts.items() if count > limit}
    return verdict


def _action(rules: Iterable[Obj], pod: Obj) -> tuple[str, str]:
    """What the first rule that matches says, and in words why it matches."""
    for number, rule in enumerate(rules):
        why = _by_exit_code(rule["onExitCodes"], pod) if "onExitCodes" in rule else _by_condition(rule, pod)
        if why:
            return rule["action"], f"{why} matching {rule['action']} rule at index {number}"
    return "Count", ""


def _by_exit_code(wanted: Obj, pod: Obj) -> str:
    for name, code in _exit_codes(pod):
        meant = wanted.get("containerName") in (None, "", name) and code
        if meant and (code in (wanted.get("values") or ())) == (wanted["operator"] == "In"):
            return f"Container {name} for pod {'/'.join(key_of(pod))} failed with exit code {code}"
    return ""


def _exit_codes(pod: Obj) -> Iterator[tuple[str, int]]:
    for kind in ("containerStatuses", "initContainerStatuses"):
        for status in pod["status"].get(kind) or ():
            ended = (status.get("state") or {}).get("terminated")
            if ended:
                yield status["name"], ended["exitCode"]


def _by_condition(rule: Obj, pod: Obj) -> str:
    for pattern in rule.get("onPodConditions") or ():
        for one in pod["status"].get("conditions") or ():
            if one["type"] == pattern["type"] and one["status"] == pattern.get("status", "True"):
                return f"Pod {'/'.join(key_of(pod))} has condition {one['type']}"
    return ""


def success_rule(job: Obj, done: set[int]) -> int | None:
    """The number of the first rule of the success policy that the indexes that are done meet."""
    for number, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        among = parse_indexes(rule["succeededIndexes"]) if rule.get("succeededIndexes") else None
        met = done if among is None else done & among
        needed = rule.get("succeededCount", None if among is None else len(among))
        if needed is not None and len(met) >= needed:
            return number
    return None


def due_at(failed: Iterable[Obj], index: int, first: float, last: float) -> float:
    """When an index may be tried again (seconds since the epoch): later with each of its own failures."""
    ends = [finished_at(pod) for pod in failed if index_of(pod) == index]
    return max(ends) + min(first * 2.0 ** (len(ends) - 1), last) if ends else 0.0
