"""A lab's definition: the folder `labs/NN-name/` and its lab.toml, read and checked.

    title = "A Service's cluster address"
    communication = "pod-to-service"     # one of the four types of `minipod check`
    minutes = 90
    points = 100                         # what the checks' points add up to

    [cluster]                            # optional: the fields of a cluster file
    workers = 2

    [[write]]                            # for each Python file that students write
    module = "netfns.service"            # the reference; a student's file is called like it: service.py
    functions = ["render"]               # these are blanked in the starter
    omit = ["render_change"]             # optional: these are taken out of it

    [[answer]]                           # for each other file that students hand in; solution/FILE is the reference
    file = "answers.toml"

Beside it lie README.md (the guide; README.fr.md is the French one), manifests/, checks.py and wrong/.

Invariant: a definition that was loaded is whole: its reference exists and has the functions that it names.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs.check.claim import TYPES
from labs.cluster_file import ClusterConfig, from_fields
from labs.errors import LabError
from netfns import SEATS

CHECKOUT = Path(__file__).resolve().parents[2]
LABS = CHECKOUT / "labs"
DEFINITION, CHECKS, GUIDE = "lab.toml", "checks.py", "README.md"
STARTER = "starter"  # the folder of a hand-out that holds what students begin with
_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_NAME = re.compile(r"\d\d-[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Exercise:
    """One file that a student hands in, called `file`.

    module: the reference's module, "" for a file that is no Python. functions: the names that students write; omit:
    those that their starter lacks altogether. seat: the row of netfns.SEATS that the file takes, "" for none.
    """

    file: str
    module: str = ""
    functions: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    seat: str = ""


@dataclass(frozen=True)
class LabDefinition:
    """One lab of the course. minutes: what it takes a student; points: what its checks add up to."""

    name: str
    folder: Path
    title: str
    communication: str
    minutes: int
    points: int
    cluster: ClusterConfig
    exercises: tuple[Exercise, ...]

    def reference(self, exercise: Exercise) -> Path:
        """The file that holds an exercise's solution."""
        if exercise.module:
            return CHECKOUT / f"{exercise.module.replace('.', '/')}.py"
        return self.folder / "solution" / exercise.file

    @property
    def is_handout(self) -> bool:
        """Whether this is what students were given, and so their working folder."""
        return (self.folder / STARTER).is_dir()

    @property
    def guides(self) -> list[Path]:
        """The guide, and its translations."""
        return sorted(self.folder.glob("README*.md"))

    @property
    def manifests(self) -> Path:
        """The folder of what is applied to the lab's cluster."""
        return self.folder / "manifests"


def all_labs() -> list[LabDefinition]:
    """Every lab of the course, in order. Raises LabError for the first that is not whole."""
    return [load(folder) for folder in sorted(LABS.iterdir()) if _NAME.fullmatch(folder.name)]


def find(name: str | Path) -> LabDefinition:
    """A lab by its name, its number, its name without the number, or its folder. Raises LabError."""
    if isinstance(name, Path) or "/" in name or Path(name, DEFINITION).is_file():
        return load(Path(name))
    names = [folder.name for folder in sorted(LABS.iterdir()) if _NAME.fullmatch(folder.name)]
    for known in names:
        if means(name, known):
            return load(LABS / known)
    raise LabError(f"{name}: no such lab: want one of {', '.join(names)}, or a lab's folder")


def means(name: str, lab: str) -> bool:
    """Whether somebody who says `name` means the lab: by its name, its number, or its name without the number."""
    number, _, rest = lab.partition("-")
    return name in (lab, number, number.lstrip("0"), rest)


