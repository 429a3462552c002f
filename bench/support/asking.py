"""Within a sandbox: our DNS server and dnsmasq with the same records, asked the same questions in turn.

Run as `python -m bench.support.asking SERVICES SECONDS`.
"""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from bench.support.common import compiled, tell
from netfns.dns import ClusterNames, NamedPort, NamedService, render, render_change
from netfns.dns_zones import Record, parse

LOAD = Path(__file__).with_name("dnsload.c")
WINDOW = 32  # questions on their way
ROUNDS = 5  # changes
PATIENCE = 20.0  # seconds
OURS, DNSMASQ = 5300, 5301  # ports


def main() -> None:
    """Measure both servers; tell the figures."""
    count, seconds = int(sys.argv[1]), sys.argv[2]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    names = cluster(count)
    questions = b"".join(len(q).to_bytes(2) + q for q in mix(names))
    results = {}
    with tempfile.TemporaryDirectory() as place:
        program = compiled(LOAD, Path(place))
        if program is None:
            raise RuntimeError("no C compiler (cc)")
        for port, start in ((OURS, our_server), (DNSMASQ, dnsmasq)):
            with start(Path(place), names) as (server, change):
                until(port, "s0.default.svc.cluster.local.", "10.100.0.0")
                first, then = (load(program, port, time_, questions) for time_ in ("0", seconds))
                changes = [changed(port, change, number) for number in range(ROUNDS)]
                results[start.__name__] = {
                    "first": first, "then": then, "change": sorted(changes)[ROUNDS // 2], "memory": resident(server)
                }  # fmt: skip
    tell(results)


def cluster(count: int) -> ClusterNames:
    """Services with an address and a named port each."""
    services = (service(f"s{number}", 10 * 2**24 + 100 * 2**16 + number) for number in range(count))
    return ClusterNames("cluster.local", ("10.96.0.10",), ("10.0.0.0/8",), tuple(services))


def service(name: str, address: int) -> NamedService:
    """One of them."""
    text = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
    return NamedService("default", name, (text,), (NamedPort("http", "TCP", 80),))


def mix(names: ClusterNames) -> list[bytes]:
    """What pods ask: of ten questions six for an address, two for one of the other family, one for a name that a
    search path makes up, one for a port or the way back. Each in wire form, in an order that is always the same.
    """
    asked = []
    for number, each in enumerate(names.services):
        name = f"{each.name}.default.svc.cluster.local."
        back = ".".join(reversed(each.cluster_ips[0].split("."))) + ".in-addr.arpa."
        rare = (f"_http._tcp.{name}", "SRV") if number % 2 else (back, "PTR")
        asked += [(name, "A")] * 6 + [(name, "AAAA")] * 2 + [(f"{name}default.svc.cluster.local.", "A"), rare]
    random.Random(1).shuffle(asked)
    return [dns.message.make_query(name, kind).to_wire() for name, kind in asked]


@contextmanager
def our_server(place: Path, names: ClusterNames) -> Iterator[tuple[int, Callable[[Record], None]]]:
    """The server of kube-dns pods: its process and how a record is added."""
    folder = place / "ours"
    folder.mkdir()
    zone = folder / "cluster.zone"
    zone.write_text(render(names))
    nothing = replace(names, services=())

    def change(record: Record) -> None:
        with zone.open("a") as file:
            new = NamedService("default", record.name.partition(".")[0], (record.data,))
            file.write(render_change(nothing, replace(nothing, services=(new,))))

    options = ["-conf", str(folder / "Corefile"), "-dns.port", str(OURS), "--no-forward", "--report-ports"]
    with running([sys.executable, "-m", "netfns.dns_server", *options]) as pid:
        yield pid, change


@contextmanager
def dnsmasq(place: Path, names: ClusterNames) -> Iterator[tuple[int, Callable[[Record], None]]]:
    """Dnsmasq with the same records; one is added in a hosts file, which it reads again when told so."""
    folder = place / "dnsmasq"
    folder.mkdir()
    hosts = folder / "hosts"
    config = folder / "config"
    found = itertools.chain.from_iterable(kinds.values() for kinds in parse(render(names)).records.values())
    records = [record for records in found for record in records]
    config.write_text("".join(dnsmasq_line(record) for record in records if record.type == "SRV"))
    # Addresses, and with them the way back, where dnsmasq finds them fastest.
    hosts.write_text("".join(f"{r.data} {r.name.rstrip('.')}\n" for r in records if r.type == "A"))
    program = shutil.which("dnsmasq", path=f"{os.environ['PATH']}:/usr/sbin") or "dnsmasq"
    fixed = [
        "-k",
        f"--port={DNSMASQ}",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
        "--pid-file=",
        "--local-ttl=5",
    ]
    argv = [
        program,
        *fixed,
        "--local=/local/",
        "--local=/in-addr.arpa/",
        f"-C{config}",
        f"--addn-hosts={hosts}",
    ]
    with running(argv) as pid:

        def change(record: Record) -> None:
            with hosts.open("a") as file:
                file.write(f"{record.data} {record.name.rstrip('.')}\n")
            os.kill(pid, signal.SIGHUP)

        yield pid, change


def dnsmasq_line(record: Record) -> str:
    """A SRV record as dnsmasq's configuration has it."""
    priority, weight, port, target = record.data.split()
    return f"srv-host={record.name.rstrip('.')},{target.rstrip('.')},{port},{priority},{weight}\n"


@contextmanager
def running(argv: list[str]) -> Iterator[int]:
    """A process that ends with the block."""
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def load(program: Path, port: int, seconds: str, questions: bytes) -> float:
    """Answers a second. Raises RuntimeError when one was an error."""
    done = subprocess.run(
        [program, str(port), seconds, str(WINDOW)], input=questions, capture_output=True, check=True
    )
    answers, errors, lost, took = done.stdout.split()
    if int(errors) or int(lost) > WINDOW:
        raise RuntimeError(f"port {port}: {int(errors)} answers were errors, {int(lost)} questions lost")
    return int(answers) / float(took)


def changed(port: int, change: Callable[[Record], None], number: int) -> float:
    """Seconds from a record's coming to the first answer that has it."""
    name, address = f"new{number}.default.svc.cluster.local.", f"10.99.0.{number + 1}"
    begun = time.perf_counter()
    change(Record(name, "A", address))
    until(port, name, address)
    return time.perf_counter() - begun


def until(port: int, name: str, address: str) -> None:
    """Ask until the name has the address. Raises TimeoutError."""
    query, deadline = dns.message.make_query(name, "A"), time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            answer = dns.query.udp(query, "127.0.0.1", port=port, timeout=1.0).answer
        except (OSError, dns.exception.DNSException):
            continue
        if answer and address in [record.to_text() for record in answer[0]]:
            return
    raise TimeoutError(f"{name} at port {port}: not {address} within {PATIENCE:.0f} s")


def resident(pid: int) -> int:
    """KiB that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
