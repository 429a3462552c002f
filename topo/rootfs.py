"""The file tree of a lab's sandbox: a skeleton, a handful of directories and a small /etc of its own, on a tmpfs,
with the host's /usr shown through a bind mount.

    /      tmpfs: skeleton + /usr (read-only) + /proc /sys /dev of its own
    /run/minipod/code/      Minipod's own code, sealed; so is the Python that runs it, at its own path
    /run/minipod/state/     the lab's folder on the host, the only place that outlives the lab
    /run/minipod/image/     the skeleton again, lower layer of every container (topo/container_root.py)
    /run/minipod/root/      where each container's tree is built, in a mount namespace of its own

Invariant: nothing that a lab writes reaches a file of the host outside the lab's own state folder.

Sources: the kernel's Documentation/filesystems/overlayfs.rst, user_namespaces(7), mount_namespaces(7).
"""

import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from topo import syscalls

CODE = "/run/minipod/code"
STATE = "/run/minipod/state"
IMAGE = "/run/minipod/image"
ROOT = "/run/minipod/root"

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
INTERPRETER = (CODE, *python_prefixes())
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
    for path in (*INTERPRETER, _MOUNTED_OFTEN):
        os.makedirs(f"{new}{IMAGE}{path}", exist_ok=True)
    for path in (ROOT, STATE):
        os.makedirs(f"{new}{path}")
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
