"""Container-to-container: one pod is one network, and shares what it is told to share.

container a ─┐ lo, eth0, port space: one network namespace
container b ─┘ /shared: one emptyDir, mounted in both
"""

from typing import Any

from labs.check.claim import Refuted, claim
from labs.check.subjects import NotApplicable, Scene, Witness, until

KIND = "container-to-container"
TAKEN = "already in use"


def _pair(scene: Scene) -> tuple[Witness, str, str]:
    """A pod with a listening container and another one: the pod, the listener's name, the other's name."""
    for pod in scene.pods():
        containers = pod.obj["spec"]["containers"]
        listening = [c["name"] for c in containers if c.get("ports")]
        others = [c["name"] for c in containers if c["name"] not in listening[:1]]
        if pod.port and listening and others:
            return pod, listening[0], others[0]
    raise NotApplicable(f"namespace {scene.namespace} has no pod with two containers, of which one listens")


@claim("localhost", KIND, "containers of one pod reach each other on localhost")
def localhost(scene: Scene) -> str:
    """Ask the listener from the other container, on 127.0.0.1; both show the same network namespace."""
    pod, listener, other = _pair(scene)
    inodes = {
        name: scene.lab.exec(
            pod.machine, ["readlink", "/proc/self/ns/net"], container=name, timeout=10
        ).stdout.strip()
        for name in (listener, other)
    }
    outcome = scene.get(pod.machine, "127.0.0.1", pod.port)
    if inodes[listener] != inodes[other] or not outcome.answered:
        raise Refuted(
            did=f"asked 127.0.0.1:{pod.port} in pod {pod.name}",
            expected=f"an answer from container {listener}, and one network namespace for both",
            saw=f"{outcome.verdict}, {len(outcome.reply)} bytes; {inodes}",
            look="`minipod exec pod/NAME -c CONTAINER -- ip addr` in both containers",
        )
    answer = f"{other} asks 127.0.0.1:{pod.port}, {listener} answers {len(outcome.reply)} bytes"
    return f"{pod.name}: {answer}; both in {inodes[other]}"


@claim("one-port-space", KIND, "a port can be taken once in a pod: the second container cannot bind it")
def one_port_space(scene: Scene) -> str:
    """The API accepts the pod; the second container ends with EADDRINUSE, and its status says so."""
    pods = [pod for pod in scene.objects("Pod") if "port-twice" in (pod["metadata"].get("labels") or {})]
    if not pods:
        raise NotApplicable(f"namespace {scene.namespace} has no pod labelled port-twice")
    name = pods[0]["metadata"]["name"]

    def failed() -> tuple[str, int, str] | None:
        pod = next(p for p in scene.objects("Pod") if p["metadata"]["name"] == name)
        for status in pod["status"].get("containerStatuses") or ():
            ended = _ended(status)
            if ended.get("exitCode"):
                lines = ended.get("message", "").strip().splitlines() or ["without a message"]
                return status["name"], ended["exitCode"], lines[-1]
        return None

    container, code, message = until(failed, f"pod {name}: a container that fails")
    if TAKEN not in message.lower():
        raise Refuted(
            did=f"started two containers that listen on one port in pod {name}",
            expected=f"the second ends with “address {TAKEN}”",
            saw=f"container {container} ended with {code}: {message}",
            look="`minipod kubectl get pod NAME -o yaml`, status.containerStatuses",
        )
    return f"{name}: {container} ended with {code}: {message}"


def _ended(status: dict[str, Any]) -> dict[str, Any]:
    for state in (status.get("state") or {}, status.get("lastState") or {}):
        if "terminated" in state:
            return dict(state["terminated"])
    return {}


@claim("shared-file", KIND, "a file that one container writes into an emptyDir is there in the other")
def shared_file(scene: Scene) -> str:
    """Write through one mount, read through the other."""
    for pod in scene.pods():
        mounts = _shared_mounts(pod.obj)
        if mounts:
            break
    else:
        raise NotApplicable(f"namespace {scene.namespace} has no pod whose containers share an emptyDir")
    (writer, write_path), (reader, read_path) = mounts
    word = f"written by {writer}"
    scene.lab.exec(
        pod.machine, ["sh", "-c", f"cat > {write_path}/minipod-check"], word, container=writer, timeout=10
    )
    result = scene.lab.exec(pod.machine, ["cat", f"{read_path}/minipod-check"], container=reader, timeout=10)
    scene.lab.exec(pod.machine, ["rm", "-f", f"{write_path}/minipod-check"], container=writer, timeout=10)
    if result.stdout != word:
        raise Refuted(
            did=f"wrote {write_path}/minipod-check in container {writer} of pod {pod.name}",
            expected=f"the same text at {read_path}/minipod-check in container {reader}",
            saw=(result.stdout + result.stderr).strip() or "an empty file",
            look="`minipod exec pod/NAME -c CONTAINER -- cat /proc/self/mountinfo`",
        )
    return f"{pod.name}: {writer} wrote {write_path}/minipod-check, {reader} read it at {read_path}"


def _shared_mounts(pod: dict[str, Any]) -> list[tuple[str, str]]:
    """(container, mount path) of the first two containers that mount the same emptyDir; the first may write."""
    volumes = [volume["name"] for volume in pod["spec"].get("volumes") or () if "emptyDir" in volume]
    for name in volumes:
        mounts = [
            (container["name"], mount["mountPath"], bool(mount.get("readOnly")))
            for container in pod["spec"]["containers"]
            for mount in container.get("volumeMounts") or ()
            if mount["name"] == name
        ]
        mounts.sort(key=lambda mount: mount[2])
        if len(mounts) > 1:
            return [(container, path) for container, path, _ in mounts[:2]]
    return []
