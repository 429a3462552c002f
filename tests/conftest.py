"""Options that every folder of tests knows."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-update",
        action="store_true",
        help="rewrite tests/golden from what is rendered now; review the difference like code",
    )
