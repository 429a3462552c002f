"""The table of stand-ins: a short name and the function that plays the program.

A stand-in is `function(argv) -> exit status`; argv[0] is the program's name as in any main(). It is called in
a process of its own that sits in the container already (namespaces, root, working directory, environment),
with stdout and stderr being the container's log.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

Main = Callable[[Sequence[str]], int]

# The catalogue's word -> "module:function".
STANDINS: dict[str, str] = {
    "agnhost": "agents.images.agnhost:main",
    "coredns": "netfns.dns_server:main",
    "echoserver": "agents.images.echoserver:main",
    "generic": "agents.images.generic:main",
    "hello-app": "agents.images.hello_app:main",
    "http-echo": "agents.images.http_echo:main",
    "httpd": "agents.images.httpd:main",
    "nc": "agents.images.netcat:main",
    "nginx": "agents.images.nginx:main",
    "nslookup": "agents.images.nslookup:main",
    "pause": "agents.images.pause:main",
    "port-open": "agents.images.port_open:main",
    "redis-cli": "agents.images.redis_cli:main",
    "redis-server": "agents.images.redis_server:main",
    "wget": "agents.images.wget:main",
    "whoami": "agents.images.whoami:main",
}
# What agnhost's sub-commands import on first use.
_LATER = ("agnhost_files", "connect", "guestbook", "netexec", "porter", "serve_hostname", "tcp_reset")
_WARM_UPS = 16  # CPython adapts a function after eight calls


def load(standin: str) -> Main:
    """The function behind "module:function".

    Raises:
        ImportError: no such module.
        AttributeError: no such function in it.
    """
    module, _, function = standin.partition(":")
    main: Main = getattr(sys.modules.get(module) or importlib.import_module(module), function)
    return main


def preload() -> None:
    """Make this process a good parent for stand-ins: everything imported, the usual path of code run a few
    times.

    A page that a forked process touches is its own, and code that the interpreter has not adapted yet is
    touched more: without the warm-up an idle server has 300 KiB more of its own. For the same reason the
    parent should not import `threading` (nor what brings it: subprocess, asyncio, logging): its work after a
    fork costs 440 KiB. Call gc.freeze() afterwards.
    """
    for standin in STANDINS.values():
        if standin.startswith("agents.images."):
            load(standin)
    for module in _LATER:
        importlib.import_module(f"agents.images.{module}")
    netexec = importlib.import_module("agents.images.netexec")
    for _ in range(_WARM_UPS):
        netexec.warm_up()
