"""pytest, as a lab's checks speak it: five marks, four fixtures, and a line of JSON for each result.

    @pytest.mark.points(20)                          what it is worth; every check has one
    @pytest.mark.visibility("hidden")                Gradescope's words; visible unless said
    @pytest.mark.hint("vague", "plainer", "plain")   what `minipod lab hint` tells, one after the other
    @pytest.mark.guide("Step 3")                     where in the guide the story says to look
    @pytest.mark.timeout(10)                         seconds; 20 unless said
    def test_a_pod_reaches_the_service(lab, pod, probe, student):
        \"\"\"The title: one sentence that says what holds.\"\"\"

Fixtures: `lab` (CourseLab), `pod` (a function: name -> Witness), `probe` (Probe), `student` (Student).

The process that starts pytest says in $MINIPOD_CHECK what is checked and where the lines go; see run.py.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from labs.check.subjects import Witness
from labs.checking.ground import NAMESPACE, CourseLab
from labs.checking.probe import NotAsExpected, Probe
from labs.checking.report import VISIBILITIES, CheckResult, Story
from labs.checking.run import SETTINGS
from labs.checking.student import Student
from labs.errors import LabError
from labs.lab import Lab

LIMIT = 20.0  # seconds for a check that does not say
MARKS = (
    "points(number): what the check is worth",
    "visibility(word): visible, hidden, after_due_date or after_published",
    "hint(text, ...): told one after the other",
    "guide(place): where in the guide to look",
    "timeout(seconds): the most that the check may take",
)


class OutOfTime(Exception):
    """A check took longer than it may."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known, and take the settings."""
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    config.pluginmanager.register(Checks(json.loads(os.environ[SETTINGS])), "minipod-checks")


class Checks:
    """Collects and reports; one object a run. See run.py for the settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._failures: dict[str, tuple[BaseException, Story]] = {}
        self._seconds: dict[str, float] = {}
        self._out = os.fdopen(settings["out"], "w", buffering=1)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Tell all checks first, so that one that never ends is known as well. Raises UsageError."""
        if self._settings["visible_only"]:
            items[:] = [item for item in items if _mark(item, "visibility", "visible") == "visible"]
        for item in items:
            _must_be_whole(item)
        self._tell(checks=[asdict(self._result(item, "timeout", None)) for item in items])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A submission that cannot be run fails every check, with the reason."""
        if self._settings["blocked"]:
            story = Story((), "a submission that can be run", self._settings["blocked"])
            raise NotAsExpected(story)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Hold one check to its time, and tell its result."""
        started = time.monotonic()
        previous = signal.signal(signal.SIGALRM, _out_of_time)
        signal.setitimer(signal.ITIMER_REAL, float(_mark(item, "timeout", LIMIT)))
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
            error, story = self._failures.get(item.nodeid, (None, None))
            verdict = _verdict(error)
            self._seconds[item.nodeid] = round(time.monotonic() - started, 2)
            self._tell(result=asdict(self._result(item, verdict, story)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep what went wrong: in the check, or before or after it."""
        if call.excinfo is not None:
            error = call.excinfo.value
            self._failures.setdefault(item.nodeid, (error, _story(item, error)))
        return (yield)

    def _result(self, item: pytest.Item, verdict: str, story: Story | None) -> CheckResult:
        most = float(_mark(item, "points", 0))
        return CheckResult(
            name=item.name,
            title=_title(item),
            verdict=verdict,
            points=most if verdict == "passed" else 0.0,
            max_points=most,
            visibility=str(_mark(item, "visibility", "visible")),
            story=story,
            hints=tuple(hint for mark in item.iter_markers("hint") for hint in mark.args),
            seconds=self._seconds.get(item.nodeid, 0.0),
        )

    def _tell(self, **message: Any) -> None:
        self._out.write(json.dumps(message) + "\n")


def _out_of_time(_: int, __: FrameType | None) -> None:
    raise OutOfTime


def _mark(item: pytest.Item, name: str, default: Any) -> Any:
    mark = item.get_closest_marker(name)
    return mark.args[0] if mark is not None and mark.args else default


def _must_be_whole(item: pytest.Item) -> None:
    """Raises UsageError for a check that lacks something, or says it in another way."""
    place = f"{item.path.name}: {item.name}"
    points = _mark(item, "points", None)
    if not isinstance(points, int | float) or points < 0:
        raise pytest.UsageError(f"{place}: want @pytest.mark.points(NUMBER)")
    if _mark(item, "visibility", "visible") not in VISIBILITIES:
        raise pytest.UsageError(f"{place}: visibility: want one of {', '.join(VISIBILITIES)}")
    if not _title(item):
        raise pytest.UsageError(f"{place}: want a docstring: its first line is the check's title")


def _title(item: pytest.Item) -> str:
    text = getattr(getattr(item, "function", None), "__doc__", "") or ""
    return " ".join(text.strip().partition("\n\n")[0].split())


def _verdict(error: BaseException | None) -> str:
    if error is None:
        return "passed"
    if isinstance(error, OutOfTime):
        return "timeout"
    return "failed" if isinstance(error, AssertionError | LabError) else "error"


def _story(item: pytest.Item, error: BaseException) -> Story:
    """The story that a failure brings with it, or one made of what was done until then."""
    if isinstance(error, NotAsExpected):
        return error.story
    probe = (getattr(item, "funcargs", None) or {}).get("probe")
    did = tuple(probe.did) if isinstance(probe, Probe) else ()
    saw = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, OutOfTime):
        saw = f"no end within {_mark(item, 'timeout', LIMIT):.0f} s"
    return Story(did, _title(item), saw, look=str(_mark(item, "guide", "")))


# ---------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def lab() -> Iterator[CourseLab]:
    """The running lab, in the namespace of its manifests."""
    running = Lab.attach(json.loads(os.environ[SETTINGS])["lab"])
    with running.api() as client:
        yield CourseLab(running, client, NAMESPACE)


@pytest.fixture(scope="session")
def pod(lab: CourseLab) -> Callable[[str], Witness]:
    """A pod by name, once it is Ready."""
    return lab.pod


@pytest.fixture
def probe(lab: CourseLab, request: pytest.FixtureRequest) -> Probe:
    """The check's hands."""
    return Probe(lab, str(_mark(request.node, "guide", "")))


@pytest.fixture
def student(lab: CourseLab) -> Student:
    """What was handed in."""
    settings = json.loads(os.environ[SETTINGS])
    return Student(lab.lab, {name: Path(path) for name, path in settings["files"].items()}, settings["seats"])
