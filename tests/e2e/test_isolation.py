"""The sandbox has no path to the host: not for a packet, not for a program that is root in it.

every network of a lab (machines, pods, the switches' own)   only veth, bridge, vxlan and lo; the router has no way on
every file tree of a lab (machines, containers)              of the host's files only the lab's own folder is writable
every process of a lab                                       is not the host's root, and cannot turn the host's knobs
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import host
from tests.e2e.session import READY, RunningLab, User, place_of
from topo import rootfs

pytestmark = pytest.mark.e2e
KINDS = {"veth", "bridge", "vxlan"}
NOWHERE = ("198.51.100.7", "2001:db8:51::7")  # documentation addresses that no lab has: RFC 5737, RFC 3849
DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "tun"}
# Settings below /proc/sys that belong to a namespace of the lab, so that turning them turns nothing of the host's.
OF_A_NAMESPACE = re.compile(
    r"net/|user/|fs/mqueue/|fs/binfmt_misc/"
    r"|kernel/(hostname|domainname|msg\w+|sem\w*|shm\w+|auto_msgmni|ns_last_pid|pid_max|keys/\w+)$"
)
WRITABLE_SETTINGS = r"""
import os
for folder, _, names in os.walk("/proc/sys"):
    for name in names:
        try:
            os.close(os.open(f"{folder}/{name}", os.O_WRONLY))
        except OSError:
            continue
        print(f"{folder}/{name}"[len("/proc/sys/"):])
"""
SNIFF = r"""
import re, socket, sys
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
print("listening", flush=True)
seen = set()
while not any(word.startswith("stop") for word in seen):
    seen |= {word.decode() for word in re.findall(rb"<([-a-z0-9]+)>", packets.recv(4096))}
print(*sorted(seen))
"""
SEND = r"""
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(f"<{sys.argv[2]}>".encode(), (sys.argv[1], 4000))
"""


def python(script: str, *words: str) -> list[str]:
    return [sys.executable, "-c", script, *words]


def in_the_sandbox(lab: RunningLab, *argv: str) -> str:
    """What a command prints in the namespaces of the lab's first process, where the switches are."""
    who = [] if lab.user.uid == 0 else ["--preserve-credentials"]
    target = f"--target={lab.info()['pid']}"
    enter = ["nsenter", target, "--user", *who, "--net", "--mount", "--pid", "--", *argv]
    with lab.user.spawn(enter) as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    return out


def everywhere(lab: RunningLab) -> Iterator[tuple[str, Callable[..., str]]]:
    """Each place of a lab that has a network, and how to run something there."""
    yield "the switches", lambda *argv: in_the_sandbox(lab, *argv)
    machines = json.loads(lab.minipod("status", "-o", "json").stdout)["machines"]
    assert {"node/worker1", "router", "outside", "lb/lb1", "vm/vm1", "vm/vm2"} <= set(machines)
    for place in [*machines, *(place_of(pod) for pod in lab.ready_pods(2, "kube-system"))]:
        yield place, lambda *argv, place=place: lab.output(place, *argv)


def test_every_link_is_the_labs_own(either_lab: RunningLab) -> None:
    of_the_host = {
        link["address"] for link in json.loads(_host("ip", "-j", "link")) if link["ifname"] != "lo"
    }
    for place, run in everywhere(either_lab):
        links = json.loads(run("ip", "-j", "-details", "link"))
        kinds = {
            link["ifname"]: link.get("linkinfo", {}).get("info_kind")
            for link in links
            if link["link_type"] != "loopback"
        }
        assert set(kinds.values()) <= KINDS, f"{place}: {kinds}"
        assert not of_the_host & {link["address"] for link in links}, place


def test_no_link_or_route_of_the_host_is_changed_by_a_running_lab(
    me: User, fresh_lab: Callable[..., RunningLab]
) -> None:
    before = host.snapshot()
    fresh_lab(me)
    assert before.changes(host.snapshot()) == []


def test_no_route_leads_out(either_lab: RunningLab) -> None:
    for place, run in everywhere(either_lab):
        prefixes = [
            route["dst"]
            for family in ("-4", "-6")
            for route in json.loads(run("ip", "-j", family, "route") or "[]")
        ]
        if place in ("router", "the switches"):
            assert "default" not in prefixes, f"{place}: {prefixes}"
    for address in NOWHERE:
        found = either_lab.exec("router", "ip", "route", "get", address)
        assert (found.returncode, "unreachable" in found.stderr) == (2, True), found


def test_nobody_looks_for_routers_or_for_others_with_the_same_address(either_lab: RunningLab) -> None:
    for place, run in everywhere(either_lab):
        counts = dict(line.split() for line in run("cat", "/proc/net/snmp6").splitlines())
        assert counts["Icmp6OutRouterSolicits"] == "0", place
        links = json.loads(run("ip", "-j", "-6", "address"))
        tentative = [link["ifname"] for link in links for one in link["addr_info"] if one.get("tentative")]
        assert tentative == [], place
        if place == "the switches":
            assert {link["ifname"] for link in links if link["addr_info"]} <= {"lo"}


