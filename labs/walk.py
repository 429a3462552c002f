"""What a notebook needs of a lab: start it, see it, ask it things, and draw what came back.

    lab = walk.start("walk")                      the command `minipod up`, or the lab that runs already
    walk.picture(lab)                             the topology, drawn by Jupyter
    walk.apply(lab, MANIFEST, "walk")             objects; returns when all is Ready
    walk.replies(lab, "outside", "192.168.50.200", 80, "/hostname", 60)
    walk.bars({"web-1": 31, "web-2": 29}, "…")

Everything here is a call of what the commands call; nothing is measured or decided in a notebook.
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from controlplane import apply as manifests
from labs import pictures, topology
from labs.check.ground import settled
from labs.check.subjects import GaveUp, Scene, Witness, until
from labs.errors import LabError
from labs.lab import Lab
from labs.state import StateFolder

READY = 60.0  # seconds for what a notebook has applied


def start(name: str) -> Lab:
    """The running lab with this name; it is started when there is none. Raises LabError.

    By the command, for a lab is made by a process with a single thread, which a notebook's is not.
    """
    if not StateFolder.of(name).is_running():
        command = [sys.executable, "-m", "labs.cli", "up", "--name", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError((done.stderr.strip().splitlines() or ["minipod up: failed"])[-1])
    return Lab.attach(name)


@dataclass(frozen=True)
class Picture:
    """An SVG document that Jupyter draws."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg


def picture(lab: Lab) -> Picture:
    """The lab as it is now. Raises LabError."""
    return Picture(pictures.svg(topology.read(lab)))


def apply(lab: Lab, manifest: str, namespace: str) -> None:
    """Create or change objects, wait until what is in `namespace` is Ready and the nodes know. Raises LabError."""
    with _scene(lab, namespace) as scene:
        try:
            manifests.apply(scene.client, manifests.manifests(manifest, "manifest"))
            until(lambda: settled(scene), f"namespace {namespace}: Ready", READY)
            lab.settle()
        except (manifests.ManifestError, GaveUp) as error:
            raise LabError(str(error)) from None


def pods(lab: Lab, namespace: str) -> list[Witness]:
    """The Ready pods of a namespace: their name, node and address. Raises LabError."""
    with _scene(lab, namespace) as scene:
        return scene.pods()


def service(lab: Lab, name: str, namespace: str) -> dict[str, Any]:
    """A Service as the API has it. Raises LabError when there is none."""
    with _scene(lab, namespace) as scene:
        found = [obj for obj in scene.objects("Service") if obj["metadata"]["name"] == name]
    if not found:
        raise LabError(f"service/{name}: not in namespace {namespace}: apply its manifest first")
    return found[0]


def replies(lab: Lab, machine: str, address: str, port: int, path: str, count: int = 1) -> list[str]:
    """The bodies of `count` HTTP requests, each on a connection of its own; "no answer: VERDICT" for one without."""
    found = []
    with _scene(lab, "") as scene:
        for _ in range(count):
            outcome = scene.get(machine, address, port, path)
            body = outcome.reply.partition(b"\r\n\r\n")[2].decode(errors="replace").strip()
            found.append(body or f"no answer: {outcome.verdict}")
    return found


def compare(predicted: object, measured: object) -> None:
    """Print a prediction beside the measurement."""
    verdict = "as predicted" if str(predicted) == str(measured) else "not as predicted: why?"
    print(f"predicted  {predicted}\nmeasured   {measured}\n{verdict}")


def bars(counts: Mapping[str, int], title: str) -> Picture:
    """How often each name came, as bars, with the line where all would be equal."""
    # It tells on standard error that it builds its list of fonts, and nobody who grades a notebook may see that.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.6 + 0.45 * max(1, len(counts))), layout="constrained")
    axes = figure.subplots()
    names = sorted(counts)
    axes.barh(names, [counts[name] for name in names], color="#5b8bbd")
    if counts:
        axes.axvline(
            sum(counts.values()) / len(counts), color="#b04a4a", linestyle="--", label="equal shares"
        )
        axes.legend(loc="lower right")
    axes.set_xlabel("replies")
    axes.set_title(title)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    return Picture(drawn.getvalue())


def end(lab: Lab) -> None:
    """End the lab, with all that is in it. Raises LabError."""
    lab.down()


@contextmanager
def _scene(lab: Lab, namespace: str) -> Iterator[Scene]:
    with lab.api() as client:
        yield Scene(lab, client, namespace)
