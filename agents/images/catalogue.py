"""The image catalogue: what a container runs, from its image, command, args and ports.

    image --reference.py--> repository --first row that matches--> entrypoint, cmd, binaries, files, env argv
    = command + args,  or entrypoint + args,  or entrypoint + cmd          (as containers in Kubernetes have
    it) argv[0] is one of the row's stand-ins  -> Program with `standin`: the runtime forks and calls it
    anything else                          -> Program without:         the runtime executes argv no row: a
    `command:` that exists here is executed; otherwise the generic stand-in serves the declared ports

Invariant: what can be started by name in the real image can be started by name here: every stand-in is also a
file of the container (`exec POD -- redis-cli ping`). Sources: catalogue.yaml's rows name theirs; command and
args: https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/
"""

from __future__ import annotations

import functools
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from agents.images.reference import ImageError, parse
from agents.images.standins import STANDINS

__all__ = ["CODE_ROOT", "Catalogue", "File", "ImageError", "Program", "resolve"]

CODE_ROOT = "/run/minipod/code"  # where a container finds this repository
CATALOGUE = Path(__file__).with_name("catalogue.yaml")
SHELL = "$ "  # begins the value of a binary that is a line of shell

Port = int | Mapping[str, Any]  # a port number, or an entry of a container's `ports:`


@dataclass(frozen=True)
class File:
    """A file of an image."""

    text: str
    mode: int = 0o644


@dataclass(frozen=True)
class Program:
    """What a container starts.

    `argv` runs with `env` (the image's own) in `working_dir`; argv[0] is looked up on PATH of the container.
    When `standin` ("module:function") is set, the runtime calls that function with argv in a forked process
    instead. `files` (absolute path -> File) belong into the container's root before the start. `known` tells
    whether the catalogue has the image; `note` is the sentence for the pod's event when it has not.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    standin: str = ""
    files: Mapping[str, File] = field(default_factory=dict)
    working_dir: str = "/"
    known: bool = True
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One image of the catalogue; the fields are described at the head of catalogue.yaml."""

    match: tuple[str, ...]
    source: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    flags_to: tuple[str, ...] = ()
    binaries: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    applets: bool = False
    working_dir: str = "/"

    def argv(self, command: Sequence[str] | None, args: Sequence[str] | None) -> tuple[str, ...]:
        """The words that start the container."""
        if command:
            return (*command, *(args or ()))
        if not args:
            return (*self.entrypoint, *self.cmd)
        first = self.flags_to if args[0].startswith("-") else ()
        return (*self.entrypoint, *first, *args)

    def binary(self, name: str) -> str:
        """What the file is that `name` (a path, or a word looked up on PATH) starts; "" for none of the
        row's.
        """
        if "/" in name:
            return self.binaries.get("/" + name.removeprefix("./").lstrip("/"), "")
        return next((what for path, what in self.binaries.items() if path.rpartition("/")[2] == name), "")


class Catalogue:
    """The rows of one or more catalogue files; an earlier file's rows win."""

    def __init__(self, *paths: Path) -> None:
        self.rows: list[Row] = []
        self.path = ""
        self._applets: tuple[str, ...] = ()
        self._found: dict[str, Row | None] = {}
        self._files: dict[tuple[int, str, str], Mapping[str, File]] = {}
        for path in paths:
            self._load(path)

    def _load(self, path: Path) -> None:
        # libyaml's loader, where it is, reads the file ten times faster
        document = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self.path = self.path or document.get("path", "")
        self._applets = self._applets or tuple(document.get("applets", ()))
        for index, fields in enumerate(document["images"]):
            self.rows.append(_row(f"{path.name}: images[{index}]", fields))

    def find(self, repository: str) -> Row | None:
        """The first row for an image's full name, None when there is none."""
        if repository not in self._found:
            rows = (row for row in self.rows if any(fnmatchcase(repository, name) for name in row.match))
            self._found[repository] = next(rows, None)
        return self._found[repository]

    def files(self, row: Row, code_root: str, python: str) -> Mapping[str, File]:
        """Every file of an image: its own, its binaries, the applets. The containers of an image share
        them.
        """
        key = (id(row), code_root, python)
        if key not in self._files:
            binaries = dict(row.binaries)
            if row.applets:
                binaries = {f"/usr/bin/{name}": f"{SHELL}busybox {name}" for name in self._applets} | binaries
            files = {path: File(_script(what, code_root, python), 0o755) for path, what in binaries.items()}
            self._files[key] = {path: File(text) for path, text in row.files.items()} | files
        return self._files[key]


