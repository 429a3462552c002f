"""Waiting for a condition with a deadline, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], deadline: float, what: str = "", every: float = 0.02) -> T:
    """The first true value of `condition()`. Fails when there was none within `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what or condition}: not within {deadline} s; at last: {value!r}"
        time.sleep(every)
