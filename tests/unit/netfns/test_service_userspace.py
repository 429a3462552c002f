"""The userspace mode's text, and its proxy over the loopback. Rows with packets are in tests/kernel/test_service.py."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from netfns.service_types import LOCAL, Endpoint, Service, ServicePort, ServiceProxy, frontends
from netfns.service_userspace import MARK, PORTS, render
from netfns.service_userspace_proxy import Port
from netfns.service_userspace_worker import Proxy
from tests.golden.cases import PROXY, WEB


def lines(desired: ServiceProxy) -> dict[str, str]:
    """The proxy's lines: what follows the port, by port."""
    found = [line.removeprefix(MARK) for line in render(desired).splitlines() if line.startswith(MARK)]
    return dict(line.split(" ", 1) for line in found)


def test_every_frontend_with_endpoints_has_a_port_of_its_own() -> None:
    found = lines(PROXY)
    every = [f for service in PROXY.services for f in frontends(PROXY, service)]
    assert len(found) == sum(bool(frontend.endpoints) for frontend in every)
    assert all(int(port) in PORTS for port in found)
    assert list(found.values()).count("TCP default/web:http -> 10.244.1.2:8080 10.244.2.2:8080") == 2
    assert "TCP default/web:http -> [fd00:244:0:2::2]:8080" in found.values()


def test_ports_stay_when_others_come_and_go() -> None:
    alone = lines(replace(PROXY, services=(WEB,)))
    assert alone.items() <= lines(PROXY).items()


def test_pods_choose_from_all_where_the_world_chooses_from_local_ones() -> None:
    here, there = Endpoint("10.244.1.2", 80, "worker1"), Endpoint("10.244.2.2", 80, "worker2")
    port = ServicePort("http", "TCP", 80, 30080, (here, there), (here,))
    web = Service("default", "web", ("10.96.0.20",), (port,), external_traffic_policy=LOCAL)
    found = sorted(lines(replace(PROXY, services=(web,))).values())
    local, every = (
        "TCP default/web:http -> 10.244.1.2:80",
        "TCP default/web:http -> 10.244.1.2:80 10.244.2.2:80",
    )
    assert found == [local, every, every]


def test_sctp_is_refused_for_no_proxy_speaks_it() -> None:
    port = ServicePort("x", "SCTP", 80, 0, (Endpoint("10.244.1.2", 80),))
    text = render(replace(PROXY, services=(Service("default", "x", ("10.96.0.50",), (port,)),)))
    assert MARK not in text
    assert '10.96.0.50 . sctp . 80 comment "default/x:x"\n' in text.partition("set refused")[2]


def test_a_line_is_read_as_it_is_written() -> None:
    line = "# proxy 10001 UDP default/x:80 -> 10.0.0.1:53 [fd00::1]:54 affinity 60 from 10.0.0.0/8,fd00::/8"
    key, port = Port.parse(line)
    assert (key, port.endpoints, port.affinity) == ((10001, "UDP"), [("10.0.0.1", 53), ("fd00::1", 54)], 60)
    assert port.admits("10.1.1.1")
    assert not port.admits("192.0.2.1")
    with pytest.raises(ValueError, match="want `# proxy PORT"):
        Port.parse("# proxy x TCP default/x:80 -> 10.0.0.1:53")


def test_turns_and_affinity() -> None:
    _, port = Port.parse("# proxy 10001 TCP default/x:80 -> 10.0.0.1:1 10.0.0.2:2")
    firsts = [port.choose("a")[0][1] for _ in range(4)]
    assert sorted(firsts) == [1, 1, 2, 2]
    _, port = Port.parse("# proxy 10001 TCP default/x:80 -> 10.0.0.1:1 10.0.0.2:2 affinity 60")
    port.took("a", ("10.0.0.2", 2))
    assert {port.choose("a")[0][1] for _ in range(4)} == {2}
    assert {port.choose("b")[0][1] for _ in range(4)} == {1, 2}


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.asynccontextmanager
async def tcp_server(answer: bytes) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer + await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


def test_bytes_are_copied_both_ways_and_the_dead_are_passed_over() -> None:
    async def story() -> None:
        proxy, front, dead = Proxy(), free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)
        async with tcp_server(b"one ") as one, tcp_server(b"two ") as two:
            line = f"# proxy {front} TCP default/x:80 -> 127.0.0.1:{one} 127.0.0.1:{dead}\n"
            await proxy.serve(line)
            assert [await ask(front) for _ in range(3)] == [b"one hello"] * 3
            await proxy.serve(line.replace(f":{one} ", f":{two} "))
            assert await ask(front) == b"two hello"
            await proxy.serve(f"# proxy {front} TCP default/x:80 -> 127.0.0.1:{dead}\n")
            assert await ask(front) == b"reset"
            await proxy.serve(f"# proxy {front} TCP default/x:80 -> 127.0.0.1:{one} from 192.0.2.0/24\n")
            assert await ask(front) == b"reset"

    asyncio.run(story())


def test_datagrams_come_back_from_the_address_that_was_asked() -> None:
    async def story() -> None:
        loop, proxy, front = asyncio.get_running_loop(), Proxy(), free_port(socket.SOCK_DGRAM)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            for one in (server, client):
                one.setblocking(False)
            server.bind(("127.0.0.1", 0))
            await proxy.serve(f"# proxy {front} UDP default/x:53 -> 127.0.0.1:{server.getsockname()[1]}\n")
            client.connect(("127.0.0.2", front))
            client.send(b"question")
            async with asyncio.timeout(5):
                data, peer = await loop.sock_recvfrom(server, 100)
                assert data == b"question"
                server.sendto(b"answer", peer)
                assert await loop.sock_recv(client, 100) == b"answer"

    asyncio.run(story())
