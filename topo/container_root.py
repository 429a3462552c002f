"""The file tree of a container: built once for each, in its own mount namespace.

    /      overlay: the skeleton and what the image adds below, the container's own changes above
    /usr   the sandbox's, or an overlay of it where the image or a volume writes there
    /dev   the sandbox's; /proc is mounted later, by the container's first process
    volumes, last words, name files

It runs once for each container: so plain calls of the kernel, and neither pathlib nor exceptions on the usual way.

Invariant: no path that a pod names leads out of its own tree, whatever links its image or its volumes hold.

Sources: the kernel's Documentation/filesystems/overlayfs.rst, mount_namespaces(7).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from topo import syscalls
from topo.rootfs import IMAGE, INTERPRETER, ROOT

_MASKED = 0o022  # by the lab's umask


@dataclass
class ContainerRoot:
    """What a container's file tree is made of.

    upper: a directory for the container's changes and its mount point (on the sandbox's tmpfs).
    image: the directory with the files that its image adds to the skeleton; "" for none.
    files: (path in the container, text, mode); no part of the path may be a link of the skeleton or the image.
    mounts: (source, path in the container, read only); the path is created, as a file when the source is one.
    read_only: whether nothing but its mounts can be written; for whoever has finished with it: `seal`.
    interpreter: whether it has Minipod's code and the Python that runs it, of which stand-ins are made.
    """

    upper: str
    image: str = ""
    files: Sequence[tuple[str, str, int]] = ()
    mounts: Sequence[tuple[str, str, bool]] = ()
    read_only: bool = False
    interpreter: bool = True


def enter(container: ContainerRoot) -> None:
    """Build a container's tree, but for its /proc, and make it the root of the caller's own mount namespace.

    Raises OSError naming the mount that failed, ValueError for a mount path that leaves the root.
    """
    _make_folder(container.upper)
    os.chdir(container.upper)
    lower = f"{container.image}:{IMAGE}" if container.image else IMAGE
    _overlay(lower, "root", ROOT, container.files)
    _mount_usr(container)
    for path in ("/dev", *(INTERPRETER if container.interpreter else ())):
        syscalls.bind(path, f"{ROOT}{path}")
    changed: set[str] = set()
    for source, path, read_only in container.mounts:
        _bind_volume(lower, changed, source, path, read_only)
    syscalls.switch_root(ROOT)


def seal() -> None:
    """Make the container's own tree, in which the caller is, read-only; what is mounted in it stays as it is."""
    syscalls.make_read_only("/")
    syscalls.make_read_only("/usr")


def _make_folder(path: str) -> None:
    """Make a folder whose parent is there, unless it is there itself."""
    try:
        os.mkdir(path)
    except FileExistsError:
        pass


def _write_files(layer: str, files: Sequence[tuple[str, str, int]]) -> None:
    """Write files into the layer of a container's changes before it is mounted: nothing is copied up for them."""
    made = ""
    for path, text, mode in files:
        target = f"{layer}{path}"
        folder = os.path.dirname(target)
        if folder != made:
            try:
                os.mkdir(folder)
            except FileExistsError:
                pass
            except FileNotFoundError:
                os.makedirs(folder)
            made = folder
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        os.write(descriptor, text.encode())
        if mode & _MASKED:
            os.fchmod(descriptor, mode)
        os.close(descriptor)


def _mount_usr(container: ContainerRoot) -> None:
    """Show /usr: as it is, or below an overlay when the image, a file or a volume of the container goes there."""
    adds = container.image != "" and _is_folder(f"{container.image}/usr")
    paths = (*(path for path, _, _ in container.files), *(path for _, path, _ in container.mounts))
    if adds or any(os.path.normpath(path).startswith("/usr/") for path in paths):
        _overlay(f"{container.image}/usr:/usr" if adds else "/usr", "usr", f"{ROOT}/usr")
    else:
        syscalls.bind("/usr", f"{ROOT}/usr")


@lru_cache(maxsize=256)
def _is_folder(path: str) -> bool:
    """Whether an image, which never changes, has a folder."""
    return os.path.isdir(path)


def _overlay(lower: str, name: str, target: str, files: Sequence[tuple[str, str, int]] = ()) -> None:
    """Mount an overlay whose changes are kept in the present folder."""
    changes, work = f"{name}-changes", f"{name}-work"
    for path in (changes, work):
        _make_folder(path)
    _write_files(changes, files)
    syscalls.mount("overlay", target, "overlay", data=f"lowerdir={lower},upperdir={changes},workdir={work}")


@dataclass(frozen=True)
class _Place:
    """Where a path leads in a tree, by way of which places (the last is itself), and whether it is a folder."""

    real: str
    passed: frozenset[str]
    is_folder: bool

    def holds(self, changed: set[str], is_folder: bool) -> bool:
        """Whether it is so for one who mounts a folder or a file, and has changed some places: in /dev, which belongs
        to all containers, somebody may have put a link on the way.
        """
        linked = any(place.startswith("/dev/") and os.path.islink(f"{ROOT}{place}") for place in self.passed)
        return self.is_folder == is_folder and changed.isdisjoint(self.passed) and not linked


# By lower layers and path: what is there before anything is mounted.
_known: dict[tuple[str, str], _Place] = {}


def _bind_volume(lower: str, changed: set[str], source: str, path: str, read_only: bool) -> None:
    """Show `source` at `path`, which is made where it is not there. `changed`: places that are not as they were when
    nothing was mounted yet; this one is added.

    Most containers of an image mount the same: what is known of a path that none of their mounts has changed holds.
    """
    is_folder = os.path.isdir(source)
    known = _known.get((lower, path))
    if known is None or not known.holds(changed, is_folder):
        known = _make_place(lower, changed, path, is_folder)
    try:
        syscalls.bind(source, f"{ROOT}{known.real}", read_only=read_only)
    except FileNotFoundError:  # somebody has removed it meanwhile: /dev belongs to all
        known = _make_place(lower, changed, path, is_folder)
        syscalls.bind(source, f"{ROOT}{known.real}", read_only=read_only)
    changed.add(known.real)


def _make_place(lower: str, changed: set[str], path: str, is_folder: bool) -> _Place:
    """See that there is a folder, or a file, at `path`; one that was there before will be there in other containers."""
    passed = places(ROOT, path)
    place = _Place(passed[-1], frozenset(passed), is_folder)
    target = f"{ROOT}{place.real}"
    if os.path.isdir(target) if is_folder else os.path.isfile(target):
        if changed.isdisjoint(passed):
            _known[lower, path] = place
        return place
    folder = target if is_folder else os.path.dirname(target)
    if not os.path.isdir(folder):
        os.makedirs(folder)
        changed.update(passed)
    if not is_folder:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    return place


def places(root: str, path: str) -> list[str]:
    """The places that one passes on the way to `path` under `root`, its links followed as a process with that root
    would follow them: paths below `root` without links, the last being where `path` is ("" for the root itself).

    Raises ValueError when the path is not absolute, or its links loop.
    """
    if not path.startswith("/"):
        raise ValueError(f"{path}: not an absolute path")
    pending, real, links = path.split("/"), "", 0
    passed = [real]
    while pending:
        part = pending.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            real = real.rpartition("/")[0]
            passed.append(real)
            continue
        candidate = f"{real}/{part}"
        passed.append(candidate)
        if os.path.islink(f"{root}{candidate}"):
            links += 1
            if links > 40:
                raise ValueError(f"{path}: too many links")
            target = os.readlink(f"{root}{candidate}")
            pending = target.split("/") + pending
            real = "" if target.startswith("/") else real
            passed.append(real)
            continue
        real = candidate
    return passed
