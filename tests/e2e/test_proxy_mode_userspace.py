"""A lab whose Services are carried out by a program: the communications hold, and what is lost is said."""

from collections.abc import Callable

import pytest

from tests.e2e.session import RunningLab, User

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_lab_in_userspace_mode(fresh_lab: Callable[..., RunningLab], me: User) -> None:
    lab = fresh_lab(me, "--proxy-mode", "userspace")
    done = lab.minipod("check", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the endpoint sees the node's address" in done.stdout
    shown = lab.minipod("explain", "service/kube-dns.kube-system").stdout
    assert "proxy: " in shown
    assert "everything that is wanted is there, and nothing else" in shown