def _row(place: str, fields: Mapping[str, Any]) -> Row:
    """A row from its YAML. Raises ValueError when a field is unknown or a binary's stand-in is."""
    unknown = fields.keys() - Row.__dataclass_fields__.keys()
    if unknown or not fields.get("match"):
        raise ValueError(
            f"{place}: want `match` and known fields, got {sorted(unknown)}: see the file's head"
        )
    lists = ("match", "entrypoint", "cmd", "flags_to")
    typed: dict[str, Any] = {name: tuple(value) if name in lists else value for name, value in fields.items()}
    row = Row(**typed)
    for path, what in row.binaries.items():
        if not what.startswith(SHELL) and what.split()[0] not in STANDINS:
            raise ValueError(
                f"{place}.binaries[{path}]: no stand-in {what!r}: want one of {', '.join(STANDINS)}"
            )
    names = tuple(name if "*" in name else parse(name).repository for name in row.match)
    return replace(row, match=names)


def _script(what: str, code_root: str, python: str) -> str:
    """The text of an executable that runs a stand-in or a line of shell. Without PYTHONPATH: see
    __main__.py.
    """
    if what.startswith(SHELL):
        return f'#!/bin/sh\nexec {what.removeprefix(SHELL)} "$@"\n'
    start = f"{shlex.quote(python)} -E {shlex.quote(code_root)}/agents/images"
    return f'#!/bin/sh\nexec {start} {what} "$@"\n'


@functools.cache
def _words(what: str) -> tuple[str, ...]:
    """The words of a row's binary."""
    return tuple(shlex.split(what))


@functools.cache
def default_catalogue() -> Catalogue:
    """The catalogue that comes with Minipod, read once."""
    return Catalogue(CATALOGUE)


def resolve(
    image: str,
    command: Sequence[str] | None,
    args: Sequence[str] | None,
    ports: Sequence[Port] = (),
    *,
    catalogue: Catalogue | None = None,
    code_root: str = CODE_ROOT,
    python: str = sys.executable,
) -> Program:
    """What a container runs.

    `command` and `args` as in the container's spec (None and an empty list mean: not given); `ports` its
    containerPorts. `code_root` and `python` are where the container finds this repository and an interpreter.

    Raises:
        ImageError: `InvalidImageName …` when `image` is no image reference.
    """
    catalogue = catalogue or default_catalogue()
    reference = parse(image)
    row = catalogue.find(reference.repository)
    env = {"PATH": catalogue.path}
    if row is None:
        return _unknown(image, command, args, ports, env)
    argv = row.argv(command, args)
    what = row.binary(argv[0])
    standin = ""
    if what and not what.startswith(SHELL):
        name, *fixed = _words(what)
        standin = STANDINS[name]
        more = _listen(ports) if name == "generic" else ()
        argv = (argv[0], *fixed, *more, *argv[1:])
    files = catalogue.files(row, code_root, python)
    return Program(argv, {**env, **row.env}, standin, files, row.working_dir)


def _unknown(
    image: str,
    command: Sequence[str] | None,
    args: Sequence[str] | None,
    ports: Sequence[Port],
    env: Mapping[str, str],
) -> Program:
    """An image without a row: its own command when that exists here, else the generic stand-in."""
    note = f"image {image}: not in the catalogue: "
    if command and shutil.which(command[0], path=env["PATH"]):
        note += "the container's own command runs on the lab's file system"
        return Program((*command, *(args or ())), env, known=False, note=note)
    listen = _listen(ports)
    does = f"listens on {', '.join(listen)}" if listen else "waits, for no containerPorts are declared"
    note += f"a stand-in {does}: add a row to {CATALOGUE.name}"
    argv = ("generic", f"--image={image}", *listen)
    return Program(argv, env, STANDINS["generic"], known=False, note=note)


def _listen(ports: Sequence[Port]) -> tuple[str, ...]:
    """The declared ports as the generic stand-in takes them: `TCP:80`, `UDP:53`."""
    pairs = [
        (p, "TCP") if isinstance(p, int) else (p["containerPort"], p.get("protocol") or "TCP") for p in ports
    ]
    return tuple(f"{protocol}:{port}" for port, protocol in pairs)
