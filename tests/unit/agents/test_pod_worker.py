"""A pod's worker without a kernel: what it does when its sandbox is lost, or something fails that nobody foresaw."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents import pod_worker
from agents.kubelet import Kubelet
from agents.pod_files import ClusterDns
from agents.pod_sandbox import GONE, PodSandbox
from agents.pod_worker import PodWorker

Obj = dict[str, Any]
DEADLINE = 10.0


class FakeSandbox:
    """Containers that run until they are signalled."""

    def __init__(self, on_event: Callable[[Obj], None]) -> None:
        self.on_event = on_event
        self.closed = False
        self.containers: dict[str, None] = {}
        self.pid = 0

    async def start(self, message: Obj) -> None:
        self.containers[message["name"]] = None

    def signal(self, name: str, number: int) -> None:
        self.containers.pop(name, None)
        asyncio.get_running_loop().call_soon(
            self.on_event, {"event": "exited", "name": name, "status": 143, "signal": number}
        )

    def close(self) -> None:
        self.closed = True
        self.containers.clear()

    def die(self) -> None:
        self.close()
        self.on_event(GONE)


class FakeKubelet:
    """Notes what its workers say. A sandbox meets its first `problems`, and then succeeds."""

    name, network, runtime, namespaces = "worker1", 0, None, None
    addresses = ("192.168.50.21",)
    accounts = None
    cluster_dns = ClusterDns(("10.96.0.10",))

    def __init__(self, *problems: BaseException) -> None:
        self.problems = list(problems)
        self.sandboxes: list[FakeSandbox] = []
        self.attempts = 0
        self.events: list[str] = []
        self.status: Obj = {}
        self.removed = False
        self.changed = asyncio.Event()
        self.secured: list[tuple[str, ...]] = []
        self.policies = asyncio.Event()
        self.policies.set()
        self.ports_gone = asyncio.Event()
        self.ports_gone.set()
        self.api = SimpleNamespace(find=lambda *_: None)
        self.images = SimpleNamespace(layer=lambda _: "")

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(coroutine)

    async def create(
        self,
        runtime: Any,
        name: str,
        network: Any,
        wiring: Any,
        on_event: Callable[[Obj], None],
        **_: Any,
    ) -> FakeSandbox:
        self.attempts += 1
        if self.problems:
            raise self.problems.pop(0)
        self.sandboxes.append(FakeSandbox(on_event))
        return self.sandboxes[-1]

    def allocate(self, uid: str) -> tuple[str, ...]:
        return (f"10.244.1.{self.attempts + 1}",)

    def wiring(self, pod: str, uid: str, addresses: tuple[str, ...]) -> None:
        return None

    async def unplug(self, uid: str) -> None:
        pass

    async def secure(self, pod: Obj, addresses: tuple[str, ...]) -> bool:
        self.secured.append(addresses)
        self.changed.set()
        await self.policies.wait()
        return False

    async def open_host_ports(self, uid: str, pod: Obj, addresses: tuple[str, ...]) -> None:
        pass

    def release(self, uid: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._released())

    async def _released(self) -> None:
        await self.ports_gone.wait()

    def services_for(self, namespace: str) -> list[Obj]:
        return []

    def node_file(self, name: str) -> str:
        return ""

    def event(self, pod: Obj, kind: str, reason: str, message: str) -> None:
        self.events.append(f"{reason}: {message}")
        self.changed.set()

    def report(self, worker: PodWorker, status_after: Callable[[Obj], Obj]) -> None:
        self.status = status_after(self.status)
        self.changed.set()

    def remove(self, pod: Obj) -> None:
        self.removed = True

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await self.changed.wait()
                self.changed.clear()

    def ready(self, address: str) -> bool:
        conditions = {c["type"]: c["status"] for c in self.status.get("conditions", ())}
        return conditions.get("Ready") == "True" and self.status["podIP"] == address


def pod(**spec: Any) -> Obj:
    containers = [{"name": "main", "image": "busybox", "command": ["sleep", "9"]}]
    metadata = {"name": "web", "namespace": "default", "uid": "1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": containers, **spec},
    }


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Run a worker for `obj` while `story(kubelet, worker)` goes on; then it must remove its pod."""

    def run(
        obj: Obj, story: Callable[[FakeKubelet, PodWorker], Awaitable[None]], *problems: BaseException
    ) -> FakeKubelet:
        async def body() -> FakeKubelet:
            kubelet = FakeKubelet(*problems)
            monkeypatch.setattr(pod_worker, "PODS", tmp_path)
            monkeypatch.setattr(PodSandbox, "create", kubelet.create)
            worker = PodWorker(cast(Kubelet, kubelet), obj)
            running = worker.begin()
            await story(kubelet, worker)
            gone = {"deletionTimestamp": "now", "deletionGracePeriodSeconds": 5}
            worker.changed({**obj, "metadata": {**obj["metadata"], **gone}})
            async with asyncio.timeout(DEADLINE):
                await running
            return kubelet

        kubelet = asyncio.run(body())
        assert kubelet.removed
        assert all(sandbox.closed for sandbox in kubelet.sandboxes)
        assert not list(tmp_path.iterdir())
        return kubelet

    return run  # type: ignore[return-value]


