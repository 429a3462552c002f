"""kubectl logs, exec, attach, run, cp, port-forward and proxy: the real program against a real lab."""

import asyncio
import concurrent.futures
import hashlib
import json
import random
import re
import struct
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from labs.sockets import short_path
from tests.e2e.kubectl import Kubectl, unpack_old
from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
NAMESPACE = "streaming"
SOON = 20.0
MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - {name: web, image: nginx, ports: [{name: http, containerPort: 80}], env: [{name: COLOUR, value: blue}]}
  - {name: echo, image: registry.k8s.io/e2e-test-images/agnhost:2.53, args: [netexec, --http-port=8080]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: cat, image: busybox, stdin: true, command: [cat]}
  - {name: shell, image: busybox, stdin: true, tty: true, command: [sh]}
---
apiVersion: v1
kind: Pod
metadata: {name: crasher}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    workingDir: /srv
    command: [sh, -c, 'test -e /data/1 && echo second run && exec sleep 600; touch /data/1; echo first run; exit 3']
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
"""


@pytest.fixture(scope="module")
def kubectl(lab: RunningLab) -> Iterator[Kubectl]:
    found = Kubectl.of(lab, NAMESPACE)
    found.output("create", "namespace", NAMESPACE)
    found.output("apply", "-f", "-", stdin=MANIFEST.encode())
    found.output("wait", "pod", "--all", "--for=condition=Ready", f"--timeout={SOON}s")
    lab.settle(NAMESPACE)
    yield found
    found.output("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def old(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    program = unpack_old(tmp_path_factory.mktemp("kubectl-1.20"))
    if program is None:
        pytest.skip("kubectl 1.20: Debian 12's package kubernetes-client is not to be had here")
    return Kubectl(kubectl.lab, NAMESPACE, program)


def blob(size: int = 1_000_000) -> bytes:
    return random.Random(size).randbytes(size)


# -------------------------------------------------------------------- logs


def test_logs_of_this_run_and_the_one_before(kubectl: Kubectl) -> None:
    wait_until(lambda: kubectl.run("logs", "crasher").stdout == b"second run\n", SOON, "the second run's log")
    assert kubectl.output("logs", "crasher", "--previous") == b"first run\n"


def test_logs_by_lines_bytes_and_times(kubectl: Kubectl) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; printf end; echo oops >&2; sleep 600"
    kubectl.output("run", "lines", "--image=busybox", "--restart=Never", "--", "sh", "-c", script)
    kubectl.output("wait", "pod/lines", "--for=condition=Ready", f"--timeout={SOON}s")
    wait_until(lambda: b"oops" in kubectl.output("logs", "lines"), SOON)
    assert kubectl.output("logs", "lines", "--tail=2", "--limit-bytes=5") == b"line "[:5]
    assert kubectl.output("logs", "lines", "--since=1h").startswith(b"line 1\nline 2\n")
    assert kubectl.output("logs", "lines", "--since-time=2099-01-01T00:00:00Z") == b""
    stamped = kubectl.output("logs", "lines", "--timestamps", "--limit-bytes=38").decode()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line 1\n?", stamped)
    kubectl.output("delete", "pod", "lines", "--grace-period=0", "--force")


def test_logs_are_followed_to_the_containers_end(kubectl: Kubectl) -> None:
    script = "echo started; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo going; printf bye"
    kubectl.output("run", "mortal", "--image=busybox", "--restart=Never", "--", "sh", "-c", script)
    kubectl.output("wait", "pod/mortal", "--for=condition=Ready", f"--timeout={SOON}s")
    with kubectl.running("logs", "-f", "mortal") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"started\n"
        kubectl.run(
            "exec", "mortal", "--", "touch", "/tmp/go"
        )  # it may be taken along by the container's end
        assert following.stdout.read() == b"going\nbye"
        assert following.wait(SOON) == 0
    assert kubectl.output("logs", "mortal") == b"started\ngoing\nbye"
    kubectl.output("delete", "pod", "mortal")


def test_logs_that_grow_without_end_are_cut_at_their_beginning(kubectl: Kubectl) -> None:
    script = "head -c 24000000 /dev/zero | tr '\\0' x | fold -w 4000; echo; echo the last line"
    kubectl.output("run", "flood", "--image=busybox", "--restart=Never", "--", "sh", "-c", script)
    kubectl.output("wait", "pod/flood", "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={SOON}s")
    assert kubectl.output("logs", "flood", "--tail=1") == b"the last line\n"
    kept = len(kubectl.output("logs", "flood"))
    assert 10_000_000 < kept < 22_000_000
    kubectl.output("delete", "pod", "flood")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["logs", "web", "--previous", "-c", "web"],
            'previous terminated container "web" in pod "web" not found',
        ),
        (["logs", "nobody"], 'pods "nobody" not found'),
        (
            ["get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/web/log"],
            "a container name must be specified",
        ),
        (
            ["get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/web/log?container=x"],
            "container x is not valid",
        ),
        (
            ["get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/web/log?container=web&tailLines=-1"],
            "greater than",
        ),
        (
            [
                "get",
                "--raw",
                f"/api/v1/namespaces/{NAMESPACE}/pods/web/exec?command=ls&stdout=1&container=web",
            ],
            "Upgrade",
        ),
    ],
)
def test_bad_requests_are_told(kubectl: Kubectl, words: list[str], told: str) -> None:
    done = kubectl.run(*words)
    assert done.returncode == 1
    assert told in done.stderr.decode()


# -------------------------------------------------------------------- exec


def test_exec_keeps_streams_apart_and_the_exit_code(kubectl: Kubectl) -> None:
    done = kubectl.run("exec", "web", "-c", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.returncode, done.stdout) == (42, b"out\n")
    assert done.stderr.decode().splitlines() == ["err", "command terminated with exit code 42"]


@pytest.mark.parametrize(
    ("script", "code"),
    [("true", 0), ("exit 1", 1), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)],
)
def test_exit_codes(kubectl: Kubectl, script: str, code: int) -> None:
    assert kubectl.run("exec", "web", "-c", "web", "--", "sh", "-c", script).returncode == code


def test_exec_has_the_containers_environment_and_folder(kubectl: Kubectl) -> None:
    assert (
        kubectl.output("exec", "web", "-c", "web", "--", "sh", "-c", "echo $COLOUR $HOSTNAME")
        == b"blue web\n"
    )
    assert kubectl.output("exec", "crasher", "--", "pwd") == b"/srv\n"


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "./here"])
def test_a_program_that_is_not_there(kubectl: Kubectl, program: str) -> None:
    done = kubectl.run("exec", "web", "-c", "web", "--", program)
    assert done.returncode == 1
    assert f'exec: "{program}"' in done.stderr.decode()


def test_a_megabyte_goes_in_and_comes_out_unchanged(kubectl: Kubectl) -> None:
    data = blob()
    told = kubectl.output("exec", "-i", "web", "-c", "web", "--", "sha256sum", stdin=data).decode()
    assert told.split()[0] == hashlib.sha256(data).hexdigest()
    assert kubectl.output("exec", "-i", "web", "-c", "web", "--", "cat", stdin=data) == data


def test_what_a_process_has_written_arrives_though_its_children_go_on(kubectl: Kubectl) -> None:
    script = "(sleep 600 &) ; head -c 200000 /dev/zero"
    assert kubectl.output("exec", "web", "-c", "web", "--", "sh", "-c", script) == bytes(200_000)


def test_a_terminal(kubectl: Kubectl) -> None:
    with kubectl.at_a_terminal("exec", "-it", "web", "-c", "web", "--", "sh", size=(33, 101)) as terminal:
        terminal.wait_for("# ")
        wait_until(lambda: _size(terminal.type, terminal.wait_for) == "33 101", SOON)
        terminal.resize(40, 120)
        wait_until(lambda: _size(terminal.type, terminal.wait_for) == "40 120", SOON)
        terminal.type("sleep 600\n")
        terminal.wait_for("sleep 600")
        wait_until(lambda: b"sleep\x00600" in _processes(kubectl), SOON)
        terminal.type("\x03")
        terminal.wait_for("# ")
        terminal.type("tty; exit 7\n")
        terminal.wait_for("/dev/pts/")
        assert terminal.end() == 7


def _size(type_: object, wait_for: object) -> str:
    assert callable(type_)
    assert callable(wait_for)
    type_("echo size=$(stty size).\n")
    wait_for("size=$(stty size).")
    wait_for("size=")
    return str(wait_for("."))


def _processes(kubectl: Kubectl) -> bytes:
    """The command lines of all processes in the container `web`."""
    return kubectl.output("exec", "web", "-c", "web", "--", "sh", "-c", "cat /proc/[0-9]*/cmdline; true")


@pytest.mark.parametrize("options", [["-i"], ["-it"], []], ids=["stdin", "terminal", "output"])
def test_a_process_goes_with_its_client(kubectl: Kubectl, options: list[str]) -> None:
    marker = f"9{random.randrange(10**6):06}"
    with kubectl.running(
        "exec", *options, "web", "-c", "web", "--", "sleep", marker, stdin=subprocess.PIPE
    ) as client:
        wait_until(lambda: marker.encode() in _processes(kubectl), SOON, "the process", every=0.1)
        client.kill()
    wait_until(lambda: marker.encode() not in _processes(kubectl), SOON, "its end", every=0.1)


def test_a_process_that_reads_nothing_goes_with_its_client(kubectl: Kubectl) -> None:
    marker = f"8{random.randrange(10**6):06}"
    with kubectl.running(
        "exec", "-i", "web", "-c", "web", "--", "sleep", marker, stdin=subprocess.PIPE
    ) as client:
        wait_until(lambda: marker.encode() in _processes(kubectl), SOON, "the process", every=0.1)
        assert client.stdin is not None
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            writing = pool.submit(lambda: client.stdin and client.stdin.write(bytes(50_000_000)))
            with pytest.raises(concurrent.futures.TimeoutError):
                writing.result(
                    2.0
                )  # nobody takes it: it waits in the pipes on the way, and no memory fills up
            client.kill()
            with pytest.raises(BrokenPipeError):
                writing.result(SOON)
    wait_until(lambda: marker.encode() not in _processes(kubectl), SOON, "its end", every=0.1)


# -------------------------------------------------------------------- attach, run


def test_attach_to_a_program_that_reads(kubectl: Kubectl) -> None:
    with kubectl.running("attach", "-i", "talker", "-c", "cat", stdin=subprocess.PIPE, bufsize=0) as attached:
        assert attached.stdin is not None
        assert attached.stdout is not None
        seen = b""
        for number in range(200):  # the first lines may come before kubectl is attached
            attached.stdin.write(b"line %d\n" % number)
            seen = attached.stdout.readline()
            if seen == b"line %d\n" % number:
                break
        assert seen.startswith(b"line ")
    assert b"line" in kubectl.output("logs", "talker", "-c", "cat")


def test_attach_to_a_terminal(kubectl: Kubectl) -> None:
    with kubectl.at_a_terminal("attach", "-it", "talker", "-c", "shell") as terminal:
        terminal.wait_for("If you don't see a command prompt")
        terminal.type("echo $((6 * 7)) $(tty)\n")
        terminal.wait_for("42 /dev/pts/")


def test_run_gives_a_program_its_input_and_takes_its_exit_code(kubectl: Kubectl) -> None:
    words = ["run", "once", "-i", "--rm", "--quiet", "--image=busybox", "--restart=Never", "--"]
    done = kubectl.run(*words, "sh", "-c", "tr a-z A-Z; exit 6", stdin=b"shout\n")
    assert (done.returncode, done.stdout) == (6, b"SHOUT\n"), done.stderr


def test_run_at_a_terminal(kubectl: Kubectl) -> None:
    words = ["run", "typed", "-it", "--rm", "--quiet", "--image=busybox", "--restart=Never", "--", "sh"]
    with kubectl.at_a_terminal(*words) as terminal:
        terminal.wait_for("# ")
        terminal.type("echo $((6 * 7)); exit 5\n")
        terminal.wait_for("42")
        assert terminal.end() == 5


# -------------------------------------------------------------------- cp


def test_files_and_folders_are_copied_both_ways(kubectl: Kubectl, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    (there / "below").mkdir(parents=True)
    (there / "below" / "blob").write_bytes(blob())
    (there / "text").write_text("hello\n")
    kubectl.output("cp", str(there), "web:/tmp/copied", "-c", "web")
    assert kubectl.output("exec", "web", "-c", "web", "--", "cat", "/tmp/copied/text") == b"hello\n"
    kubectl.output("cp", "web:/tmp/copied", str(back), "-c", "web")
    assert (back / "below" / "blob").read_bytes() == blob()


# -------------------------------------------------------------------- port-forward, proxy


class Forwarded:
    """A running `kubectl port-forward`, or `kubectl proxy`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, f"{line}{process.stdout.read().decode() if process.poll() else ''}"
        self.address = f"http://127.0.0.1:{found[1]}"

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.address}{path}", timeout=SOON) as answer:
            return bytes(answer.read())


