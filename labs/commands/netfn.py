"""netfn: a student's file takes the seat of a network function."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from labs.errors import CheckFailed, LabError
from labs.lab import Lab
from labs.launch import student_file
from netfns import SEATS

REFERENCE = "reference"


def netfn(args: argparse.Namespace) -> int:
    """Give seats to files, or back to the reference, on every node of a running lab."""
    lab = Lab.attach(args.name)
    wanted = pairs(args.assignments)
    errors = {
        seat: lab.fill_seat(seat, student_file(path) if path else None) for seat, path in wanted.items()
    }
    if args.output == "json":
        print(json.dumps(errors))
    else:
        for seat, path in wanted.items():
            print(f"{seat}: {path or f'the reference, {SEATS[seat].module}'}")
    lines = [f"{machine}: {error}" for found in errors.values() for machine, error in found.items()]
    if lines:
        raise CheckFailed("\n".join(lines))
    return 0


def pairs(assignments: Sequence[str]) -> dict[str, Path | None]:
    """`service=./my_service.py` and `service=reference`, by seat; None is the reference. Raises LabError."""
    found: dict[str, Path | None] = {}
    for assignment in assignments:
        seat, equals, file = assignment.partition("=")
        if not equals or not file:
            raise LabError(
                f"{assignment}: want SEAT=FILE, such as service=./my_service.py, or SEAT={REFERENCE}"
            )
        if seat not in SEATS:
            raise LabError(f"{seat}: no such seat: want one of {', '.join(SEATS)}")
        found[seat] = None if file == REFERENCE else Path(file)
    return found
