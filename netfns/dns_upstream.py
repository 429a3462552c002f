"""The way to other servers, for names that are not the cluster's.

    a name outside our zones --> the first server of resolv.conf --no answer in time--> the next --> … --> None
                                    | the answer is cut (TC)
                                    the same question over TCP

Invariants: an answer counts only from the address that was asked, with the question's ID and name; a server
is waited for, for a time that is bounded.

Sources: RFC 5452 (what makes an answer credible), RFC 7766 (TCP); CoreDNS's plugin forward.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.flags
import dns.message

WAIT = 2.0  # seconds for each upstream server


async def ask(servers: Sequence[str], query: dns.message.Message) -> dns.message.Message | None:
    """The first answer that one of the servers (addresses) gives; None when none does."""
    for address in servers:
        for exchange in (_over_udp, _over_tcp):
            query.id = secrets.randbelow(65536)
            try:
                async with asyncio.timeout(WAIT):
                    found = await exchange(address, query)
            except (OSError, EOFError, TimeoutError, dns.exception.DNSException):
                break
            if not found.flags & dns.flags.TC:
                return found
    return None


async def _over_udp(address: str, query: dns.message.Message) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect((address, 53))
        await loop.sock_sendall(client, query.to_wire())
        while True:
            wire = await loop.sock_recv(client, 4096)
            try:
                found = dns.message.from_wire(wire)
            except dns.exception.DNSException:
                continue  # not from whom we asked, or damaged: the time-out ends the wait
            if query.is_response(found):
                return found


async def _over_tcp(address: str, query: dns.message.Message) -> dns.message.Message:
    reader, writer = await asyncio.open_connection(address, 53)
    try:
        wire = query.to_wire()
        writer.write(len(wire).to_bytes(2) + wire)
        found = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
    finally:
        writer.close()
    if not query.is_response(found):
        raise OSError("an answer to another question")
    return found


def system_nameservers(path: Path) -> list[str]:
    """The name servers that a resolv.conf names; none when there is no such file."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line.split()[1] for line in lines if line.startswith("nameserver ") and len(line.split()) > 1]