@pytest.mark.parametrize("target", ["pod/web", "service/web"])
def test_a_port_is_forwarded(kubectl: Kubectl, target: str) -> None:
    with kubectl.running("port-forward", target, ":80") as process:
        forwarded = Forwarded(process)
        assert b"nginx" in forwarded.get("/")
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            pages = list(pool.map(forwarded.get, ["/"] * 100))
        assert set(pages) == {forwarded.get("/")}


def test_large_bodies_are_forwarded_whole(kubectl: Kubectl) -> None:
    kubectl.output(
        "exec", "-i", "web", "-c", "web", "--", "sh", "-c", "cat > /usr/share/nginx/html/blob", stdin=blob()
    )
    with kubectl.running("port-forward", "pod/web", ":80") as process:
        assert Forwarded(process).get("/blob") == blob()


def test_a_closed_port_is_told(kubectl: Kubectl) -> None:
    with kubectl.running("port-forward", "pod/web", ":81") as process:
        with pytest.raises(OSError, match=r".*"):
            Forwarded(process).get("/")
        assert process.stdout is not None
        assert b"connection refused" in process.stdout.read()


def test_requests_are_proxied_to_pods_and_services(kubectl: Kubectl) -> None:
    there = f"/api/v1/namespaces/{NAMESPACE}"
    for path in (
        "services/web/proxy/",
        "services/http:web:http/proxy/",
        "pods/web/proxy/",
        "pods/web:80/proxy/",
    ):
        assert b"nginx" in kubectl.output("get", "--raw", f"{there}/{path}")
    assert kubectl.output("get", "--raw", f"{there}/pods/web:8080/proxy/echo?msg=a%20b%2Fc") == b"a b/c"
    refused = kubectl.run("get", "--raw", f"{there}/pods/web:81/proxy/")
    assert b"connect: connection refused" in refused.stderr
    with kubectl.running("proxy", "--port=0") as process:
        proxied = Forwarded(process)
        assert b"nginx" in proxied.get(f"{there}/services/web/proxy/")
        assert json.loads(proxied.get(f"{there}/pods/web"))["metadata"]["name"] == "web"


