"""Who handed in what: paths from a command line, as one submission a student.

    alice.zip, bob/service.py, carol.py      each path is a submission: alice, bob, carol
    class/                                   a folder without one of the lab's files: each entry in it is a submission

A submission is named after its file or folder. Its content is a folder with the lab's files: an archive's, where they
may lie in one folder of their own; a single file stands for the one file that the lab asks for.

Invariant: two submissions never have one name, and the order is that of the names, whatever the order of the paths.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labs.course.definition import LabDefinition
from labs.errors import LabError
from labs.grading import archives


@dataclass(frozen=True)
class Submission:
    """One student's. `name`: what it is called in every result; `path`: a file, a folder or an archive."""

    name: str
    path: Path

    def digest(self) -> str:
        """A hash of its content: equal for what is graded equally."""
        sha = hashlib.sha256()
        for path in _files(self.path):
            sha.update(f"{path.relative_to(self.path) if path != self.path else path.suffix}\0".encode())
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= archives.MOST_ARCHIVE:
                sha.update(path.read_bytes())
            sha.update(b"\0")
        return sha.hexdigest()


def find(definition: LabDefinition, paths: Sequence[Path]) -> list[Submission]:
    """The submissions behind the paths, by name. Raises LabError for a path that is not there, or a name twice."""
    found: dict[str, Submission] = {}
    for path in paths:
        if not path.exists():
            raise LabError(f"{path}: no such file or folder: give submissions, or a folder of them")
        for one in _below(definition, path.absolute()):
            if one.name in found:
                raise LabError(
                    f"{one.path}: called {one.name}, as {found[one.name].path} is: rename one of the two"
                )
            found[one.name] = one
    if not found:
        raise LabError(f"{paths[0]}: no submission in it: want files, folders or archives, one a student")
    return [found[name] for name in sorted(found)]


def content(definition: LabDefinition, submission: Submission, scratch: Path) -> Path:
    """What `run_checks` is given: the submission itself, or its archive unpacked in `scratch`. Raises ArchiveError."""
    if not (submission.path.is_file() and archives.is_archive(submission.path)):
        return submission.path
    archives.unpack(submission.path, scratch)
    files = {exercise.file for exercise in definition.exercises}
    folders = [scratch, *(path for path in sorted(scratch.iterdir()) if path.is_dir())]
    return next((folder for folder in folders if files & {path.name for path in folder.iterdir()}), scratch)


def _below(definition: LabDefinition, path: Path) -> Iterator[Submission]:
    files = {exercise.file for exercise in definition.exercises}
    if path.is_dir() and not any((path / file).exists() for file in files):
        entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
        yield from (Submission(_name(entry), entry) for entry in entries)
    else:
        yield Submission(_name(path), path)


def _name(path: Path) -> str:
    """A name that can be a folder's: archives and single files lose their ending."""
    name = archives.stem(path) if archives.is_archive(path) else path.stem if path.is_file() else path.name
    return re.sub(r"[^\w.@+ -]", "_", name).strip(". ") or "_"


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*")) if path.is_dir() else [path]
