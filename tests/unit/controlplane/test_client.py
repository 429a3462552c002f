"""The command line's end: a server on a Unix socket and on TLS in a thread, and apply, delete and get against
it.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import apply, pki
from controlplane.api import API
from controlplane.apply import ManifestError, manifests
from controlplane.client import Client
from controlplane.errors import StatusError
from controlplane.http import make_app, serve
from controlplane.http.auth import credentials
from controlplane.service_allocation import ServiceAllocation

TOKEN = "correct-horse"
SHOP = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  ports: [{port: 80}]
  selector: {app: web}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: settings, namespace: shop}
  data: {colour: red, size: big}
"""
FILE = "shop.yaml"


class Server:
    """Where it listens, and the API behind it."""

    def __init__(self, folder: Path) -> None:
        self.api = API()
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        self.api.admit_with("Service", ServiceAllocation())
        self.path = folder / "api.sock"
        self.authority = pki.make_authority()
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(self.path))
        self.tcp = socket.socket()
        self.tcp.bind(("127.0.0.1", 0))
        for listening in (self.unix, self.tcp):
            listening.listen()
        self.port: int = self.tcp.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        certificate = pki.make_server(self.authority, ["127.0.0.1", "kubernetes.default"])
        app = make_app(self.api, auth=credentials(TOKEN))
        context = pki.server_context(self.authority, certificate)
        self._task = self._loop.create_task(serve(app, [self.unix, self.tcp], context))
        self._loop.run_until_complete(asyncio.gather(self._task, return_exceptions=True))
        self._loop.close()

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client.unix(server.path) as connected:
        yield connected


def test_apply_creates_changes_and_removes_what_was_ours(client: Client, server: Server) -> None:
    stored = apply.apply(client, manifests(SHOP, FILE))
    assert [obj["kind"] for obj in stored] == ["Namespace", "Service", "ConfigMap"]
    revision = server.api.store.revision
    apply.apply(client, manifests(SHOP, FILE))
    assert server.api.store.revision == revision, "applied again, nothing changes"
    server.api.patch("ConfigMap", "settings", "shop", {"data": {"other": "hand"}})
    apply.apply(client, manifests(SHOP.replace("colour: red, size: big", "colour: blue"), FILE))
    assert server.api.get("ConfigMap", "settings", "shop")["data"] == {"colour": "blue", "other": "hand"}


BAD = [
    (
        "port: 80}",
        "port: 70000}",
        "document 1: spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535",
    ),
    (
        "name: settings",
        "name: Set_tings",
        'document 3: metadata.name: Invalid value: "Set_tings": a lowercase RFC 1123',
    ),
    (
        "kind: ConfigMap",
        "kind: ConfigMop",
        'document 3: kind: no matches for kind "ConfigMop" in version "v1": did you mean ConfigMap of v1?',
    ),
    ("  data: {", "  dada: {", 'document 3: dada: unknown field: did you mean "data"?'),
    ("{name: settings,", "{", "document 3: metadata.name: Required value"),
    ("kind: Service", "kinds: Service", "document 1: kind: Required value"),
    (
        "name: settings, namespace: shop",
        "name: settings, namespace: none",
        'document 3: namespaces "none" not found',
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD, ids=[row[2][:50] for row in BAD])
def test_a_bad_object_is_told_in_one_line_with_its_place(
    client: Client, old: str, new: str, message: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        apply.apply(client, manifests(SHOP.replace(old, new), FILE))
    assert str(caught.value).startswith(f"{FILE}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "shop.yaml: line 1: did not find expected node content"),
        ("just text", "shop.yaml: document 1: line 1: want an object with apiVersion and kind"),
        (
            "apiVersion: v1\nkind: List\nitems: [1]",
            "shop.yaml: document 1: items: want objects with apiVersion and kind",
        ),
        ("apiVersion: v1\nkind: Pod", "shop.yaml: document 1: metadata.name: Required value"),
    ],
)
def test_text_that_is_no_manifest(text: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        manifests(text, FILE)
    assert str(caught.value) == message


def test_delete(client: Client, server: Server) -> None:
    found = manifests(SHOP.replace("shop", "default"), FILE)
    apply.apply(client, found)
    inside = [manifest for manifest in found if manifest.obj["kind"] != "Namespace"]
    home = "/api/v1/namespaces/default"
    assert apply.delete(client, inside) == [f"{home}/configmaps/settings", f"{home}/services/web"]
    assert apply.delete(client, inside) == []
    assert server.api.list("Service")[0] == []


@pytest.mark.parametrize("name", ["svc", "service", "Services", "services"])
def test_a_kind_is_found_by_any_of_its_names(client: Client, name: str) -> None:
    assert client.resource(name).path("shop", "web") == "/api/v1/namespaces/shop/services/web"


def test_an_unknown_kind(client: Client) -> None:
    assert client.resource("deployments.apps").kind == "Deployment"
    with pytest.raises(StatusError, match="the server doesn't have a resource type"):
        client.resource("pots")


def kubeconfig(server: Server, folder: Path, authority: pki.Credential, client: pki.Credential) -> Path:
    path = folder / "kubeconfig"
    path.write_text(pki.kubeconfig(f"https://127.0.0.1:{server.port}", authority, client))
    return path


def test_after_an_answer_that_did_not_come_the_next_request_is_answered(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is still on its way must not stand where the next one is expected."""

    def too_late(*_: object) -> None:
        raise TimeoutError("timed out")

    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPConnection, "getresponse", too_late)
        with pytest.raises(TimeoutError):
            client.request("GET", "/api/v1/namespaces/default")
    assert client.request("GET", "/api/v1/namespaces")["kind"] == "NamespaceList"


def test_tls_with_a_client_certificate(server: Server, tmp_path: Path) -> None:
    path = kubeconfig(server, tmp_path, server.authority, pki.make_client(server.authority))
    with Client.from_kubeconfig(path) as client:
        assert client.request("GET", "/api/v1/namespaces/default")["kind"] == "Namespace"
        assert {kind.plural for kind in server.api.kinds} <= {found.plural for found in client.resources()}


def test_strangers_stay_out(server: Server, tmp_path: Path) -> None:
    stranger = pki.make_authority("someone-else")
    path = kubeconfig(server, tmp_path, stranger, pki.make_client(stranger))
    with Client.from_kubeconfig(path) as client, pytest.raises(ssl.SSLCertVerificationError):
        client.request("GET", "/api")
    path = kubeconfig(server, tmp_path, server.authority, pki.make_client(stranger))
    with Client.from_kubeconfig(path) as client, pytest.raises((OSError, ssl.SSLError)):
        client.request("GET", "/api")


@pytest.mark.parametrize(("token", "code"), [(TOKEN, 200), ("wrong", 401), ("", 401)])
def test_bearer_token(server: Server, token: str, code: int) -> None:
    context = ssl.create_default_context(cadata=server.authority.certificate)
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=5)
    connection.request("GET", "/api", headers={"Authorization": f"Bearer {token}"} if token else {})
    assert connection.getresponse().status == code
    connection.close()


def test_a_file_that_is_no_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("a: b")
    with pytest.raises(ValueError, match="the file is no kubeconfig"):
        Client.from_kubeconfig(path)
