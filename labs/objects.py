"""The objects of a lab on disk: begun anew, or gone on with.

$FOLDER/journal       every write, since the lab was started (controlplane/journal.py)
$FOLDER/journal.old   that of the lab before, put aside when a new one is started without --resume
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from controlplane import journal
from controlplane.journal import Journal, JournalError
from controlplane.store import Store
from labs.errors import LabError

NAME, ASIDE = "journal", "journal.old"
log = logging.getLogger(__name__)


def check(folder: Path) -> None:
    """Whether there is anything to resume. Raises LabError."""
    if not (folder / NAME).exists():
        raise LabError(
            f"--resume: {folder / NAME}: there are no objects of a lab: start one without --resume"
        )


def open_store(folder: Path, resume: bool, progress: Callable[[str], None]) -> Store:
    """The store of the lab in `folder`, whose writes go to its journal. Raises LabError."""
    path = folder / NAME
    try:
        if not resume:
            _put_aside(path, progress)
            return _store(Journal(path))
        contents = journal.read(path)
        if contents.torn:
            log.warning("%s", contents.torn)
            progress(contents.torn)
        progress(f"{len(contents.objects)} objects are gone on with, up to revision {contents.revision}")
        return _store(Journal(path, contents), contents)
    except JournalError as error:
        raise LabError(str(error)) from None
    except OSError as error:
        raise LabError(
            f"{path}: {error.strerror}: make room, or set MINIPOD_HOME to another folder"
        ) from None


def _store(writer: Journal, contents: journal.Contents | None = None) -> Store:
    store = Store(writer, contents.snapshot if contents is not None else None)
    writer.snapshot = store.snapshot
    return store


def _put_aside(path: Path, progress: Callable[[str], None]) -> None:
    if path.exists() and path.stat().st_size:
        path.replace(path.with_name(ASIDE))
        progress(
            f"the objects of the lab before are put aside in {ASIDE}: `minipod up --resume` would have kept them"
        )
