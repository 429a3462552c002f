"""Options that every folder of tests knows."""

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