# -------------------------------------------------------------------- kubectl 1.20, which knows only SPDY


def test_old_kubectl_execs(old: Kubectl) -> None:
    done = old.run("exec", "web", "-c", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.returncode, done.stdout) == (42, b"out\n")
    assert b"err\n" in done.stderr
    assert old.output("exec", "-i", "web", "-c", "web", "--", "cat", stdin=blob()) == blob()
    with old.at_a_terminal("exec", "-it", "web", "-c", "web", "--", "sh") as terminal:
        terminal.wait_for("# ")
        terminal.type("exit 7\n")
        assert terminal.end() == 7


def test_old_kubectl_shows_logs_copies_and_forwards(old: Kubectl, tmp_path: Path) -> None:
    assert old.output("logs", "crasher", "--tail=1")
    (tmp_path / "blob").write_bytes(blob())
    old.output("cp", str(tmp_path / "blob"), "web:/tmp/old-blob", "-c", "web")
    old.output("cp", "web:/tmp/old-blob", str(tmp_path / "back"), "-c", "web")
    assert (tmp_path / "back").read_bytes() == blob()
    with old.running("port-forward", "pod/web", ":80") as process:
        forwarded = Forwarded(process)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            pages = set(pool.map(forwarded.get, ["/"] * 40))
        assert len(pages) == 1


