"""A small HTTP client for the API server: over its Unix socket, or over TLS with a kubeconfig. Standard
library only.

    with Client.unix(path) as client:
        pods = client.request("GET", "/api/v1/pods")

Every refusal of the server becomes the StatusError that the server raised. Synchronous: one request after the
other on one connection, which is what a command line needs.
"""

from __future__ import annotations

import base64
import difflib
import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from controlplane.errors import StatusError
from controlplane.meta import Obj

TIMEOUT = 30.0  # seconds
JSON = "application/json"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Opens the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class Resource:
    """What the server says about a kind."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    names: frozenset[str]  # everything that a user may call it

    @property
    def api_version(self) -> str:
        """`apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def label(self) -> str:
        """As kubectl prints it before a slash: `service`, `deployment.apps`."""
        return f"{self.kind.lower()}.{self.group}" if self.group else self.kind.lower()

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL of the collection, or of one object."""
        prefix = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", urllib.parse.quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(urllib.parse.quote(name, safe=""))
        return "/".join(parts)


class Client:
    """A connection to one API server. Raises StatusError for refusals, OSError when the server cannot be
    reached.
    """

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._resources: list[Resource] = []

    @classmethod
    def unix(cls, path: Path) -> Client:
        """A client of the server that listens on a Unix socket."""
        return cls(_UnixConnection(path))

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Client:
        """A client with a kubeconfig's current context. Raises ValueError when the file is not one."""
        # Not for clients of the Unix socket: these cost more than all else that a client imports.
        from controlplane.pki import Credential, load_credential
        from controlplane.yaml_text import load_documents

        _, config = load_documents(path.read_text())[0]
        context = _named(config, "contexts", config.get("current-context"))["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=authority)
        certificate = base64.b64decode(user["client-certificate-data"]).decode()
        load_credential(tls, Credential(certificate, base64.b64decode(user["client-key-data"]).decode()))
        address = urllib.parse.urlsplit(cluster["server"])
        return cls(
            http.client.HTTPSConnection(address.hostname or "", address.port, timeout=TIMEOUT, context=tls)
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """The answer's JSON. `body` is sent as JSON, labelled `content_type`."""
        if query:
            path = f"{path}?{urllib.parse.urlencode(query)}"
        headers = {"Accept": accept}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        try:
            response = self._send(method, path, payload, headers)
            raw = response.read()
        except BaseException:
            self._connection.close()  # in the middle of an answer: the next request begins on another one
            raise
        try:
            value = json.loads(raw) if raw else None
        except ValueError:
            value = None
        if response.status >= 400:
            raise _refusal(response.status, value)
        return value

    def _send(
        self, method: str, path: str, payload: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """One request; a connection that the server has closed meanwhile is opened again once."""
        reused = self._connection.sock is not None
        try:
            self._connection.request(method, path, payload, headers)
            return self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()
            if not reused:
                raise
            self._connection.request(method, path, payload, headers)
            return self._connection.getresponse()

    def resources(self) -> list[Resource]:
        """All kinds that the server serves; asked for once."""
        if not self._resources:
            for path in ("/api", "/apis"):
                for group in self.request("GET", path, accept=DISCOVERY)["items"]:
                    for version in group["versions"]:
                        name = group["metadata"].get("name", "")
                        self._resources += [
                            _resource(name, version["version"], entry) for entry in version["resources"]
                        ]
        return self._resources

    def resource(self, name: str) -> Resource:
        """The kind that a user calls `name`: plural, singular, short name or kind, with or without `.group`.
        Raises StatusError.
        """
        wanted = name.lower()
        for entry in self.resources():
            names = entry.names | {f"{word}.{entry.group}" for word in entry.names if entry.group}
            if wanted in names:
                return entry
        raise StatusError(404, "NotFound", f'the server doesn\'t have a resource type "{name}"')

    def resource_of(self, obj: Obj) -> Resource:
        """The kind of a manifest's object; one that is not known is asked for again. Raises StatusError 404."""
        api_version, kind = obj.get("apiVersion"), obj.get("kind")
        for _ in range(2):
            for entry in self.resources():
                if (entry.api_version, entry.kind) == (api_version, kind):
                    return entry
            self._resources = []
        message = f'no matches for kind "{kind}" in version "{api_version}"'
        raise StatusError(404, "NotFound", message + self._hint(str(kind)), {"kind": kind})

    def _hint(self, kind: str) -> str:
        """What the author of an unknown kind may have meant."""
        known = {entry.kind: entry for entry in self.resources()}
        alike = difflib.get_close_matches(kind, known, 1)
        return f": did you mean {alike[0]} of {known[alike[0]].api_version}?" if alike else ""


def _resource(group: str, version: str, entry: Obj) -> Resource:
    kind = entry["responseKind"]["kind"]
    names = {entry["resource"], entry["singularResource"], kind.lower(), *entry.get("shortNames", ())}
    return Resource(group, version, entry["resource"], kind, entry["scope"] == "Namespaced", frozenset(names))


def _refusal(code: int, value: Any) -> StatusError:
    if not isinstance(value, dict):
        return StatusError(code, "Unknown", f"the server answered {code}")
    return StatusError(
        code, value.get("reason", "Unknown"), value.get("message", str(code)), value.get("details")
    )


def _named(config: Any, section: str, name: Any) -> Any:
    for entry in (config.get(section) or ()) if isinstance(config, dict) else ():
        if entry.get("name") == name:
            return entry
    raise ValueError(f"{section}: no entry {name!r}: the file is no kubeconfig")
