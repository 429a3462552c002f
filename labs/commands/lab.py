"""lab list|start|check|hint|reset|solution|release: a student's walk through the course."""

import argparse
import ast
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from labs import launch
from labs.check.subjects import GaveUp, Scene, until
from labs.checking import show
from labs.checking.ground import NAMESPACE, prepare
from labs.checking.run import find_files, run_checks
from labs.commands.lifecycle import progress_since
from labs.course import definition as course
from labs.course import desk, handout, progress
from labs.course.definition import LabDefinition
from labs.course.progress import Progress
from labs.course.starter import solution as solution_of
from labs.errors import CheckFailed, LabError
from labs.lab import Lab
from labs.state import StateFolder

READY = 30.0  # seconds for a lab's own pods
NOT_READY = "minipod.dev/never-ready"  # the label of pods that are meant not to become Ready


def lab(args: argparse.Namespace) -> int:
    """Do one of the words of `minipod lab`."""
    return _WORDS[args.action](args)


def _list(args: argparse.Namespace) -> int:
    current, labs = progress.load()
    rows: list[dict[str, Any]] = []
    for lab in course.all_labs():
        done = labs.get(lab.name)
        rows.append(
            {
                "name": lab.name,
                "title": lab.title,
                "communication": lab.communication,
                "minutes": lab.minutes,
                "points": lab.points,
                "best": done.best if done else None,
                "attempts": done.attempts if done else 0,
                "folder": done.folder if done else "",
                "current": lab.name == current,
            }
        )
    if args.output == "json":
        print(json.dumps(rows))
        return 0
    print(f"  {'LAB':<26} {'MINUTES':>7} {'POINTS':>6} {'BEST':>5}  TITLE")
    for row in rows:
        best = "-" if row["best"] is None else show.number(row["best"])
        mark = "*" if row["current"] else " "
        print(f"{mark} {row['name']:<26} {row['minutes']:>7} {row['points']:>6} {best:>5}  {row['title']}")
    return 0


# ---------------------------------------------------------------- start


def _start(args: argparse.Namespace) -> int:
    if not args.lab:
        raise LabError("minipod lab start: which lab? see `minipod lab list`")
    definition = course.find(args.lab)
    began = time.monotonic()
    folder = desk.folder_for(definition, Path.cwd())
    state = StateFolder.of(args.name)
    _, labs = progress.load()
    if state.is_running() and not _runs(state, definition):
        raise LabError(
            f"lab {state.name}: already running, and not for {definition.name}: "
            f"end it with `minipod down --name {state.name}`, or choose another --name"
        )
    laid = desk.lay_out(definition, folder)
    say = progress_since(began)
    say(f"{folder}: {', '.join(laid) + ' written' if laid else 'all is there already, nothing was changed'}")
    if not state.is_running():
        info = launch.up(state, definition.cluster, netfns=_seats(definition, folder), progress=say)
        state.write({**info, "course": definition.name})
    running = Lab.attach(state.name)
    done = labs.get(definition.name) or Progress("", "")
    done.folder, done.cluster = str(folder), state.name
    progress.note(definition.name, done)
    prepare(definition, running)
    _wait_for_pods(running)
    troubles = _fill(definition, running, folder)
    print(f"{definition.name}: {definition.title}")
    print(f"  the lab is Ready after {time.monotonic() - began:.1f} s; its guide: {folder / course.GUIDE}")
    for trouble in sorted(set(troubles.values())):
        print(f"  for now: {trouble}")
    print("  next: read the guide, then `minipod lab check`")
    return 0


def _runs(state: StateFolder, definition: LabDefinition) -> bool:
    """Whether the running lab was started for this lab of the course, by this checkout."""
    info = state.read()
    return (info.get("course"), info.get("checkout")) == (definition.name, str(course.CHECKOUT))


def _seats(definition: LabDefinition, folder: Path) -> dict[str, Path]:
    return {e.seat: folder / e.file for e in definition.exercises if e.seat}


def _fill(definition: LabDefinition, running: Lab, folder: Path) -> dict[str, str]:
    """Give the student's files their seats; what went wrong, by machine."""
    found: dict[str, str] = {}
    for seat, path in _seats(definition, folder).items():
        found |= running.fill_seat(seat, launch.student_file(path))
    return found


def _wait_for_pods(running: Lab) -> None:
    with running.api() as client:
        scene = Scene(running, client, NAMESPACE)

        def settled() -> bool:
            ready = {pod.name for pod in scene.pods()}
            pods = [p for p in scene.objects("Pod") if NOT_READY not in (p["metadata"].get("labels") or {})]
            wanted = sum(d["spec"]["replicas"] for d in scene.objects("Deployment"))
            return len(pods) >= wanted and all(pod["metadata"]["name"] in ready for pod in pods)

        try:
            until(settled, "the lab's pods: Ready", READY)
        except GaveUp as error:
            raise LabError(f"{error}: see `minipod kubectl get pods`") from None


# ---------------------------------------------------------------- check, hint


