"""Every lab keeps its promise: the solution earns everything, the starter does not, and each wrong answer loses the
points of the check that it names, and no others.
"""

import pytest

from labs.checking.report import Report
from labs.course.definition import LabDefinition, all_labs
from labs.course.starter import solution, starter
from labs.course.wrong import Wrong, wrong_answers
from tests.labs.conftest import Course

pytestmark = pytest.mark.e2e
LABS = all_labs()
CASES = [
    (lab, wrong) for lab in LABS for wrong in (None, *wrong_answers(lab))
]  # one running lab after the other


def told(report: Report) -> str:
    lines = [f"{result.name}: {result.verdict}: {result.story}" for result in report.results if result.story]
    return "\n".join([*report.notes, *lines])


@pytest.mark.parametrize(
    ("lab", "wrong"), CASES, ids=[f"{lab.name}-{wrong.name if wrong else 'solution'}" for lab, wrong in CASES]
)
def test_exactly_what_is_wrong_costs_points(course: Course, lab: LabDefinition, wrong: Wrong | None) -> None:
    files = {exercise.file: solution(lab, exercise) for exercise in lab.exercises}
    if wrong is not None:
        files[wrong.file] = wrong.text
    report = course.check(lab, files)
    lost = {result.name for result in report.results if result.verdict != "passed"}
    assert lost == set(wrong.checks if wrong else ()), told(report)
    worth = sum(result.max_points for result in report.results if result.name in lost)
    assert report.points == pytest.approx(lab.points - worth)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_the_starter_earns_less_than_half(course: Course, lab: LabDefinition) -> None:
    report = course.check(lab, {exercise.file: starter(lab, exercise) for exercise in lab.exercises})
    assert report.points < lab.points / 2, told(report)
    assert all(result.story is not None for result in report.results if result.verdict != "passed")


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_a_lab_has_what_the_form_asks_for(lab: LabDefinition) -> None:
    for exercise in lab.exercises:
        mine = [wrong for wrong in wrong_answers(lab) if wrong.file == exercise.file]
        assert len(mine) >= 3 * max(1, len(exercise.functions)), "three wrong answers for each function"
    guide = (lab.folder / "README.md").read_text()
    for word in ("## Goal", "## Picture", "## Verify", "## Questions", "## Troubleshooting"):
        assert word in guide
    assert lab.manifests.is_dir()
