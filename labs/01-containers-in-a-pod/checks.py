"""Containers in a pod: each answer is acted upon, and what happens decides.

pair:  server ─┐ lo, eth0, ports: one network namespace        twice:  first  ─┐ port 8080
       visitor ┘ emptyDir: /shared = /from-server                      second ─┘
"""

import errno
import socket
from secrets import token_hex

import pytest

from labs.check.subjects import until
from labs.checking.probe import body

KINDS = ("net", "uts", "ipc", "pid", "mnt")


def answer(student, probe, key):
    """The student's answer; a check without one fails."""
    given = str(student.answers.get(key, ""))
    probe.expect(given, f"an answer: {key}", "none yet")
    return given


def port(student, probe, key):
    """An answer that is a port."""
    given = answer(student, probe, key)
    number = int(given) if given.isascii() and given.isdigit() else 0
    probe.expect(1024 <= number <= 65535, f"{key}: a port from 1024 to 65535", given)
    return number


def listen(lab, number):
    """A socket of the pod pair that listens at a port, or the error of it."""
    sock = lab.lab.socket("pod/pair", socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.bind(("0.0.0.0", number))
        sock.listen()
        return sock, 0
    except OSError as error:
        sock.close()
        return None, error.errno


@pytest.mark.points(20)
@pytest.mark.guide("Step 2")
@pytest.mark.hint(
    "`minipod exec -c visitor pod/pair -- ip addr`: which addresses are there, and which of them is on lo?",
    "A process listens in a network namespace, not in a container. What is 127.0.0.1 there?",
)
def test_localhost(lab, pod, probe, student):
    """The two containers reach each other, and the packet never sees eth0."""
    given = answer(student, probe, "localhost")
    pair = pod("pair")
    address, _, number = given.rpartition(":")
    probe.expect(address and number.isdigit(), "localhost: ADDRESS:PORT", given)
    with lab.lab.capture(pair.machine) as capture:
        name = body(probe.get(pair, address.strip("[]"), int(number)))
        leaving = len(capture.packets(lambda p: bytes(p).find(b"GET /hostname") >= 0))
    probe.expect(name == "pair", "an answer of the pod itself", name or "no answer")
    probe.expect(not leaving, "no such packet at eth0", f"{leaving} packets at eth0")


@pytest.mark.points(15)
@pytest.mark.guide("Step 3")
@pytest.mark.hint("Which ports does server listen at? `minipod exec -c server pod/pair -- netstat -tln`")
def test_taken_port(lab, pod, probe, student):
    """A port that one container has is taken for the other one, too."""
    number = port(student, probe, "taken_port")
    pod("pair")
    sock, error = listen(lab, number)
    if sock:
        sock.close()
    probe.note(f"listened at port {number} in the pod")
    probe.expect(
        error == errno.EADDRINUSE, "address already in use", errno.errorcode.get(error, "it listens")
    )


@pytest.mark.points(15)
@pytest.mark.guide("Step 3")
@pytest.mark.hint("Any port that nobody in the pod has. `minipod exec -c visitor pod/pair -- netstat -tln`")
def test_free_port(lab, pod, probe, student):
    """Another port is free, and who listens there is reached on localhost."""
    number = port(student, probe, "free_port")
    pair = pod("pair")
    sock, error = listen(lab, number)
    probe.note(f"listened at port {number} in the pod")
    probe.expect(sock, "it listens", errno.errorcode.get(error, "it does not"))
    with sock:
        outcome = probe.get(pair, "127.0.0.1", number, wait=0.2)
    probe.expect(outcome.verdict == "connected", f"a connection to 127.0.0.1:{number}")


@pytest.mark.points(10)
@pytest.mark.guide("Step 3")
@pytest.mark.hint(
    "`minipod kubectl get pod twice` and `minipod kubectl logs twice -c first`: who got the port?"
)
def test_who_fails(lab, probe, student):
    """Of two containers that want one port, this one ends with “address already in use”."""
    given = answer(student, probe, "fails")

    def failing():
        [twice] = [p for p in lab.objects("Pod") if p["metadata"]["name"] == "twice"]
        found = {}
        for status in twice["status"].get("containerStatuses") or ():
            for state in (status.get("state") or {}, status.get("lastState") or {}):
                message = (state.get("terminated") or {}).get("message", "")
                if "address already in use" in message:
                    found[status["name"]] = message.strip().splitlines()[-1]
        return found

    found = until(failing, "a container of the pod twice that fails")
    probe.note("read how the containers of the pod twice have ended")
    told = "; ".join(f"{name}: {message}" for name, message in found.items())
    probe.expect(set(found) == {given}, f"only {given} ends with “address already in use”", told)


@pytest.mark.points(15)
@pytest.mark.guide("Step 4")
@pytest.mark.hint("Where does visitor mount the volume? `minipod kubectl get pod pair -o yaml`, volumeMounts")
def test_shared_file(lab, pod, probe, student):
    """What server writes to /shared/hello.txt is there for visitor at this path."""
    given, word = answer(student, probe, "shared_file"), token_hex(8)
    machine = pod("pair").machine
    lab.lab.exec(machine, ["sh", "-c", "cat > /shared/hello.txt"], word, container="server", timeout=10)
    seen = lab.exec(machine, "cat", given, container="visitor")
    probe.note(f"wrote a word to /shared/hello.txt in server, and read {given} in visitor")
    probe.expect(
        seen.stdout.strip() == word, "the same word", (seen.stdout + seen.stderr).strip()[-100:] or "nothing"
    )


@pytest.mark.points(10)
@pytest.mark.guide("Step 4")
@pytest.mark.hint("Each container has files of its own, from its own image. Try a folder that is no volume.")
def test_private_folder(lab, pod, probe, student):
    """A file in this folder of one container is not there in the other one."""
    folder, name = answer(student, probe, "private_folder").rstrip("/") or "/", f"from-server-{token_hex(4)}"
    machine = pod("pair").machine
    for container in ("server", "visitor"):
        there = lab.exec(machine, "test", "-d", folder, container=container)
        probe.note(f"looked for {folder} in {container}")
        probe.expect(there.status == 0, f"{folder} is a folder in both containers", f"not in {container}")
    made = lab.exec(machine, "touch", f"{folder}/{name}", container="server")
    seen = lab.exec(machine, "test", "-e", f"{folder}/{name}", container="visitor")
    lab.exec(machine, "rm", "-f", f"{folder}/{name}", container="server")
    probe.note(f"made {folder}/{name} in server")
    probe.expect(made.status == 0, "it can be made", made.stderr.strip())
    probe.expect(seen.status != 0, "visitor does not see it", "visitor sees it")


@pytest.mark.points(15)
@pytest.mark.guide("Step 5")
@pytest.mark.hint(
    "`minipod exec -c visitor pod/pair -- ls -l /proc/self/ns`, and the same in server: which numbers are equal?",
    "A pod's containers share network, host name and IPC; each has its own processes and files.",
)
def test_namespaces(lab, pod, probe, student):
    """Exactly these namespaces are the same in both containers."""
    given = set(answer(student, probe, "shared_namespaces").replace(",", " ").split())
    probe.expect(given <= set(KINDS), f"some of {', '.join(KINDS)}", ", ".join(sorted(given - set(KINDS))))
    machine = pod("pair").machine
    links = [f"/proc/self/ns/{kind}" for kind in KINDS]
    found = [
        lab.exec(machine, "readlink", *links, container=container).stdout.split()
        for container in ("server", "visitor")
    ]
    same = {kind for kind, mine, theirs in zip(KINDS, *found, strict=True) if mine == theirs}
    probe.note("compared /proc/self/ns in both containers")
    probe.expect(same == given, f"the same: {' '.join(sorted(given))}", f"the same: {' '.join(sorted(same))}")