def test_a_packet_to_nowhere_ends_at_the_router(either_lab: RunningLab) -> None:
    places = ["node/worker1", "vm/vm2", "outside", place_of(either_lab.ready_pods(2, "kube-system")[0])]
    with _host_packets() as seen:
        for place in places:
            answer = either_lab.exec(place, "ping", "-c3", "-i0.3", "-W1", NOWHERE[0])
            # The router limits how often it says so, but of three packets one is answered.
            assert (answer.returncode, "Net Unreachable" in answer.stdout) == (1, True), (
                f"{place}: {answer.stdout}"
            )
        assert seen(NOWHERE[0]) == []


@contextlib.contextmanager
def _host_packets() -> Iterator[Callable[[str], list[bytes]]]:
    """What passes the host's own devices meanwhile: a function that gives the packets that name an address. Only root
    may look; anybody else gets none, and has the other tests.
    """
    if os.geteuid() != 0:
        yield lambda _: []
        return
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as packets:
        packets.setblocking(False)

        def naming(address: str) -> list[bytes]:
            found = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(packets.recv(4096))
            return [packet for packet in found if socket.inet_aton(address) in packet]

        yield naming


def test_root_of_the_lab_is_not_the_hosts_root(either_lab: RunningLab) -> None:
    first = either_lab.info()["pid"]
    ids = {first} | {process.pid for process in host.descendants(first)}
    assert len(ids) > 15
    for pid in ids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # ended meanwhile
        uids = re.search(r"^Uid:\t(.*)$", status, re.MULTILINE)
        assert uids, status
        assert "0" not in uids[1].split(), f"{pid}: {status.splitlines()[0]} {uids[0]}"
    for place, run in everywhere(either_lab):
        inside, outside, _ = run("cat", "/proc/self/uid_map").split()[:3]
        assert (inside, outside == "0") == ("0", False), place


def test_the_hosts_settings_cannot_be_turned(either_lab: RunningLab) -> None:
    for place in ("node/worker1", place_of(either_lab.ready_pods(2, "kube-system")[0])):
        writable = either_lab.output(place, *python(WRITABLE_SETTINGS)).split()
        assert "net/ipv4/ip_forward" in writable, place
        assert [key for key in writable if not OF_A_NAMESPACE.match(key)] == [], place
        trigger = either_lab.exec(place, "sh", "-c", "echo h > /proc/sysrq-trigger")
        assert trigger.returncode != 0, place


def test_the_hosts_files_are_out_of_reach(either_lab: RunningLab) -> None:
    devices = {line.split()[2] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    for place, run in everywhere(either_lab):
        for line in run("cat", "/proc/self/mountinfo").splitlines():
            _, _, device, root, target, options, *_ = line.split()
            if device not in devices or "ro" in options.split(","):
                continue
            is_state = target == "/run/minipod/state" and root.endswith(f"/{either_lab.name}")
            assert is_state or root.removeprefix("/net").strip("/") in DEVICES, f"{place}: {line}"
        assert either_lab_shadow(run) == ""


def either_lab_shadow(run: Callable[..., str]) -> str:
    """What of the host's password hashes can be read."""
    return run("sh", "-c", "cat /etc/shadow /proc/1/root/etc/shadow /proc/1/cwd/etc/shadow 2>/dev/null; true")


def test_code_and_python_are_sealed(either_lab: RunningLab) -> None:
    """They may belong to whoever started the lab, so that a remount by the lab's root must not open them."""
    sealed = {"/run/minipod/code", *rootfs.python_prefixes()}
    for place, run in everywhere(either_lab):
        mounts = [line.split() for line in run("cat", "/proc/self/mountinfo").splitlines()]
        options = {mount[4]: mount[-1].split(",") for mount in mounts if mount[4] in sealed}
        assert options.keys() == sealed, place
        assert all("ro" in found for found in options.values()), f"{place}: {options}"
    remount = "mount -o remount,rw,bind /run/minipod/code; touch /run/minipod/code/written"
    assert "Read-only file system" in either_lab.exec("node/worker1", "sh", "-c", remount).stderr


def test_a_pod_does_not_see_the_labs_folder(either_lab: RunningLab) -> None:
    pod = place_of(either_lab.ready_pods(2, "kube-system")[0])
    assert either_lab.exec(pod, "ls", "/run/minipod/state").returncode != 0


def test_labs_with_the_same_addresses_do_not_see_each_other(
    ordinary_lab: RunningLab, me: User, fresh_lab: Callable[..., RunningLab]
) -> None:
    first, second = ordinary_lab, fresh_lab(me)
    addresses = [lab.output("outside", "ip", "-br", "addr", "show", "eth0") for lab in (first, second)]
    assert addresses[0] == addresses[1]
    with _sniffer(first) as heard_in_first, _sniffer(second) as heard_in_second:
        for number in range(5):
            first.output("node/worker1", *python(SEND, "203.0.113.10", f"only-first-{number}"))
        first.output("node/worker1", *python(SEND, "203.0.113.10", "stop-first"))
        second.output("node/worker1", *python(SEND, "203.0.113.10", "stop-second"))
        assert heard_in_first() == {*(f"only-first-{number}" for number in range(5)), "stop-first"}
        assert heard_in_second() == {"stop-second"}


@contextlib.contextmanager
def _sniffer(lab: RunningLab) -> Iterator[Callable[[], set[str]]]:
    """Listen to every packet of the machine `outside` until one says stop; gives the words that were heard."""
    words = ["exec", "--name", lab.name, "outside", "--", *python(SNIFF)]
    with lab.user.start(*words, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        try:
            yield lambda: set(process.communicate(timeout=READY)[0].split())
        finally:
            process.kill()


def _host(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