def _check(args: argparse.Namespace) -> int:
    definition, done = _chosen(args)
    state = StateFolder.of(args.name or done.cluster)
    if not state.is_running() or not _runs(state, definition):
        raise LabError(f"{definition.name}: its lab does not run: `minipod lab start {definition.name}`")
    submission = find_files(definition, Path(done.folder))
    if reason := submission.blocked or _unparsed(submission.files.values()):
        raise LabError(f"{done.folder}/{reason}: mend it, then check again")
    running = Lab.attach(state.name)
    as_text = args.output != "json"
    report = run_checks(
        definition,
        running,
        Path(done.folder),
        visible_only=True,
        on_result=(lambda result: print(show.line(result), flush=True)) if as_text else None,
    )
    done.take(report)
    progress.note(definition.name, done)
    if not as_text:
        print(json.dumps(report.to_json()))
    else:
        print("".join(f"{text}\n" for result in report.results if (text := show.story(result))), end="")
        for text in report.notes:
            print(f"\nnote: {text}")
        print(f"\n{show.summary(report, len(report.results), definition.points - report.max_points)}")
    if not report.passed:
        raise CheckFailed("next: `minipod lab hint` helps with the first check that failed")
    return 0


def _unparsed(paths: Iterable[Path]) -> str:
    """Why one of the files is no Python, "" when all of them are; nothing of them runs."""
    for path in paths:
        if path.suffix == ".py":
            try:
                ast.parse(path.read_text(), path.name)
            except SyntaxError as error:
                return f"{path.name}: line {error.lineno}: SyntaxError: {error.msg}"
            except (ValueError, RecursionError, MemoryError) as error:
                return f"{path.name}: {error or type(error).__name__}"
    return ""


def _hint(args: argparse.Namespace) -> int:
    definition, done = _chosen(args)
    if done.report is None:
        raise LabError(f"{definition.name}: not checked yet: `minipod lab check` first")
    failed = [result for result in show.failed(done.report.results) if args.check in ("", result.name)]
    if not failed:
        if args.check:
            raise LabError(f"--check {args.check}: no such check failed in the last `minipod lab check`")
        print("every check passed the last time: there is nothing to hint at")
        return 0
    result = failed[0]
    told = done.hints.get(result.name, 0)
    place = f": {result.story.look}" if result.story and result.story.look else ""
    if told >= len(result.hints):
        print(f"{result.name}: no more hints; read the guide again{place}")
        return 0
    print(f"{result.name}, hint {told + 1} of {len(result.hints)}: {result.hints[told]}")
    done.hints[result.name] = told + 1
    progress.note(definition.name, done)
    return 0


# ---------------------------------------------------------------- reset, solution, release


def _reset(args: argparse.Namespace) -> int:
    definition, done = _chosen(args)
    aside = desk.reset(definition, Path(done.folder))
    print(f"{definition.name}: the starter is back" + (f"; your files are in {aside}" if aside else ""))
    state = StateFolder.of(args.name or done.cluster)
    if state.is_running() and _runs(state, definition):
        running = Lab.attach(state.name)
        for seat, path in _seats(definition, Path(done.folder)).items():
            running.fill_seat(seat, launch.student_file(path), clear=True)
        prepare(definition, running)
    return 0


def _solution(args: argparse.Namespace) -> int:
    definition, done = _chosen(args, started=False)
    if not args.yes and (done is None or not done.attempts):
        raise LabError(f"{definition.name}: try first (`minipod lab check`), or say --yes")
    for exercise in definition.exercises:
        print(solution_of(definition, exercise), end="")
    return 0


def _release(args: argparse.Namespace) -> int:
    labs = [course.find(args.lab)] if args.lab else course.all_labs()
    if args.archive and len(labs) != 1:
        raise LabError("--archive: name one lab: an archive holds one")
    for definition in labs:
        made = handout.archive(definition, Path(args.archive)) if args.archive else None
        print(made or handout.release(definition, Path(args.to)))
    return 0


def _chosen(args: argparse.Namespace, *, started: bool = True) -> tuple[LabDefinition, Progress]:
    """The lab that is meant: named, or that of the folder we are in, or the one that was used last."""
    current, labs = progress.load()
    here = [name for name, done in labs.items() if Path(done.folder) in (Path.cwd(), *Path.cwd().parents)]
    named = next((name for name in labs if course.means(args.lab, name)), args.lab)
    name = named or (here[0] if here else current)
    if not name:
        raise LabError(f"minipod lab {args.action}: no lab was started yet: see `minipod lab list`")
    known = labs.get(name)
    handed_out = known is not None and Path(known.folder, course.DEFINITION).is_file()
    definition = course.find(Path(known.folder) if known and handed_out else name)
    done = labs.get(definition.name)
    if done is None:
        if not started:
            return definition, Progress("", "")
        raise LabError(f"{definition.name}: not started: `minipod lab start {definition.name}`")
    if started and not Path(done.folder).is_dir():
        raise LabError(f"{done.folder}: not there: `minipod lab start {definition.name}` lays it out again")
    return definition, done


_WORDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "start": _start,
    "check": _check,
    "hint": _hint,
    "reset": _reset,
    "solution": _solution,
    "release": _release,
}
