from __future__ import annotations

import pytest

from agents.images.flags import FlagError, Flags, Value, duration

DEFAULTS: dict[str, Value] = {"port": 80, "name": "x", "on": False}


def test_every_spelling_of_a_flag() -> None:
    flags = Flags(["-port", "1", "--name=a=b", "--on", "rest", "--", "--port=9"], DEFAULTS)
    assert (flags.number("port"), flags.text("name"), flags.switch("on")) == (1, "a=b", True)
    assert flags.arguments == ["rest", "--port=9"]
    assert not Flags(["--on=false"], DEFAULTS).switch("on")


@pytest.mark.parametrize("argv", [["--nope"], ["--port"], ["--port=x"], ["--on=maybe"]])
def test_wrong_flags(argv: list[str]) -> None:
    with pytest.raises(FlagError):
        Flags(argv, DEFAULTS)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("250ms", 0.25), ("1m30s", 90), ("1.5h", 5400), ("0", 0), ("-2s", -2), ("5us", 5e-6)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1s2", "1 s"])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(FlagError):
        duration(text)
