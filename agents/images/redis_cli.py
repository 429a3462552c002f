"""redis-cli: one command to a redis server, its reply as text. Source:
https://redis.io/docs/latest/develop/tools/cli/.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from agents.images.process import STDERR, write
from agents.images.resp import Failure, ProtocolError, Reply, Status, encode_request, take_reply

_SECONDS = 5.0
_WITH_VALUE = {"-h": "host", "-p": "port", "-a": "password", "-n": "database"}
_ALONE = ("--no-auth-warning", "--raw", "--no-raw", "-3", "--tls")


def main(argv: Sequence[str]) -> int:
    """Send the command (or each line of stdin). Exit status 1 without a connection, or on an error reply with
    -e.
    """
    options = {"host": "127.0.0.1", "port": "6379", "password": os.environ.get("REDISCLI_AUTH", "")}
    words, fail = list(argv[1:]), False
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in _WITH_VALUE and words:
            options[_WITH_VALUE[word]] = words.pop(0)
        elif word == "-e":
            fail = True
        elif word not in _ALONE:
            write(f"Unrecognized option or bad number of args for: '{word}'\n", STDERR)
            return 1
    commands = [words] if words else [line.split() for line in sys.stdin if line.strip()]
    if options["password"]:
        commands.insert(0, ["AUTH", options["password"]])
    try:
        replies = ask(options["host"], int(options["port"]), commands)
    except (OSError, ProtocolError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        write(f"Could not connect to Redis at {options['host']}:{options['port']}: {why}\n", STDERR)
        return 1
    replies = replies[1:] if options["password"] and replies[0] == "OK" else replies
    write("".join(f"{show(reply)}\n" for reply in replies))
    return 1 if fail and any(isinstance(reply, Failure) for reply in replies) else 0


def ask(host: str, port: int, commands: Sequence[list[str]]) -> list[Reply]:
    """The replies to some commands over one connection. Raises OSError, ProtocolError."""
    replies: list[Reply] = []
    with socket.create_connection((host, port), _SECONDS) as sock:
        for command in commands:
            sock.sendall(encode_request(command))
            data = b""
            while (taken := take_reply(data)) is None:
                chunk = sock.recv(65536)
                if not chunk:
                    raise ProtocolError("Server closed the connection")
                data += chunk
            replies.append(taken[0])
    return replies


def show(reply: Reply) -> str:
    """A reply as redis-cli prints it into a pipe: bare."""
    if reply is None:
        return ""
    if isinstance(reply, Status | Failure):
        return str(reply)
    if isinstance(reply, list):
        return "\n".join(show(item) for item in reply)
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
