"""What the failures of a Job's pods mean: by exit code, by condition, for each index."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.controllers import job_policy
from controlplane.controllers.job_status import INDEX

Obj = dict[str, Any]


def job(**spec: Any) -> Obj:
    return {"spec": {"completions": 4, **spec}, "status": {}}


def failed(code: int, index: int | None = None, number: int = 0, condition: str = "") -> Obj:
    annotations = {} if index is None else {INDEX: str(index)}
    ended = {"exitCode": code, "finishedAt": "2026-01-01T00:00:10Z"}
    status = {"containerStatuses": [{"name": "main", "state": {"terminated": ended}}], "conditions": []}
    if condition:
        status["conditions"] = [{"type": condition, "status": "True"}]
    metadata = {"name": f"p{number}", "namespace": "default", "uid": f"u{number}", "annotations": annotations}
    return {"metadata": metadata, "status": status}


def rule(action: str, operator: str = "In", *codes: int, **more: Any) -> Obj:
    return {"action": action, "onExitCodes": {"operator": operator, "values": list(codes), **more}}


DISRUPTED = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}


@pytest.mark.parametrize(
    ("rules", "pod", "fails", "ignored"),
    [
        ([rule("FailJob", "In", 42)], failed(42), True, False),
        ([rule("FailJob", "In", 42)], failed(41), False, False),
        ([rule("FailJob", "NotIn", 1, 2)], failed(3), True, False),
        ([rule("FailJob", "In", 42, containerName="other")], failed(42), False, False),
        ([rule("Ignore", "In", 42), rule("FailJob", "In", 42)], failed(42), False, True),
        ([DISRUPTED], failed(137, condition="DisruptionTarget"), False, True),
        ([DISRUPTED], failed(137), False, False),
        ([], failed(1), False, False),
    ],
)
def test_the_first_rule_that_matches(rules: list[Obj], pod: Obj, fails: bool, ignored: bool) -> None:
    verdict = job_policy.judge(job(podFailurePolicy={"rules": rules}), [pod])
    assert (bool(verdict.fail_job), bool(verdict.ignored)) == (fails, ignored)


def test_the_words_of_a_job_that_fails() -> None:
    policy = {"rules": [rule("FailJob", "In", 42)]}
    text = "Container main for pod default/p0 failed with exit code 42 matching FailJob rule at index 0"
    assert job_policy.judge(job(podFailurePolicy=policy), [failed(42)]).fail_job == text


def test_an_index_has_a_limit_of_its_own() -> None:
    pods = [failed(1, 1, 0), failed(1, 1, 1), failed(1, 3, 2)]
    assert job_policy.judge(job(backoffLimitPerIndex=1), pods).failed_indexes == {1}
    assert job_policy.judge(job(), pods).failed_indexes == set()
    policy = {"rules": [rule("FailIndex", "In", 9)]}
    indexed = job(backoffLimitPerIndex=5, podFailurePolicy=policy)
    assert job_policy.judge(indexed, [failed(9, 2)]).failed_indexes == {2}
    known = {**job(backoffLimitPerIndex=1), "status": {"failedIndexes": "0,2"}}
    assert job_policy.judge(known, []).failed_indexes == {0, 2}, "what the status says is remembered"


def test_success_policy() -> None:
    policy = {"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 2}]}
    assert job_policy.success_rule(job(successPolicy=policy), {0, 1}) is None
    assert job_policy.success_rule(job(successPolicy=policy), {0, 3}) == 0
    leader = {"rules": [{"succeededCount": 4}, {"succeededIndexes": "0"}]}
    assert job_policy.success_rule(job(successPolicy=leader), {0}) == 1
    assert job_policy.success_rule(job(), {0, 1, 2, 3}) is None


def test_each_failure_of_an_index_makes_it_wait_longer() -> None:
    pods = [failed(1, 1, 0), failed(1, 1, 1), failed(1, 2, 2)]
    ended = job_policy.due_at(pods, 2, 0.0, 600.0)
    assert job_policy.due_at(pods, 2, 10.0, 600.0) - ended == 10.0
    assert job_policy.due_at(pods, 1, 10.0, 600.0) - ended == 20.0
    assert job_policy.due_at(pods, 0, 10.0, 600.0) == 0.0
