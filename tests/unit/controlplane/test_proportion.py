"""Proportional scaling: the example of the Kubernetes documentation, and what holds for every case."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from controlplane.controllers import proportion

Obj = dict[str, Any]


def deployment(replicas: int, surge: int = 3) -> Obj:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 2}}
    return {"spec": {"replicas": replicas, "strategy": strategy}, "status": {"replicas": replicas}}


def replica_set(name: str, replicas: int, sized_for: Obj, revision: int = 1, available: int = 0) -> Obj:
    annotations = {**proportion.sized_for(sized_for), "deployment.kubernetes.io/revision": str(revision)}
    metadata = {"name": name, "annotations": annotations}
    return {"metadata": metadata, "spec": {"replicas": replicas}, "status": {"availableReplicas": available}}


def test_the_example_of_the_documentation() -> None:
    """10 replicas, 8 old and 5 new during a roll-out; scaled to 15, the old get 3 more and the new 2."""
    before, after = deployment(10), deployment(15)
    old, new = replica_set("old", 8, before), replica_set("new", 5, before, 2)
    assert not proportion.is_scaling(before, [old, new])
    assert proportion.is_scaling(after, [old, new])
    assert proportion.sizes(after, [old], new) == {"old": 11, "new": 7}


def test_one_in_use_takes_all() -> None:
    old, new = replica_set("old", 0, deployment(4)), replica_set("new", 4, deployment(4), 2)
    assert proportion.sizes(deployment(9), [old], new) == {"new": 9}
    assert proportion.sizes(deployment(9), [old], None) == {"old": 9}


def test_a_finished_rollout_leaves_nothing_to_the_old() -> None:
    old, new = replica_set("old", 2, deployment(4)), replica_set("new", 4, deployment(4), 2, available=4)
    assert proportion.sizes(deployment(4), [old], new) == {"old": 0}


@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(0, 60), st.integers(0, 5))
@example([1, 1, 1, 1, 1], 1, 2)
def test_the_sum_is_what_was_asked_for(present: list[int], replicas: int, surge: int) -> None:
    before = deployment(max(1, sum(present) - surge), surge)
    sets = [replica_set(f"rs{number}", size, before, number) for number, size in enumerate(present)]
    sizes = proportion.sizes(deployment(replicas, surge), sets[:-1], sets[-1])
    assert all(size >= 0 for size in sizes.values())
    wanted = replicas + surge if replicas else 0
    total = sum(sizes.values())
    # What rounding leaves over is the largest one's, as far as that goes: a real controller may have a few too many.
    assert total == wanted or (total > wanted and 0 in sizes.values())
