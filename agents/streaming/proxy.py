"""pods/proxy and services/proxy: an HTTP request, passed on by the API server to a pod or to an endpoint of a Service.

    client ──> …/services/[SCHEME:]NAME[:PORT]/proxy/PATH ──> control-plane node's network ──> endpoint /PATH

Packets leave from the control-plane node, where the API server stands. Bodies stream through, both ways.

Sources: Kubernetes documentation, "Access Services Running on Clusters"; pkg/registry/core/{pod,service} and
k8s.io/apimachinery pkg/util/proxy for messages; RFC 9110 section 7.6.1 (hop-by-hop fields).
"""

from __future__ import annotations

import errno
import os
import random
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from agents.streaming.connection import while_connected
from agents.streaming.pods import port_number
from controlplane.api import API
from controlplane.errors import StatusError, bad_request
from controlplane.http import Target
from topo.enter import NETWORK, Namespaces

Obj = dict[str, Any]
Headers = list[tuple[str, str]]
CONNECT_WITHIN, CHUNK = 10.0, 1 << 15
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
HOP_BY_HOP |= {"te", "trailer", "transfer-encoding", "upgrade"}
# The client's credentials are for the API server, not for a pod.
DROPPED = HOP_BY_HOP | {"host", "authorization", "content-length"}


@dataclass(frozen=True)
class Name:
    """[SCHEME:]NAME[:PORT], as the path has it."""

    scheme: str
    name: str
    port: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """Raises StatusError 400."""
        parts = text.split(":")
        if len(parts) == 3 and parts[0] in ("http", "https", ""):
            return cls(parts[0] or "http", parts[1], parts[2])
        if len(parts) <= 2:
            return cls("http", parts[0], parts[1] if len(parts) == 2 else "")
        raise bad_request(f'invalid proxy request "{text[:100]}": want [SCHEME:]NAME[:PORT]')


def pod_address(api: API, target: Target) -> str:
    """The URL of a pod's port, by default its first. Raises StatusError."""
    wanted = Name.parse(target.name)
    pod = api.get("Pod", wanted.name, target.namespace)
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise StatusError(503, "ServiceUnavailable", f"address not allowed: pod {wanted.name} has none yet")
    ports = [port for c in pod["spec"]["containers"] for port in c.get("ports") or ()]
    port = wanted.port or str(ports[0]["containerPort"] if ports else 80)
    named = {p["name"]: str(p["containerPort"]) for p in ports if p.get("name")}
    return _url(wanted.scheme, address, named.get(port, port))


def service_address(api: API, target: Target) -> str:
    """The URL of a ready endpoint of a Service, any of them. Raises StatusError."""
    wanted = Name.parse(target.name)
    service = api.get("Service", wanted.name, target.namespace)
    ports = service["spec"].get("ports") or ()
    chosen = [p for p in ports if wanted.port in (p.get("name") or "", str(p["port"]))]
    if not wanted.port and len(ports) == 1:
        chosen = list(ports)
    if not chosen:
        raise unavailable(f'no service port "{wanted.port}" found for service "{wanted.name}"')
    slices, _ = api.list(
        "EndpointSlice", target.namespace, label_selector=f"kubernetes.io/service-name={wanted.name}"
    )
    found = [
        (endpoint["addresses"][0], str(port["port"]))
        for slice_ in slices
        for port in slice_.get("ports") or ()
        if (port.get("name") or "") == (chosen[0].get("name") or "")
        for endpoint in slice_.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True)
    ]
    if not found:
        raise unavailable(f'no endpoints available for service "{target.name}"')
    return _url(wanted.scheme, *random.choice(found))


def _url(scheme: str, address: str, port: str) -> str:
    if not port_number(port):
        raise unavailable(f'no port "{port[:100]}" found')
    return f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}"


def unavailable(message: str) -> StatusError:
    """503."""
    return StatusError(503, "ServiceUnavailable", message)


class ProxyHandler:
    """Answers pods/proxy, or services/proxy. `node`: the namespaces of the control-plane node."""

    def __init__(self, api: API, node: Namespaces, *, services: bool = False) -> None:
        self._api = api
        self._node = node
        self._address = service_address if services else pod_address

    async def __call__(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Pass the request on, and the answer back. Raises StatusError."""
        before, _, path = request.raw_path.partition("/proxy")
        if not path.startswith("/"):
            there = f"{before}/proxy/{path}"
            return web.HTTPMovedPermanently(there)
        if "upgrade" in request.headers.get("Connection", "").lower():
            raise bad_request("the proxy passes no upgrades on: use `kubectl port-forward`")
        url = URL(self._address(self._api, target) + path, encoded=True)
        try:
            return await while_connected(request, self._pass_on(request, url, f"{before}/proxy"))
        except aiohttp.ClientConnectorError as error:
            why = f"connect: {os.strerror(error.os_error.errno or errno.EIO).lower()}"
        except TimeoutError:
            why = "i/o timeout"
        except aiohttp.ClientError as error:
            raise unavailable(f"error trying to reach service: {error}") from None
        except ConnectionError:
            return web.Response()  # the client is gone
        raise unavailable(f"error trying to reach service: dial tcp {url.raw_authority}: {why}")

    async def _pass_on(self, request: web.Request, url: URL, prefix: str) -> web.StreamResponse:
        headers, body = _forwarded(request), _body(request)
        async with (
            self._client() as client,
            client.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer,
        ):
            return await _pass_back(request, answer, prefix, url)

    def _client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(socket_factory=self._socket, ssl=_unverified(), force_close=True)
        return aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN),
        )  # fmt: skip

    def _socket(self, info: Any) -> socket.socket:
        family, kind, protocol, *_ = info
        made = self._node.call(lambda: socket.socket(family, kind, protocol), NETWORK)
        made.setblocking(False)
        return made


def _unverified() -> ssl.SSLContext:
    """A proxied pod's certificate is not checked, as a real API server does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _forwarded(request: web.Request) -> Headers:
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in DROPPED]
    headers += [("X-Forwarded-For", request.remote or "127.0.0.1"), ("X-Forwarded-Uri", request.raw_path)]
    if request.content_length is not None and request.body_exists:
        headers.append(("Content-Length", str(request.content_length)))
    return headers


def _body(request: web.Request) -> Any:
    return request.content.iter_chunked(CHUNK) if request.body_exists else None


async def _pass_back(
    request: web.Request, answer: aiohttp.ClientResponse, prefix: str, url: URL
) -> web.StreamResponse:
    headers = [
        (name, located(value, prefix, url) if name.lower() == "location" else value)
        for name, value in answer.headers.items()
        if name.lower() not in HOP_BY_HOP
    ]
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_chunked(CHUNK):
            await response.write(chunk)
        await response.write_eof()
    except (ConnectionError, aiohttp.ClientError):  # too late for another answer
        if request.transport is not None:
            request.transport.abort()
    return response


def located(location: str, prefix: str, url: URL) -> str:
    """A redirect within the proxied server, as a path of the API server."""
    there = URL(location, encoded=True)
    if there.is_absolute() and there.origin() != url.origin():
        return location
    return prefix + url.join(there).raw_path_qs
