"""Connections that are made in somebody's network and used in this process' event loop.

    Namespaces.call ── socket() ──> a socket of their network ── connect, TLS, streams ──> here

A socket belongs to the network namespace that it was made in, for good; no thread has to stay there.

Sources: network_namespaces(7), asyncio's streams.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from topo.enter import NETWORK, Namespaces

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(namespaces: Namespaces, host: str, port: int) -> socket.socket:
    """A connected socket of a network. Raises OSError, whose strerror tells what a Go program would say."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connection = namespaces.call(lambda: socket.socket(family, socket.SOCK_STREAM), NETWORK)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
    except OSError as error:
        connection.close()
        why = (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)).lower()
        raise OSError(error.errno, f"dial tcp {authority(host, port)}: connect: {why}") from None
    except BaseException:
        connection.close()
        raise
    return connection


@asynccontextmanager
async def streams(
    namespaces: Namespaces, host: str, port: int, tls: ssl.SSLContext | None = None, server_name: str = ""
) -> AsyncIterator[Streams]:
    """The two directions of a connection (over TLS, given a context), dropped at the block's end. Raises OSError."""
    connection = await connect(namespaces, host, port)
    name = server_name if tls is not None else None
    reader, writer = await asyncio.open_connection(sock=connection, ssl=tls, server_hostname=name)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def authority(host: str, port: int) -> str:
    """Host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
