"""The arithmetic of a rollout, against random luck."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.controllers import rollout

Obj = dict[str, Any]


def deployment(replicas: int, surge: int | str, unavailable: int | str) -> Obj:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return {"spec": {"replicas": replicas, "strategy": strategy}}


def replica_set(name: str, replicas: int, available: int) -> Obj:
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": available},
    }


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "bounds"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (4, 1, 0, (1, 0)),
        (3, 0, "10%", (0, 1)),
        (2, 0, 5, (0, 2)),
    ],
)
def test_bounds(replicas: int, surge: int | str, unavailable: int | str, bounds: tuple[int, int]) -> None:
    assert rollout.bounds(deployment(replicas, surge, unavailable)) == bounds


@given(st.integers(0, 12), st.integers(0, 4), st.integers(0, 4), st.data())
def test_a_rolling_update_keeps_its_promises_and_ends(
    replicas: int, surge: int, unavailable: int, data: st.DataObject
) -> None:
    wanted = deployment(replicas, surge, unavailable)
    surge, unavailable = rollout.bounds(wanted)
    counts = {"old1": replicas // 2, "old2": replicas - replicas // 2, "new": 0}
    available = dict(counts)
    for step in range(200):
        sets = {name: replica_set(name, counts[name], available[name]) for name in counts}
        counts = rollout.rolling_step(wanted, [sets["old1"], sets["old2"]], sets["new"])
        available = {name: min(available[name], counts[name]) for name in counts}
        assert sum(counts.values()) <= replicas + surge
        assert sum(available.values()) >= replicas - unavailable
        if counts == {"old1": 0, "old2": 0, "new": replicas} == available:
            return
        ready = counts["new"] if step > 100 else data.draw(st.integers(available["new"], counts["new"]))
        available["new"] = ready
    raise AssertionError(f"no end: {counts}")


def test_old_pods_that_do_not_work_go_first() -> None:
    sets = [replica_set("broken", 2, 0), replica_set("good", 2, 2)]
    wanted = rollout.rolling_step(deployment(3, 1, 1), sets, replica_set("new", 0, 0))
    assert wanted["broken"] == 0
    assert wanted["good"] == 2


def test_hash_tells_templates_apart_and_comes_off() -> None:
    one = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"image": "x:1"}]}}
    two = {**one, "spec": {"containers": [{"image": "x:2"}]}}
    digest = rollout.template_hash(one)
    assert (
        digest
        == rollout.template_hash({"spec": one["spec"], "metadata": one["metadata"]})
        != rollout.template_hash(two)
    )
    assert rollout.without_hash(rollout.with_hash(one, digest)) == one