Live = Callable[..., FakeKubelet]


async def becomes_ready(kubelet: FakeKubelet, worker: PodWorker) -> None:
    await kubelet.until(lambda: kubelet.ready("10.244.1.1"))


def test_deletion_stops_the_containers(live: Live) -> None:
    kubelet = live(pod(), becomes_ready)
    assert kubelet.events == ["Started: Started container main", "Killing: Stopping container main"]


def test_no_container_starts_before_the_node_enforces_the_pods_policies(live: Live) -> None:
    async def story(kubelet: FakeKubelet, worker: PodWorker) -> None:
        kubelet.policies.clear()
        await kubelet.until(lambda: bool(kubelet.secured))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not kubelet.sandboxes[0].containers
        kubelet.policies.set()
        await becomes_ready(kubelet, worker)
        assert kubelet.secured == [worker.addresses]

    live(pod(), story)


def test_unforeseen_error_does_not_leave_the_pod_dead(live: Live) -> None:
    async def story(kubelet: FakeKubelet, worker: PodWorker) -> None:
        await kubelet.until(lambda: kubelet.ready("10.244.1.3"))

    kubelet = live(pod(), story, ZeroDivisionError("oops"), KeyError("again"))
    assert kubelet.events[:2] == [
        "FailedSync: error syncing pod: ZeroDivisionError: oops",
        "FailedSync: error syncing pod: KeyError: 'again'",
    ]


def test_foreseen_error_is_the_sandboxs(live: Live) -> None:
    async def story(kubelet: FakeKubelet, worker: PodWorker) -> None:
        await kubelet.until(lambda: kubelet.ready("10.244.1.2"))

    kubelet = live(pod(), story, OSError(28, "No space left on device"))
    assert kubelet.events[0].startswith("FailedCreatePodSandBox: Failed to create pod sandbox: ")


