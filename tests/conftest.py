"""Options that every folder of tests knows, and how tests share the machine.

scripts/test runs files side by side in several processes ("lanes", pytest-xdist), for most tests wait longer than they
compute. A test that measures time is marked `alone`: nothing of another lane runs meanwhile.
"""

import fcntl
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine may stall for a while: a slow example is no failure.
settings.register_profile("minipod", deadline=None)
settings.load_profile("minipod")

# The lanes' locks, flock(2) on what every checkout has. Who waits for the machine keeps the turn meanwhile, so that the
# other lanes cannot go on taking the machine before it.
MACHINE = os.open(__file__, os.O_RDONLY)
TURN = os.open(Path(__file__).parent, os.O_RDONLY)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-update",
        action="store_true",
        help="rewrite tests/golden from what is rendered now; review the difference like code",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many lanes `-n auto` is: one more than processors for all tests, none for a choice, which starts sooner."""
    chosen = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    if chosen or config.option.keyword or config.option.markexpr:
        return 0
    return min(len(os.sched_getaffinity(0)) + 1, 8)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that is marked `alone` has the machine for itself, all others share it."""
    fcntl.flock(TURN, fcntl.LOCK_EX)
    fcntl.flock(MACHINE, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
    fcntl.flock(TURN, fcntl.LOCK_UN)
    try:
        return (yield)
    finally:
        fcntl.flock(MACHINE, fcntl.LOCK_UN)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, a test that cannot run for a missing capability has failed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and isinstance(report.longrepr, tuple):
        report.outcome = "failed"
        report.longrepr = f"skipped, but CI must be able to run it: {report.longrepr[2]}"
    return report
