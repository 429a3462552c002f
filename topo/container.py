"""The first process of a container with a stand-in, from its fork to the stand-in's function.

    forker, in the pod's network and the container's own root ──clone──> pid 1 of its own pid namespace
        terminal or pipes, /proc, signals ──> the stand-in's function, in this very process

Every page that a forked process writes, and in Python that is every object that it touches, is copied: microseconds and
memory for each. So topo.container_runtime does beforehand all that can be done there, and this is short.

Source: the OCI runtime specification, "Lifecycle"; pid_namespaces(7).
"""

import _signal  # type: ignore[import-not-found] # CPython's own; typeshed leaves it out
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from topo import capabilities, rootfs, stdio, syscalls

_MOST_DESCRIPTORS = 1 << 20
_LONGEST = 1 << 18  # topo.wire.LIMIT, without its module
_RESET = (_signal.SIGPIPE, _signal.SIGCHLD, _signal.SIGINT, _signal.SIGXFSZ)


def run(report: int, theirs: Sequence[int], tty: bool) -> NoReturn:
    """Become the container that is described on the socket `report`: argv, env, working_dir, standin, confined.

    The description comes when the supervisor knows of this process: a container that nobody knows of must not run. What
    keeps it from starting is written there; it closes by itself when the program runs. `theirs`: its input and outputs.
    """
    try:
        message = os.read(report, _LONGEST)
        if not message:
            os._exit(1)
        container: dict[str, Any] = json.loads(message)
        os.setsid()
        stdio.take(theirs, tty=tty)
        os.closerange(3, report)  # nothing of the forker or of other containers stays open in it
        os.closerange(report + 1, _MOST_DESCRIPTORS)
        rootfs.mount_proc("")
        for number in _RESET:  # Python ignores some; a program expects the defaults of a fresh start
            _signal.signal(number, _signal.SIG_DFL)
        os.chdir(container["working_dir"])
        if container["confined"]:
            capabilities.confine()
        _run_standin(container, report)
    except (OSError, ValueError) as error:
        os.write(report, str(error).encode())
    except BaseException:
        os.write(report, traceback.format_exc().encode())
    os._exit(127)


def _run_standin(container: dict[str, Any], report: int) -> NoReturn:
    """Call the stand-in's function in this very process, as if its program had been executed."""
    module, _, function = container["standin"].partition(":")
    main: Callable[[list[str]], int] = getattr(
        sys.modules.get(module) or importlib.import_module(module), function
    )
    os.close(report)
    for name, value in container["env"].items():  # not update(), whose abstract classes would be pages more
        os.environ[name] = value
    syscalls.set_process_name(os.path.basename(container["argv"][0]))
    sys.argv = container["argv"]
    _signal.signal(_signal.SIGTERM, _terminated)
    status = 1
    try:
        status = main(container["argv"])
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status & 0xFF)


def _terminated(*_: object) -> None:
    os._exit(143)
