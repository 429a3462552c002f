"""Who a container's program is, and what it may do: its securityContext, by setpriv(1) in front of the program.

    setpriv --reuid=1000 --regid=3000 --groups=2000 --bounding-set=-all,+chown --no-new-privs -- PROGRAM …

A container that asks for nothing of this is root with a container runtime's usual capabilities (topo/capabilities.py),
and starts without the detour; one that is privileged, or asks for others, is started with all that the lab has.
What cannot be done fails closed: setpriv ends, and the program does not run. Only an id that the lab's user namespace
does not have is left out, and told: a lab of an ordinary user may have no id but root's.

Sources: Kubernetes documentation "Configure a Security Context for a Pod or Container"; setpriv(1), capabilities(7),
user_namespaces(7).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agents.container_env import ConfigError
from agents.images.catalogue import CODE_ROOT, Program
from agents.images.standins import STANDINS
from topo.capabilities import CONTAINER, bound

Obj = dict[str, Any]
SETPRIV = "/usr/bin/setpriv"
NONROOT = 65532  # who runs where somebody other than root is to run, and nobody says who
LOW_PORTS = "net.ipv4.ip_unprivileged_port_start"
# From where commands are started in containers that have no more: a bounding set belongs to a thread and its children.
THREADS = ThreadPoolExecutor(4, "confined", initializer=bound)


@dataclass(frozen=True)
class Rights:
    """words: what stands before a program. unable: what of the securityContext is left out, in words.

    confined: whether it has no other capabilities than those that every container has.
    """

    words: tuple[str, ...] = ()
    unable: tuple[str, ...] = ()
    user: int = 0
    read_only: bool = False
    confined: bool = True

    @property
    def threads(self) -> ThreadPoolExecutor | None:
        """From which threads a command is to be started within the container; None: from any."""
        return THREADS if self.confined else None


def rights(pod_spec: Obj, container: Obj) -> Rights:
    """What a container's securityContext and its pod's come to. Raises ConfigError when they contradict themselves."""
    pod, own = pod_spec.get("securityContext") or {}, container.get("securityContext") or {}
    if not pod and not own:
        return Rights()
    context = {
        **{name: pod[name] for name in ("runAsUser", "runAsGroup", "runAsNonRoot") if name in pod},
        **own,
    }
    user = context.get("runAsUser")
    if context.get("runAsNonRoot"):
        if user == 0:
            raise ConfigError("container's runAsUser breaks non-root policy")
        user = NONROOT if user is None else user
    groups = [*(pod.get("supplementalGroups") or ()), *([pod["fsGroup"]] if "fsGroup" in pod else [])]
    ids = [one for one in (user, context.get("runAsGroup"), *groups) if one is not None]
    missing = [one for one in ids if not has_id(one)]
    words: list[str] = []
    told: tuple[str, ...] = ()
    if missing:
        listed = ", ".join(map(str, missing))
        told = (f"securityContext: this lab has no user or group id {listed}: the container runs as root",)
        user = None
    else:
        words += _identity(user, context.get("runAsGroup"), groups)
    words += _limits(own)
    if words:
        words = [SETPRIV, *words, "--"]
    confined = not own.get("privileged") and _capabilities(own, "add") <= CONTAINER.keys()
    return Rights(tuple(words), told, user or 0, bool(own.get("readOnlyRootFilesystem")), confined)


def _identity(user: int | None, group: int | None, groups: list[int]) -> Iterator[str]:
    if user is not None:
        yield f"--reuid={user}"
    if user is not None or group is not None:
        yield f"--regid={group or 0}"
    if groups:
        yield f"--groups={','.join(map(str, groups))}"
    elif user is not None or group is not None:
        yield "--clear-groups"


def _limits(own: Obj) -> Iterator[str]:
    """Of capabilities, and of gaining more."""
    dropped, added = _capabilities(own, "drop"), _capabilities(own, "add")
    if (dropped or added) and not own.get("privileged") and "all" not in added:
        kept = [] if "all" in dropped else [name for name in CONTAINER if name not in dropped]
        kept += sorted(added - set(kept))
        listed = ",".join(["-all", *(f"+{name}" for name in kept)])
        yield f"--bounding-set={listed}"
        if not added <= CONTAINER.keys():  # the bounding set has only a container's, and cannot grow
            yield f"--inh-caps={listed}"
    if own.get("allowPrivilegeEscalation") is False:
        yield "--no-new-privs"


def _capabilities(own: Obj, what: str) -> set[str]:
    """Those that are to be added or dropped, without their prefix."""
    asked = (own.get("capabilities") or {}).get(what) or ()
    return {name.lower().removeprefix("cap_") for name in asked}


def command(given: Rights, program: Program, argv: list[str]) -> tuple[list[str], str]:
    """The words to execute and the stand-in to call in their place: with rights of its own, one is executed too."""
    if not given.words:
        return argv, program.standin
    if program.standin:
        name = next(name for name, function in STANDINS.items() if function == program.standin)
        argv = [sys.executable, "-E", f"{CODE_ROOT}/agents/images", name, *argv[1:]]
    return [*given.words, *argv], ""


def sysctls(pod: Obj) -> dict[str, str]:
    """The settings of a pod's own network: those that it asks for, and low ports for those who are not root."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        return {}
    asked = (spec.get("securityContext") or {}).get("sysctls") or ()
    found = {one["name"]: one["value"] for one in asked if one["name"].startswith("net.")}
    everyone = (*spec["containers"], *(spec.get("initContainers") or ()))
    if any(rights(spec, container).user for container in everyone):
        found.setdefault(LOW_PORTS, "0")
    return found


@cache
def _mapped() -> tuple[range, ...]:
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return tuple(range(int(line.split()[0]), int(line.split()[0]) + int(line.split()[2])) for line in lines)


def has_id(number: int) -> bool:
    """Whether the lab's user namespace has this user and group id."""
    return any(number in one for one in _mapped())
