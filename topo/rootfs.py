"""The file trees of a lab: one for the sandbox itself, one for each container.

Both start from the same skeleton, a handful of directories and a small /etc of its own on a tmpfs, and show the
host's /usr through a bind mount:

    sandbox   /      tmpfs: skeleton + /usr (read-only) + /proc /sys /dev of its own
              /run/minipod/code/      Minipod's own code, sealed; so is the Python that runs it, at its own path
              /run/minipod/state/     the lab's folder on the host, the only place that outlives the lab
              /run/minipod/image/     the skeleton again, lower layer of every container
    container /      overlay: image/ below, the container's own changes above
              /usr   the sandbox's, or an overlay of it where the image or a volume writes there

Invariant: nothing that a lab writes reaches a file of the host outside the lab's own state folder.

Sources: the kernel's Documentation/filesystems/overlayfs.rst, user_namespaces(7), mount_namespaces(7).
"""

import os
import shutil
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topo import syscalls

CODE = "/run/minipod/code"
STATE = "/run/minipod/state"
IMAGE = "/run/minipod/image"

_DIRECTORIES = (
    *("usr", "etc", "proc", "sys", "dev", "tmp", "run", "root", "home", "opt", "mnt", "srv"),
    *("var", "var/lib", "var/log", "var/tmp", "var/cache", "var/spool"),
)
_MERGED_USR = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What programs look up in /etc and nothing secret: names, numbers, link targets, terminal and loader settings.
_ETC_COPIED = (
    *("passwd", "group", "protocols", "services", "ethertypes", "gai.conf", "alternatives", "localtime"),
    *(
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "terminfo",
        "bash.bashrc",
        "profile",
        "inputrc",
        "mime.types",
    ),
    *(
        "iproute2",
        "os-release",
        "debian_version",
        "shells",
        "magic",
        "python3",
        "python3.11",
        "python3.12",
        "python3.13",
    ),
)
_ETC_WRITTEN = {
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "resolv.conf": "",
    "hostname": "localhost\n",
}
_NO_PROGRAMS = PROC_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")


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


def populate(root: str) -> None:
    """Lay out the skeleton at `root`: directories, the links of a merged /usr, and a small /etc."""
    for name in _DIRECTORIES:
        os.makedirs(f"{root}/{name}", exist_ok=True)
    for name in ("tmp", "var/tmp"):
        os.chmod(f"{root}/{name}", 0o1777)
    os.symlink("/run", f"{root}/var/run")
    for name in _MERGED_USR:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
    for name in _ETC_COPIED:
        _copy_readable(Path("/etc", name), Path(root, "etc", name))
    for name, text in _ETC_WRITTEN.items():
        Path(root, "etc", name).write_text(text)


def _copy_readable(source: Path, target: Path) -> None:
    """Copy a file, a link or a tree; what may not be read, or is not there, is left out."""
    try:
        if source.is_symlink() and source.name != "localtime":
            target.symlink_to(os.readlink(source))
        elif source.is_dir():
            target.mkdir()
            for entry in source.iterdir():
                _copy_readable(entry, target / entry.name)
        elif source.is_file():
            target.write_bytes(source.read_bytes())
    except (PermissionError, FileNotFoundError):
        return


def python_prefixes() -> list[str]:
    """The folders, outside /usr, of the Python that runs this: its virtual environment and what that is made from."""
    prefixes = {os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)}
    return sorted(prefix for prefix in prefixes if not f"{prefix}/".startswith("/usr/"))