def test_lost_sandbox_is_made_again(live: Live) -> None:
    async def story(kubelet: FakeKubelet, worker: PodWorker) -> None:
        await becomes_ready(kubelet, worker)
        kubelet.sandboxes[0].die()
        await kubelet.until(lambda: kubelet.ready("10.244.1.2"))

    kubelet = live(pod(), story)
    assert any(event.startswith("SandboxChanged: ") for event in kubelet.events)
    main = kubelet.status["containerStatuses"][0]
    assert main["restartCount"] == 1
    assert main["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGKILL


def test_lost_sandbox_is_not_made_again_before_what_it_had_is_let_go(live: Live) -> None:
    async def story(kubelet: FakeKubelet, worker: PodWorker) -> None:
        await becomes_ready(kubelet, worker)
        kubelet.ports_gone.clear()
        kubelet.sandboxes[0].die()
        await kubelet.until(lambda: any(event.startswith("SandboxChanged: ") for event in kubelet.events))
        for _ in range(20):
            await asyncio.sleep(0)
        assert kubelet.attempts == 1
        kubelet.ports_gone.set()
        await kubelet.until(lambda: kubelet.ready("10.244.1.2"))

    live(pod(), story)


def test_pod_that_may_not_start_again_has_failed_with_its_sandbox(live: Live) -> None:
    async def story(kubelet: FakeKubelet, worker: PodWorker) -> None:
        await becomes_ready(kubelet, worker)
        kubelet.sandboxes[0].die()
        await kubelet.until(lambda: kubelet.status["phase"] == "Failed")

    kubelet = live(pod(restartPolicy="Never"), story)
    assert kubelet.status["containerStatuses"][0]["restartCount"] == 0


def test_sidecars_end_last_and_in_reverse(live: Live) -> None:
    sidecars = [
        {"name": name, "image": "busybox", "command": ["sleep", "9"], "restartPolicy": "Always"}
        for name in ("one", "two")
    ]
    kubelet = live(pod(initContainers=sidecars), becomes_ready)
    stopped = [event for event in kubelet.events if event.startswith("Killing")]
    assert stopped == [f"Killing: Stopping container {name}" for name in ("main", "two", "one")]


def test_pod_that_cannot_be_made_can_be_deleted(live: Live) -> None:
    async def story(kubelet: FakeKubelet, worker: PodWorker) -> None:
        await kubelet.until(lambda: bool(kubelet.events))

    kubelet = live(pod(), story, *(OSError(28, "full") for _ in range(100)))
    assert all(event.startswith("FailedCreatePodSandBox") for event in kubelet.events)


@pytest.mark.parametrize(("policy", "phase", "restarts"), [("Always", "Running", 3), ("Never", "Failed", 2)])
def test_pod_of_a_lab_that_goes_on(live: Live, policy: str, phase: str, restarts: int) -> None:
    """What ran when the lab ended counts as killed."""
    before = {
        "name": "main",
        "restartCount": 2,
        "containerID": "minipod://1/main/2",
        "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}},
    }
    obj = {
        **pod(restartPolicy=policy),
        "status": {"startTime": "2026-01-02T03:04:04Z", "containerStatuses": [before]},
    }

    async def story(kubelet: FakeKubelet, worker: PodWorker) -> None:
        await kubelet.until(lambda: kubelet.status.get("phase") == phase)

    status = live(obj, story).status
    main = status["containerStatuses"][0]
    assert (main["restartCount"], status["startTime"]) == (restarts, "2026-01-02T03:04:04Z")
    ended = (main["lastState"] if phase == "Running" else main["state"])["terminated"]
    assert (ended["exitCode"], ended["startedAt"]) == (137, "2026-01-02T03:04:05Z")


LOOK = {"name": "look", "image": "busybox", "command": ["sleep", "9"]}


def test_ephemeral_container_is_started_in_a_running_pod_and_never_again(live: Live) -> None:
    def look(kubelet: FakeKubelet) -> Any:
        return (kubelet.status.get("ephemeralContainerStatuses") or [{"state": {}}])[0]

    async def story(kubelet: FakeKubelet, worker: PodWorker) -> None:
        await becomes_ready(kubelet, worker)
        worker.changed(pod(ephemeralContainers=[LOOK]))
        await kubelet.until(lambda: "running" in look(kubelet)["state"])
        kubelet.sandboxes[0].die()
        await kubelet.until(lambda: kubelet.ready("10.244.1.2"))
        assert look(kubelet)["state"]["terminated"]["exitCode"] == 137
        assert (look(kubelet)["restartCount"], "look" in kubelet.sandboxes[1].containers) == (0, False)

    live(pod(), story)


def test_ephemeral_container_of_a_lab_that_goes_on_stays_ended(live: Live) -> None:
    before = {"name": "look", "restartCount": 0, "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}
    obj = {**pod(ephemeralContainers=[LOOK]), "status": {"ephemeralContainerStatuses": [before]}}
    status = live(obj, becomes_ready).status
    assert status["ephemeralContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
