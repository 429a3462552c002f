"""Options that every folder of tests knows."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# A shared machine may stall for a while: a slow example is no failure.
settings.register_profile("minipod", deadline=None)
settings.load_profile("minipod")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-update",
        action="store_true",
        help="rewrite tests/golden from what is rendered now; review the difference like code",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, a test that cannot run for a missing capability has failed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and isinstance(report.longrepr, tuple):
        report.outcome = "failed"
        report.longrepr = f"skipped, but CI must be able to run it: {report.longrepr[2]}"
    return report