def load(folder: Path) -> LabDefinition:
    """The definition in a folder. Raises LabError that names the file, the key and what is wanted."""
    place = folder / DEFINITION
    try:
        data = tomllib.loads(place.read_text())
    except OSError as error:
        raise LabError(f"{place}: {error.strerror}: give the folder of a lab") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LabError(f"{place}: {error}: mend the TOML") from None
    reader = _Reader(str(place), data)
    name = folder.resolve().name
    if not _NAME.fullmatch(name):
        raise LabError(f"{folder}: a lab's folder is called like 06-cluster-ip: rename it")
    definition = LabDefinition(
        name=name,
        folder=folder.resolve(),
        title=reader.take("title", str),
        communication=reader.take("communication", str),
        minutes=reader.take("minutes", int),
        points=reader.take("points", int),
        cluster=from_fields(reader.take("cluster", dict, {}), f"{place}: cluster"),
        exercises=_exercises(reader),
    )
    reader.nothing_else()
    _check(definition, str(place))
    return definition


class _Reader:
    """The keys of one TOML table, each taken once."""

    def __init__(self, place: str, table: dict[str, Any]) -> None:
        self.place = place
        self._table = dict(table)

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        """The value of a key, of the right kind. Raises LabError."""
        if key not in self._table:
            if default is not None:
                return default
            raise LabError(f"{self.place}: {key}: missing: want {_KINDS[kind]}")
        value = self._table.pop(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise LabError(f"{self.place}: {key}: want {_KINDS[kind]}, got {value!r}")
        return value

    def tables(self, key: str) -> list["_Reader"]:
        """The tables of an array of tables."""
        found = self.take(key, list, [])
        if not all(isinstance(table, dict) for table in found):
            raise LabError(f"{self.place}: {key}: want tables, written [[{key}]]")
        return [_Reader(f"{self.place}: {key}[{number}]", table) for number, table in enumerate(found)]

    def names(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        """A list of names."""
        found = self.take(key, list, default)
        if not all(isinstance(name, str) for name in found):
            raise LabError(f"{self.place}: {key}: want a list of names, got {found!r}")
        return tuple(found)

    def nothing_else(self) -> None:
        """Raises LabError for a key that nobody took."""
        for key in self._table:
            raise LabError(f"{self.place}: {key}: unknown key: see labs/course/definition.py for the form")


_KINDS = {str: "a text", int: "a whole number", dict: "a table", list: "a list"}


def _exercises(reader: _Reader) -> tuple[Exercise, ...]:
    found = []
    for table in reader.tables("write"):
        module = table.take("module", str)
        seat = next((seat.name for seat in SEATS.values() if seat.module == module), "")
        functions, omit = table.names("functions"), table.names("omit", [])
        found.append(Exercise(f"{module.rpartition('.')[2]}.py", module, functions, omit, seat))
        table.nothing_else()
    for table in reader.tables("answer"):
        found.append(Exercise(table.take("file", str)))
        table.nothing_else()
    return tuple(found)


def _check(definition: LabDefinition, place: str) -> None:
    """What the keys say must be there. Raises LabError."""
    if definition.communication not in TYPES:
        raise LabError(
            f"{place}: communication: want one of {', '.join(TYPES)}, got {definition.communication!r}"
        )
    if not definition.exercises:
        raise LabError(f"{place}: write: missing: name what students write, in [[write]] or [[answer]]")
    for file in (GUIDE, CHECKS):
        if not (definition.folder / file).is_file():
            raise LabError(f"{definition.folder / file}: not there: every lab has one")
    for exercise in definition.exercises:
        if not re.fullmatch(r"[A-Za-z0-9_]+\.[a-z]+", exercise.file):
            raise LabError(f"{place}: {exercise.file}: want a plain file name such as answers.toml")
        _check_reference(definition, exercise, place)


def _check_reference(definition: LabDefinition, exercise: Exercise, place: str) -> None:
    reference = definition.reference(exercise)
    if not exercise.module:
        return  # a hand-out has no solution
    try:
        tree = ast.parse(reference.read_text())
    except OSError:
        raise LabError(f"{place}: module {exercise.module}: {reference}: not there: name a module") from None
    known = set(_names(tree))
    for name in (*exercise.functions, *exercise.omit):
        if name not in known:
            raise LabError(
                f"{place}: functions: {exercise.module} has no function {name}: name one of its own"
            )


def _names(tree: ast.Module) -> Iterator[str]:
    """Every function and class of a module, methods as `Class.method`."""
    for node in tree.body:
        if isinstance(node, _DEFINITIONS):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, _DEFINITIONS))
