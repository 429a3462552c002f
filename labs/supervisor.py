"""The supervisor: the first process of a lab's sandbox. When it ends, the lab ends.

    launch ──lifeline──> supervisor: build the cluster, open the doors, wait until all is Ready, say so
           <─progress──             then serve until it is killed

The lifeline carries lines: {"progress": …}, {"ready": …} or {"error": …} out; `keep` in. Until `keep` has come, the
other end's end is this process's end, at whatever it may be doing: a thread watches for it.
"""

import asyncio
import gc
import json
import logging
import os
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents import streaming
from agents.seat_process import SeatError
from agents.seats import StudentFile
from controlplane import pki
from controlplane.http import make_app, serve
from controlplane.http.auth import credentials
from controlplane.http.tokens import token_handler
from controlplane.meta import now as timestamp
from controlplane.resume import renew
from labs import objects
from labs.cluster import Cluster
from labs.cluster_file import ClusterConfig
from labs.control import ControlServer
from labs.errors import LabError
from labs.state import NETFNS
from topo import plan, preflight, rootfs, syscalls
from topo.enter import NETWORK

READY_TIMEOUT = 120.0
STATE = Path(rootfs.STATE)
_DESCRIPTORS = 1 << 13  # six for each pod of one container
log = logging.getLogger(__name__)


class Lifeline:
    """The supervisor's end of the lifeline."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        os.set_inheritable(descriptor, False)
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def tell(self, **message: Any) -> None:
        """Send one line; an end that is gone is the watching thread's business."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return

    def _watch(self) -> None:
        try:
            kept = self._socket.recv(16) == b"keep\n"
        except OSError:  # ECONNRESET: the other end died with a line unread
            kept = False
        if not kept:
            os._exit(1)


async def supervise(config: ClusterConfig, settings: dict[str, Any], lifeline: Lifeline) -> None:
    """Build the lab and serve it until killed. Raises LabError when the system lacks something."""
    config = await asyncio.to_thread(_possible, config, lifeline)
    ipv6 = plan.IPV6 in config.ip_families
    if lacking := await asyncio.to_thread(preflight.lacking, config.proxy_mode, ipv6):
        raise LabError("; ".join(lacking))
    store = objects.open_store(STATE, settings["resume"], lambda text: lifeline.tell(progress=text))
    cluster = Cluster(config, lambda text: lifeline.tell(progress=text), store)
    if settings["resume"]:
        renew(cluster.api)
    await cluster.build()
    await _fill_seats(cluster)
    app, sockets, context = _api_server(cluster, settings)
    control = ControlServer(cluster, socket.socket(fileno=settings["control"]))
    async with asyncio.TaskGroup() as group:
        group.create_task(cluster.run())
        group.create_task(serve(app, sockets, context))
        group.create_task(control.run())
        await asyncio.wait_for(until_ready(cluster, lifeline), READY_TIMEOUT)
        gc.freeze()
        lifeline.tell(ready={"since": timestamp()})


def _possible(config: ClusterConfig, lifeline: Lifeline) -> ClusterConfig:
    """`config`, without IPv6 where the kernel has none; the one who waits is told."""
    lacking = preflight.ipv6_lacking() if plan.IPV6 in config.ip_families else ""
    if not lacking:
        return config
    lifeline.tell(progress=f"warning: {lacking}: this lab has IPv4 only")
    return replace(config, ip_families=(plan.IPV4,))


async def _fill_seats(cluster: Cluster) -> None:
    """Give seats to the files that `minipod up --netfn` has put beside the lab. Raises LabError."""
    try:
        files = json.loads((STATE / NETFNS).read_text())
        await cluster.seats.begin({seat: StudentFile(**file) for seat, file in files.items()})
    except FileNotFoundError:
        return
    except SeatError as error:
        raise LabError(str(error)) from None


def _api_server(cluster: Cluster, settings: dict[str, Any]) -> tuple[Any, list[socket.socket], Any]:
    """The API's application, its sockets (on the host and at the control-plane node) and its certificates."""
    authority, key = cluster.authority, cluster.key
    families = cluster.config.ip_families
    node = plan.spots(cluster.config.workers)[0].addresses(families)
    services = [str(plan.RANGES[family].api_service) for family in families]
    names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    hosts = [*names, "localhost", "127.0.0.1", *node, str(plan.API_ADDRESS), *services]
    context = pki.server_context(authority, pki.make_server(authority, hosts))
    on_host, unix = (socket.socket(fileno=settings[name]) for name in ("api_tcp", "api_unix"))
    kubeconfig = STATE / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    url = f"https://127.0.0.1:{on_host.getsockname()[1]}"
    kubeconfig.write_text(pki.kubeconfig(url, authority, pki.make_client(authority), settings["name"]))

    def at_the_node() -> list[socket.socket]:
        return [_listen(address) for address in node]

    at_node = cluster.machine(plan.CONTROL_PLANE).namespaces.call(at_the_node, NETWORK)
    node_namespaces = cluster.machine(plan.CONTROL_PLANE).namespaces
    streams = streaming.handlers(cluster.api, cluster.kubelets, node_namespaces)
    handlers = {**streams, ("serviceaccounts", "token"): token_handler(cluster.api, key)}
    app = make_app(cluster.api, auth=credentials(key), handlers=handlers)
    return app, [unix, on_host, *at_node], context


def _listen(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, plan.API_PORT), family=family, backlog=128)


async def until_ready(cluster: Cluster, lifeline: Lifeline) -> None:
    """Return when every node is Ready and the cluster's DNS is available."""
    told = ""
    while True:
        nodes, _ = cluster.api.list("Node")
        ready = sum(_holds(node, "Ready") for node in nodes)
        dns = cluster.api.get("Deployment", "coredns", "kube-system")
        available = (dns.get("status") or {}).get("availableReplicas", 0)
        wanted = dns["spec"]["replicas"]
        text = f"{ready} of {len(cluster.kubelets)} nodes Ready, {available} of {wanted} DNS servers"
        if text != told:
            lifeline.tell(progress=text)
            told = text
        if ready == len(cluster.kubelets) and available >= wanted:
            return
        await asyncio.sleep(0.02)


def _holds(obj: dict[str, Any], condition: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == condition and c["status"] == "True" for c in conditions)


def main() -> int:
    """`python -m labs.supervisor SETTINGS`: settings as JSON, see labs.launch."""
    syscalls.expect_descriptors(_DESCRIPTORS)
    lifeline = Lifeline(int(os.environ.pop("MINIPOD_LIFELINE")))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    settings = json.loads(sys.argv[1])
    syscalls.set_process_name("minipod")
    # Nearly every object lives as long as the lab or dies at once: looking through all of them seldom pays.
    gc.set_threshold(200_000, 20, 100)
    try:
        asyncio.run(supervise(ClusterConfig.from_json(settings["config"]), settings, lifeline))
    except BaseException as error:
        log.exception("the lab ends")
        lifeline.tell(error=_one_line(error))
        return 1
    return 0


def _one_line(error: BaseException) -> str:
    """The first cause of an error, told in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"not Ready after {READY_TIMEOUT:.0f} s: see the lab's log"
    if isinstance(error, LabError):
        return str(error)
    return f"{type(error).__name__}: {error}: see the lab's log".splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
