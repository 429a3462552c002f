"""From a URL's path to what it means: kind, namespace, name, subresource.

    /api/v1/namespaces/NS/pods/NAME/log      core group
    /apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUBRESOURCE
    without namespaces/NS: all namespaces, or a kind that has none

Source: Kubernetes documentation "Kubernetes API concepts: Resource URIs".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from controlplane.errors import StatusError
from controlplane.kinds import Kind, Kinds
from controlplane.meta import Obj

OF_NAMESPACES = ("status", "finalize")  # subresources of a namespace itself


@dataclass(frozen=True)
class Target:
    """What a path names. `rest` is what follows the subresource (the path of a proxy)."""

    kind: Kind
    namespace: str
    name: str
    subresource: str
    rest: str = ""

    def presented(self, obj: Obj) -> Obj:
        """A stored object in the version that the path names."""
        wanted = self.kind.api_version
        return obj if obj["apiVersion"] == wanted else {**obj, "apiVersion": wanted}


Handler = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]


def parse(kinds: Kinds, path: str) -> Target:
    """The target of a path below /api or /apis. Raises StatusError 404."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"]:
        group, version, parts = "", "".join(parts[1:2]), parts[2:]
    else:
        group, version, parts = "".join(parts[1:2]), "".join(parts[2:3]), parts[3:]
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) > 2 and parts[2] not in OF_NAMESPACES:
        namespace, parts = parts[1], parts[2:]
    kind = kinds.of_resource(group, version, parts[0]) if parts else None
    if kind is None or (namespace and not kind.namespaced):
        raise no_such_path()
    name, subresource = "".join(parts[1:2]), "".join(parts[2:3])
    return Target(kind, namespace, name, subresource, "/".join(parts[3:]))


def no_such_path() -> StatusError:
    """404 for a path that means nothing."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")
