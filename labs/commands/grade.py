"""grade: submissions of one lab, each in a sandbox of its own."""

import argparse
import json
import os
import sys
from pathlib import Path

from labs.course import definition
from labs.errors import LabError
from labs.grading import book, formats, jobs, submissions

MOST_JOBS = 64


def grade(args: argparse.Namespace) -> int:
    """Grade every submission and write the results as they come; 1 when one could not be graded."""
    lab = definition.find(args.lab)
    found = submissions.find(lab, [Path(path) for path in args.path])
    if not 0 <= args.jobs <= MOST_JOBS:
        raise LabError(f"--jobs {args.jobs}: want 1 to {MOST_JOBS}")
    if args.results and len(found) > 1:
        raise LabError(f"--results: it is one submission's file: {len(found)} were given")
    kept = book.Book(
        Path(args.out), lab, resume=args.resume, single=Path(args.results) if args.results else None
    )
    to_do = [one for one in found if not (args.resume and kept.has(one))]
    kept.keep_only(found)
    faults = []
    graded = jobs.Grader(lab, kept.result).grade_all(to_do, args.jobs or default_jobs())
    for number, done in enumerate(graded, 1):
        if done.report is None:
            faults.append(f"{done.submission.name}: not graded: {done.fault}")
            continue
        kept.report(done.submission, done.report)
        earned = f"{done.report.points:g} of {done.report.max_points:g}"
        print(f"  {number}/{len(to_do)}  {done.submission.name}: {earned}", file=sys.stderr, flush=True)
    _show(kept, args.output)
    for fault in faults:
        print(f"minipod: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _show(kept: book.Book, output: str) -> None:
    """Print all reports, in the form that is asked for."""
    reports = kept.reports
    if output == "json":
        print(json.dumps([report.to_json() for report in reports.values()]))
    elif output == "csv":
        print(formats.table(reports), end="")
    elif output == "gradescope":
        print(json.dumps({name: formats.gradescope(report) for name, report in reports.items()}))
    else:
        print(formats.plain(formats.lines(reports)), end="")


def default_jobs() -> int:
    """Half of the processors: a lab that must wait for one measures the waiting."""
    return max(1, (os.cpu_count() or 1) // 2)