# -------------------------------------------------------------------- Python's clients, which name ports in the request


@pytest.mark.parametrize("protocols", [(), ("v4.channel.k8s.io",)], ids=["no protocol", "v4"])
def test_ports_are_forwarded_over_channels(kubectl: Kubectl, protocols: tuple[str, ...]) -> None:
    async def scenario(path: Path) -> dict[int, bytes]:
        url = f"http://lab/api/v1/namespaces/{NAMESPACE}/pods/web/portforward?ports=80,81"
        told: dict[int, bytes] = {}
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client,
            client.ws_connect(url, protocols=protocols) as websocket,
            asyncio.timeout(SOON),
        ):
            await websocket.send_bytes(b"\0GET / HTTP/1.0\r\n\r\n")
            async for message in websocket:
                told[message.data[0]] = told.get(message.data[0], b"") + message.data[1:]
        return told

    with short_path(Path(kubectl.lab.user.home, kubectl.lab.name, "api.sock")) as path:
        told = asyncio.run(scenario(path))
    ports = {channel: struct.unpack("<H", data[:2])[0] for channel, data in told.items()}
    assert ports == {0: 80, 1: 80, 2: 81, 3: 81}
    assert told[0][2:].startswith(b"HTTP/1.1 200 OK")
    assert b"connection refused" in told[3]
    assert len(told[1]) == len(told[2]) == 2


# -------------------------------------------------------------------- minipod kubectl


def test_minipod_kubectl_passes_every_word_and_the_exit_code(kubectl: Kubectl) -> None:
    lab, there = kubectl.lab, f"--namespace={NAMESPACE}"
    done = lab.minipod(
        "kubectl", there, "exec", "web", "-c", "web", "--", "sh", "-c", "echo $0; exit 9", "--name=x"
    )
    assert (done.returncode, done.stdout) == (9, "--name=x\n")
    named = lab.minipod(
        "kubectl", there, "expose", "pod", "web", "--name=other", "--port=80", "--dry-run=client"
    )
    assert (named.returncode, named.stdout) == (0, "service/other exposed (dry run)\n"), named.stderr
    assert "kubectl controls" in lab.minipod("kubectl", "--help").stdout


def test_minipod_kubectl_without_a_lab_says_so(kubectl: Kubectl) -> None:
    done = kubectl.lab.user.minipod("kubectl", "--name", "no-such-lab", "get", "pods")
    assert done.returncode == 2
    assert (
        done.stderr
        == "minipod: lab no-such-lab: not running: start it with `minipod up --name no-such-lab`\n"
    )
