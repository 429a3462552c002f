"""Whole labs for tests: one that all share, fresh ones, and the two kinds of people who start them."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.kubectl import Kubectl
from tests.e2e.session import CHECKOUT, RunningLab, User

NOBODY = 65534
PACKAGES = ("topo", "netfns", "controlplane", "agents", "labs")
USERS = ["root", "ordinary"] if os.geteuid() == 0 else ["ordinary"]
_numbers = count(1)


def new_name() -> str:
    """A lab name that nobody else has now."""
    return f"test-{os.getpid()}-{next(_numbers)}"


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder that everybody may pass through (pytest's own are closed to other users); it is removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="minipod-e2e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _user(scratch: Path, uid: int, gid: int, checkout: Path) -> User:
    home, temporary = scratch / f"labs-of-{uid}", scratch / f"temporary-of-{uid}"
    for folder in (home, temporary):
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, uid, gid)
    return User(uid, gid, checkout, home, temporary)


@pytest.fixture(scope="session")
def me(scratch: Path) -> User:
    """Whoever runs the tests."""
    return _user(scratch, os.geteuid(), os.getegid(), CHECKOUT)


@pytest.fixture(scope="session")
def ordinary_user(scratch: Path, me: User) -> User:
    """Somebody without rights: whoever runs the tests, or, for root, `nobody` with a checkout that they can read."""
    if me.uid != 0:
        return me
    readable = all(folder.stat().st_mode & 0o005 == 0o005 for folder in (CHECKOUT, *CHECKOUT.parents))
    return _user(scratch, NOBODY, NOBODY, CHECKOUT if readable else readable_copy(scratch / "checkout"))


def readable_copy(copy: Path) -> Path:
    """Minipod's own packages at `copy`, readable to everybody, with what is compiled of them."""
    for package in PACKAGES:
        shutil.copytree(CHECKOUT / package, copy / package)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest, me: User, ordinary_user: User) -> User:
    """Each kind of person in turn: root (when the tests run as root) and somebody without rights."""
    return me if request.param == "root" else ordinary_user


@pytest.fixture(scope="session")
def lab(me: User) -> Iterator[RunningLab]:
    """The lab that tests share: they put what they need into namespaces of their own and take it out again."""
    running = me.up(new_name())
    yield running
    running.down()


@pytest.fixture(scope="session")
def ordinary_lab(lab: RunningLab, ordinary_user: User) -> Iterator[RunningLab]:
    """A lab of somebody without rights, beside the shared one when that is root's; else the shared one itself."""
    if lab.user == ordinary_user:
        yield lab
        return
    running = ordinary_user.up(new_name())
    yield running
    running.down()


@pytest.fixture(params=USERS)
def either_lab(request: pytest.FixtureRequest, lab: RunningLab, ordinary_lab: RunningLab) -> RunningLab:
    """A running lab of each kind of person in turn."""
    return lab if request.param == "root" else ordinary_lab


@pytest.fixture
def fresh_lab() -> Iterator[Callable[..., RunningLab]]:
    """Start labs that a test may hurt: `fresh_lab(user, *options of minipod up)`. They end with the test."""
    started: list[RunningLab] = []

    def start(user: User, *options: str) -> RunningLab:
        started.append(user.up(new_name(), *options))
        return started[-1]

    yield start
    for running in started:
        running.minipod("down")


@pytest.fixture
def kube(lab: RunningLab) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own, in the shared lab."""
    kubectl = Kubectl.of(lab, f"kubectl-{next(_numbers)}")
    kubectl.output("create", "namespace", kubectl.namespace)
    yield kubectl
    kubectl.output("delete", "namespace", kubectl.namespace, "--wait=false")
