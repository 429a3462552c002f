"""The hand-out: what students are given of a lab.

    labs/06-cluster-ip/ ──> 06-cluster-ip/   README*.md, lab.toml, manifests/, checks.py without hidden checks,
                                             service.py (the starter, and starter/service.py for `lab reset`)
    left behind: wrong/, solution/, hidden checks and the helpers that only they use

`minipod lab start ./06-cluster-ip` works on a hand-out as on the lab itself.

Invariant: no line of a solution, of a wrong answer or of a hidden check is in a hand-out.
"""

import ast
import gzip
import shutil
import tarfile
import tempfile
from pathlib import Path

from labs.course.definition import CHECKS, DEFINITION, STARTER, LabDefinition
from labs.course.starter import blank, starter
from labs.errors import LabError


def release(definition: LabDefinition, target: Path) -> Path:
    """Write the hand-out as the folder target/NN-name, which must not be there. Raises LabError."""
    folder = target / definition.name
    if folder.exists():
        raise LabError(f"{folder}: already there: choose another place with --to")
    try:
        folder.mkdir(parents=True)
        for path in (*definition.guides, definition.folder / DEFINITION):
            shutil.copyfile(path, folder / path.name)
        if definition.manifests.is_dir():
            shutil.copytree(definition.manifests, folder / "manifests")
        (folder / CHECKS).write_text(without_hidden((definition.folder / CHECKS).read_text()))
        (folder / STARTER).mkdir()
        for exercise in definition.exercises:
            for path in (folder / exercise.file, folder / STARTER / exercise.file):
                path.write_text(starter(definition, exercise))
    except OSError as error:
        raise LabError(
            f"{error.filename or folder}: {error.strerror}: choose another place with --to"
        ) from None
    return folder


def archive(definition: LabDefinition, path: Path) -> Path:
    """Write the hand-out as a .tar.gz, the same bytes for the same lab. Raises LabError."""
    with tempfile.TemporaryDirectory() as folder:
        made = release(definition, Path(folder))
        try:
            # No name and no time in its head: the same lab gives the same bytes.
            with (
                path.open("wb") as raw,
                gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w") as tar,
            ):
                tar.add(made, definition.name, filter=_nobodys)
        except OSError as error:
            raise LabError(f"{path}: {error.strerror}: choose another file with --archive") from None
    return path


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def without_hidden(checks: str) -> str:
    """A checks.py without the checks that students do not see, and without what only those need."""
    hidden = [
        node.name
        for node in ast.parse(checks).body
        if isinstance(node, ast.FunctionDef) and any(map(_hides, node.decorator_list))
    ]
    return blank(checks, (), hidden)


def _hides(decorator: ast.expr) -> bool:
    """Whether this is @pytest.mark.visibility("…") with another word than visible."""
    match decorator:
        case ast.Call(func=ast.Attribute(attr="visibility"), args=[ast.Constant(value=word)]):
            return bool(word != "visible")
    return False
