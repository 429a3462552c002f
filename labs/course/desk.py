"""The student's working folder: laid out once, never overwritten.

    ./06-cluster-ip/   README.md, README.fr.md   the guide
                       service.py                what the student writes, the starter at first
                       manifests/                what runs in the lab's cluster

Invariant: a file that is there stays as it is, but for `reset`, which puts the student's files aside first.
"""

import shutil
from itertools import count
from pathlib import Path

from labs.course.definition import LabDefinition
from labs.course.starter import starter
from labs.errors import LabError


def folder_for(definition: LabDefinition, where: Path) -> Path:
    """The working folder below `where`: NN-name/, or the hand-out's own folder when the lab is one."""
    return definition.folder if definition.is_handout else where / definition.name


def lay_out(definition: LabDefinition, folder: Path) -> list[str]:
    """Put into the folder what it lacks; returns the names of what was put there. Raises LabError."""
    laid: list[str] = []
    try:
        folder.mkdir(exist_ok=True)
        for source in [*definition.guides, *sorted(definition.manifests.glob("*"))]:
            target = folder / source.relative_to(definition.folder)
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                shutil.copyfile(source, target)
                laid.append(str(target.relative_to(folder)))
        for exercise in definition.exercises:
            if not (folder / exercise.file).exists():
                (folder / exercise.file).write_text(starter(definition, exercise))
                laid.append(exercise.file)
    except OSError as error:
        raise LabError(
            f"{error.filename or folder}: {error.strerror}: start the lab in another folder"
        ) from None
    return laid


def reset(definition: LabDefinition, folder: Path) -> Path | None:
    """Put the student's files aside and lay out the starter again; returns where the files are, None without any."""
    changed = [path for exercise in definition.exercises if (path := folder / exercise.file).exists()]
    aside = None
    try:
        if changed:
            aside = next(path for n in count(1) if not (path := folder / f"before-reset-{n}").exists())
            aside.mkdir()
            for path in changed:
                path.rename(aside / path.name)
    except OSError as error:
        raise LabError(f"{error.filename}: {error.strerror}: nothing was reset") from None
    lay_out(definition, folder)
    return aside
