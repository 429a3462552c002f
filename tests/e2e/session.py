"""Whom a lab is started by, and a lab as that person's `minipod` command sees it."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.apply import apply, delete, manifests
from controlplane.client import Client
from labs.check.ground import behind_services
from labs.check.subjects import Scene
from labs.checking.ground import is_there
from labs.errors import LabError
from labs.lab import Lab
from labs.sockets import short_path
from labs.state import StateFolder
from tests.e2e.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parent.parent.parent
READY = 30.0  # seconds for pods to become Ready
GONE = 60.0  # seconds for deleted objects to be gone
QUERY = argparse.ArgumentParser(exit_on_error=False)
QUERY.add_argument("kind")
QUERY.add_argument("name", nargs="?", default="")
QUERY.add_argument("-n", dest="namespace", default="default")
QUERY.add_argument("-A", dest="all", action="store_true")
QUERY.add_argument("-l", dest="selector", default="")


@dataclass(frozen=True)
class User:
    """Somebody who runs labs: ids, a checkout that they can read, a folder for labs and one for temporary files."""

    uid: int
    gid: int
    checkout: Path
    home: Path
    temporary: Path

    def start(
        self, *words: str, env: Mapping[str, str] | None = None, **options: Any
    ) -> "subprocess.Popen[str]":
        """Start a `minipod` command. Options are subprocess.Popen's."""
        argv = [sys.executable, "-m", "labs.cli", *words]
        return self.spawn(argv, env=env, **options)

    def spawn(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, **options: Any
    ) -> "subprocess.Popen[str]":
        """Start any command as this user, in their checkout."""
        if os.geteuid() != self.uid:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        } | options
        return subprocess.Popen(
            argv, cwd=self.checkout, env={**self._environment(), **(env or {})}, text=True, **options
        )

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM") if name in os.environ}
        own = {"HOME": str(self.home), "MINIPOD_HOME": str(self.home), "PYTHONPATH": str(self.checkout)}
        own["TMPDIR"] = str(self.temporary)
        return {**kept, **own, "USER": f"uid{self.uid}", "PYTHONUNBUFFERED": "1"}

    def minipod(
        self, *words: str, stdin: str = "", timeout: float = 60.0, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a `minipod` command to its end."""
        with self.start(*words, stdin=subprocess.PIPE, env=env) as process:
            try:
                stdout, stderr = process.communicate(stdin, timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def up(self, name: str, *words: str) -> "RunningLab":
        """Start a lab. Fails when it does not become Ready."""
        done = self.minipod("up", "--name", name, *words, timeout=120)
        assert done.returncode == 0, f"minipod up: {done.stderr}"
        return RunningLab(self, name)


@dataclass(frozen=True)
class RunningLab:
    """A lab that a test has started, through the commands of its user."""

    user: User
    name: str

    def minipod(
        self, *words: str, stdin: str = "", timeout: float = 60.0
    ) -> "subprocess.CompletedProcess[str]":
        """Run a `minipod` command on this lab."""
        word, *rest = words
        return self.user.minipod(word, "--name", self.name, *rest, stdin=stdin, timeout=timeout)

    def exec(
        self, machine: str, *argv: str, stdin: str = "", container: str = "", timeout: float = 20.0
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on a machine or in a pod to its end, as `minipod exec` does.

        The command itself is for tests whose subject it is, and for labs of other users: it costs 40 times as much.
        """
        if self.user.uid != os.geteuid():
            return self.exec_by_command(machine, *argv, stdin=stdin, container=container, timeout=timeout)
        folder = StateFolder(self.name, self.user.home / self.name)
        try:
            done = Lab(folder, folder.read()).exec(machine, argv, stdin, container=container, timeout=timeout)
        except LabError as error:
            return subprocess.CompletedProcess(argv, 2, "", f"minipod: {error}\n")
        return subprocess.CompletedProcess(argv, done.status, done.stdout, done.stderr)

    def exec_by_command(
        self, machine: str, *argv: str, stdin: str = "", container: str = "", timeout: float = 20.0
    ) -> "subprocess.CompletedProcess[str]":
        """The same by `minipod exec`."""
        chosen = ["-c", container] if container else []
        return self.minipod("exec", *chosen, machine, "--", *argv, stdin=stdin, timeout=timeout)

    def output(self, machine: str, *argv: str, container: str = "") -> str:
        """What a command prints; it must succeed."""
        done = self.exec(machine, *argv, container=container)
        assert done.returncode == 0, f"{machine}: {' '.join(argv)}: {done.returncode}: {done.stderr}"
        return done.stdout

    def fetch(self, machine: str, url: str, *options: str) -> str:
        """The body of a page as curl gets it; "" when it does not come within two seconds."""
        done = self.exec(machine, "curl", "-s", "--max-time", "2", *options, url)
        return done.stdout if done.returncode == 0 else ""

    @contextmanager
    def api(self) -> Iterator[Client]:
        """A client of its API over its socket: kubectl is for tests whose subject it is, for it costs a process."""
        with short_path(self.user.home / self.name / "api.sock") as path, Client.unix(path) as client:
            yield client

    def apply(self, manifest: str, namespace: str = "default") -> None:
        """Apply a manifest, which must be accepted."""
        with self.api() as client:
            apply(client, manifests(manifest, "manifest"), namespace)

    def delete(self, manifest: str, namespace: str = "default") -> None:
        """Delete what a manifest made, and wait until it is gone."""
        with self.api() as client:
            paths = delete(client, manifests(manifest, "manifest"), namespace)
            wait_until(lambda: not any(is_there(client, path) for path in paths), GONE, f"{paths}: gone")

    def get(self, *words: str) -> list[dict[str, Any]]:
        """Objects, as `kubectl get WORDS` finds them: KIND [NAME], -n NAMESPACE or -A, -l SELECTOR."""
        asked = QUERY.parse_args(words)
        with self.api() as client:
            path = client.resource(asked.kind).path("" if asked.all else asked.namespace, asked.name)
            found = client.request("GET", path, query={"labelSelector": asked.selector})
        return list(found["items"]) if found["kind"].endswith("List") else [found]

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """What real kubectl prints; it must succeed."""
        done = self.minipod("kubectl", *words, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.returncode}: {done.stderr}"
        return done.stdout

    def pods(self, namespace: str = "default", selector: str = "") -> list[dict[str, Any]]:
        """The pods of a namespace that are not about to go."""
        words = ["pods", "-n", namespace, *(["-l", selector] if selector else [])]
        return [pod for pod in self.get(*words) if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, count: int, namespace: str = "default", selector: str = "") -> list[dict[str, Any]]:
        """Wait until exactly `count` pods are there and Ready, and return them."""

        def all_ready() -> list[dict[str, Any]]:
            pods = self.pods(namespace, selector)
            return pods if len(pods) == count and all(is_ready(pod) for pod in pods) else []

        return wait_until(all_ready, READY, f"{count} Ready pods {selector} in {namespace}", every=0.1)

    def settle(self, namespace: str = "default") -> None:
        """Wait until the Services of a namespace have all of its Ready pods behind them, and the nodes know."""
        attached = Lab(StateFolder(self.name, self.user.home / self.name), self.info())
        with self.api() as client:
            scene = Scene(attached, client, namespace)
            wait_until(lambda: behind_services(scene), READY, f"{namespace}: endpoints", every=0.1)
        attached.settle()

    def events(self) -> list[dict[str, Any]]:
        """Every event of every namespace."""
        return self.get("events", "-A")

    def info(self) -> dict[str, Any]:
        """lab.json: what `minipod up` noted about the lab."""
        found: dict[str, Any] = json.loads((self.user.home / self.name / "lab.json").read_text())
        return found

    def down(self) -> None:
        """End the lab."""
        done = self.minipod("down")
        assert done.returncode == 0, done.stderr


def is_ready(obj: dict[str, Any]) -> bool:
    """Whether an object has the condition Ready."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def place_of(pod: dict[str, Any]) -> str:
    """A pod as `minipod exec` names it."""
    return f"pod/{pod['metadata']['name']}.{pod['metadata']['namespace']}"