# Shown in containers as in the sandbox. The skeleton below a container has the folders for them.
_INTERPRETER = (CODE, *python_prefixes())
# Where nearly every pod mounts something; a folder that is there already need not be made for each of them.
_MOUNTED_OFTEN = "/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class SandboxRoot:
    """Open descriptors (O_PATH) of the host's folders that the sandbox shows, taken before rights are given up."""

    code: int
    state: int
    python: tuple[tuple[str, int], ...]

    @classmethod
    def open(cls, code: Path, state: Path) -> "SandboxRoot":
        """Raises OSError when a folder cannot be reached."""
        return cls(
            code=os.open(code, os.O_PATH | os.O_DIRECTORY),
            state=os.open(state, os.O_PATH | os.O_DIRECTORY),
            python=tuple(
                (prefix, os.open(prefix, os.O_PATH | os.O_DIRECTORY)) for prefix in python_prefixes()
            ),
        )


_NEW_ROOT = "/run"


def prepare_sandbox_root(root: SandboxRoot) -> None:
    """Build the sandbox's tree on a tmpfs over /run, but for its /proc.

    Called by the sandbox's first process, after it became root of its user namespace. Raises OSError.
    """
    new = _NEW_ROOT
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("tmpfs", new, "tmpfs", syscalls.MS_NOSUID, "mode=755")
    populate(new)
    _show_system_trees(new)
    os.makedirs(f"{new}{IMAGE}")
    populate(f"{new}{IMAGE}")
    for path in (*_INTERPRETER, _MOUNTED_OFTEN):
        os.makedirs(f"{new}{IMAGE}{path}", exist_ok=True)
    os.makedirs(f"{new}{STATE}")
    syscalls.bind(f"/proc/self/fd/{root.state}", f"{new}{STATE}")
    for path, descriptor in ((CODE, root.code), *root.python):
        _show_sealed(new, descriptor, path)
    make_devices(f"{new}/dev")
    syscalls.mount("sysfs", f"{new}/sys", "sysfs", _NO_PROGRAMS)


def mount_proc(root: str = _NEW_ROOT) -> None:
    """Mount a /proc of the caller's pid namespace below `root`. Raises OSError."""
    syscalls.mount("proc", f"{root}/proc", "proc", _NO_PROGRAMS)


def enter_sandbox_root() -> None:
    """Make the tree that was prepared the root of this mount namespace."""
    syscalls.pivot_root(_NEW_ROOT)


def _show_sealed(new: str, descriptor: int, path: str) -> None:
    """Show a folder so that not even the sandbox's root can make it writable: whoever starts a lab may own these files.

    A read-only bind mount can be remounted by root of the namespace that made it. An overlay without an upper layer
    cannot be written at all; the second, empty layer is there because older kernels want two.
    """
    empty = f"{new}/run/minipod/empty"
    for folder in (empty, f"{new}{path}"):
        os.makedirs(folder, exist_ok=True)
    syscalls.mount("overlay", f"{new}{path}", "overlay", data=f"lowerdir=/proc/self/fd/{descriptor}:{empty}")


def _show_system_trees(new: str) -> None:
    """/usr, and on a system whose /usr is not merged also /bin, /lib and their like."""
    syscalls.bind("/usr", f"{new}/usr", read_only=True)
    for name in _MERGED_USR:
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            os.makedirs(f"{new}/{name}", exist_ok=True)
            syscalls.bind(f"/{name}", f"{new}/{name}", read_only=True)


