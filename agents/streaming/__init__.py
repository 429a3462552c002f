"""What kubectl streams to and from pods: the API server's subresources that need a kubelet.

    kubectl logs ─────────> logs, log_reader                      a container's log (topo.container_log)
    kubectl exec, cp ─────> commands, remote_command              a process in a container's namespaces
    kubectl attach, run -i > commands, remote_command             the container's own program
    kubectl port-forward ─> port_forward                          a socket in the pod's network
    …/proxy/… ────────────> proxy                                 a socket in the control-plane node's network

    connection     an HTTP connection becomes a WebSocket, or SPDY      channels   the streams of a remote command
    spdy_session   many streams on one connection                       spdy       its frames

A client can hold a connection, a process and a few descriptors, each with bounded buffers; all of it goes when the
connection does.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from agents.kubelet import Kubelet
from agents.streaming.commands import CommandHandler
from agents.streaming.logs import LogHandler
from agents.streaming.pods import Pods
from agents.streaming.port_forward import PortForwardHandler
from agents.streaming.proxy import ProxyHandler
from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.http import Handler, Target
from topo.enter import Namespaces

MOST_CONNECTIONS = 1000  # at a time; each holds a few of the supervisor's descriptors


def handlers(api: API, kubelets: Mapping[str, Kubelet], node: Namespaces) -> dict[tuple[str, str], Handler]:
    """The handlers for controlplane.http.make_app. `node`: the namespaces of the control-plane node."""
    pods = Pods(api, kubelets)
    limited = Limited(MOST_CONNECTIONS)
    return {
        ("pods", "log"): limited.handler(LogHandler(pods), "GET"),
        ("pods", "exec"): limited.handler(CommandHandler(pods), "GET", "POST"),
        ("pods", "attach"): limited.handler(CommandHandler(pods, attach=True), "GET", "POST"),
        ("pods", "portforward"): limited.handler(PortForwardHandler(pods), "GET", "POST"),
        ("pods", "proxy"): limited.handler(ProxyHandler(api, node)),
        ("services", "proxy"): limited.handler(ProxyHandler(api, node, services=True)),
    }


class Limited:
    """Counts what is being streamed, and refuses more than `most` at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 0

    def handler(self, handler: Handler, *methods: str) -> Handler:
        """`handler`, counted, and only for some methods; none given: all."""

        async def counted(request: web.Request, target: Target) -> web.StreamResponse:
            if methods and request.method not in methods:
                raise StatusError(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
                )
            if self._now >= self._most:
                raise StatusError(
                    429, "TooManyRequests", "too many streams are open: end some of them and try again"
                )
            self._now += 1
            try:
                return await handler(request, target)
            finally:
                self._now -= 1

        return counted
