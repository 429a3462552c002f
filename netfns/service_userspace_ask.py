"""Speaks with the proxy of this network namespace, and starts it where none runs (proxy mode `userspace`).

    service_userspace_ask.py serve < lines      tell it what to serve; starts it
    service_userspace_ask.py show|ping|stop     what it serves; its process id; end it

The proxy is found under an abstract socket's name: such a name belongs to the network namespace, and goes with it.
Standard library only and little of it, for it is started by its path at each change.

Exit status 0; 1, and why on stderr, when the proxy refuses or none runs; 2 for another word.
Source: unix(7), abstract sockets.
"""

import os
import socket
import sys

NAME = b"\0minipod/service-userspace"
CODE = __file__.rpartition("/netfns/")[0]
WORK = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    "from netfns.service_userspace_worker import main; main(int(sys.argv[2]))"
)


def main(argv: list[str]) -> int:
    """Ask, and print the answer."""
    word = argv[1] if len(argv) == 2 else ""
    if word not in ("serve", "show", "ping", "stop"):
        sys.stderr.write(__doc__ or "")
        return 2
    lines = sys.stdin.read() if word == "serve" else ""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(NAME)
        except ConnectionRefusedError:
            if word != "serve":
                sys.stderr.write("" if word == "stop" else "no proxy runs here\n")
                return 0 if word == "stop" else 1
            start()
            client.connect(NAME)
        client.sendall(f"{word}\n{lines}".encode())
        client.shutdown(socket.SHUT_WR)
        with client.makefile() as answers:
            status, *shown = answers.readlines() or ["the proxy ended\n"]
    if status != "ok\n":
        sys.stderr.write(status)
        return 1
    sys.stdout.write("".join(shown))
    return 0


def start() -> None:
    """Start the proxy with a socket that listens already; who comes second finds the first."""
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            listening.bind(NAME)
        except OSError:
            return
        listening.listen()
        if os.fork():
            return
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        listening.set_inheritable(True)
        os.execv(sys.executable, [sys.executable, "-I", "-c", WORK, CODE, str(listening.fileno())])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