def make_devices(dev: str) -> None:
    """A /dev with the harmless devices of the host, and terminals and shared memory of its own."""
    syscalls.mount("tmpfs", dev, "tmpfs", syscalls.MS_NOSUID, "mode=755")
    for name in _DEVICES:
        if _is_device(f"/dev/{name}"):
            os.makedirs(os.path.dirname(f"{dev}/{name}"), exist_ok=True)
            Path(dev, name).touch()
            syscalls.bind(f"/dev/{name}", f"{dev}/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"{dev}/{name}")
    syscalls.mount("devpts", f"{dev}/pts", "devpts", data="newinstance,ptmxmode=0666,mode=620")
    syscalls.mount("tmpfs", f"{dev}/shm", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=1777")
    os.symlink("pts/ptmx", f"{dev}/ptmx")
    os.symlink("/proc/self/fd", f"{dev}/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{dev}/{name}")


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def enter_container_root(container: ContainerRoot) -> None:
    """Build a container's tree, but for its /proc, and make it the root of the caller's own mount namespace.

    Runs once for each container: so plain calls of the kernel, and neither pathlib nor exceptions on the usual way.

    Raises OSError naming the mount that failed, ValueError for a mount path that leaves the root.
    """
    upper, root = container.upper, f"{container.upper}/root"
    for folder in (upper, root):
        _make_folder(folder)
    _overlay(f"{container.image}:{IMAGE}" if container.image else IMAGE, upper, "root", root, container.files)
    _mount_usr(container, root)
    for path in ("/dev", *(_INTERPRETER if container.interpreter else ())):
        syscalls.bind(path, f"{root}{path}")
    for source, path, read_only in container.mounts:
        _bind_volume(root, source, path, read_only)
    syscalls.switch_root(root)


def seal() -> None:
    """Make the container's own tree, in which the caller is, read-only; what is mounted in it stays as it is."""
    syscalls.remount_read_only("/")
    syscalls.remount_read_only("/usr")


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
        os.fchmod(descriptor, mode)
        os.close(descriptor)


def _mount_usr(container: ContainerRoot, root: str) -> None:
    """Show /usr: as it is, or below an overlay when the image, a file or a volume of the container goes there."""
    image_usr = f"{container.image}/usr"
    adds = container.image != "" and os.path.isdir(image_usr)
    paths = (*(path for path, _, _ in container.files), *(path for _, path, _ in container.mounts))
    if adds or any(os.path.normpath(path).startswith("/usr/") for path in paths):
        _overlay(f"{image_usr}:/usr" if adds else "/usr", container.upper, "usr", f"{root}/usr")
    else:
        syscalls.bind("/usr", f"{root}/usr")


def _overlay(
    lower: str, upper: str, name: str, target: str, files: Sequence[tuple[str, str, int]] = ()
) -> None:
    changes, work = f"{upper}/{name}-changes", f"{upper}/{name}-work"
    for path in (changes, work):
        _make_folder(path)
    _write_files(changes, files)
    syscalls.mount("overlay", target, "overlay", data=f"lowerdir={lower},upperdir={changes},workdir={work}")


def _bind_volume(root: str, source: str, path: str, read_only: bool) -> None:
    target = inside(root, path)
    is_folder = os.path.isdir(source)
    folder = target if is_folder else os.path.dirname(target)
    if not os.path.isdir(folder):
        os.makedirs(folder)
    if not is_folder:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    syscalls.bind(source, target, read_only=read_only)


def inside(root: str, path: str) -> str:
    """The real place of `path` under `root`, its links followed as a process with that root would follow them.

    Raises ValueError when the path is not absolute, or its links loop.
    """
    if not path.startswith("/"):
        raise ValueError(f"{path}: not an absolute path")
    pending, real, links = path.split("/"), "", 0
    while pending:
        part = pending.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            real = real.rpartition("/")[0]
            continue
        candidate = f"{real}/{part}"
        if os.path.islink(f"{root}{candidate}"):
            links += 1
            if links > 40:
                raise ValueError(f"{path}: too many links")
            target = os.readlink(f"{root}{candidate}")
            pending = target.split("/") + pending
            real = "" if target.startswith("/") else real
            continue
        real = candidate
    return root + real


def remove_tree(path: str) -> None:
    """Remove a container's or a pod's files, if there are any.

    Work folders of an overlay may be unreadable to their owner until chmod.
    """

    def make_writable(function: object, name: str, _error: object) -> None:
        if not os.path.lexists(name):
            return
        os.chmod(os.path.dirname(name), 0o700)
        os.chmod(name, 0o700)
        (os.rmdir if os.path.isdir(name) else os.unlink)(name)

    shutil.rmtree(path, onerror=make_writable)
