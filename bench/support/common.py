"""Tables, medians, the machine's description, and a sandbox for code that is to be measured inside one.

Absolute times of a machine drift; so both sides of a comparison are measured in the same run, in turns, and what counts
is the ratio of their medians.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from topo import sandbox
from topo.enter import PATH
from topo.rootfs import CODE

ROOT = Path(__file__).resolve().parents[2]
PREFACE = "# Results\n\nWritten by `scripts/bench NAME --save`.\n"
RESULTS = ROOT / "bench" / "RESULTS.md"


class Report:
    """What a bench has to tell: printed as it comes, and written to RESULTS.md at the end when asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: list[str] = []
        self.say(machine())

    def say(self, text: str = "") -> None:
        """Print a line and keep it."""
        print(text, flush=True)
        self._lines.append(text)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table: the first column to the left, numbers to the right."""
        widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
        self.say()
        self.say(title)
        for row in (header, *rows):
            first, *numbers = row
            cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
            self.say("  " + "   ".join([first.ljust(widths[0]), *cells]))

    def save(self) -> None:
        """Put what was told into bench/RESULTS.md, in place of what an earlier run of this bench left there."""
        before = RESULTS.read_text() if RESULTS.exists() else PREFACE
        section = f"## bench/{self._name}\n\n```\n" + "\n".join(self._lines).strip() + "\n```\n"
        head, *sections = re.split(r"^(?=## )", before, flags=re.MULTILINE)
        others = [text for text in sections if not text.startswith(f"## bench/{self._name}\n")]
        texts = sorted(text.strip() for text in (*others, section))
        RESULTS.write_text("\n\n".join([head.strip(), *texts]) + "\n")


def machine() -> str:
    """The machine in one line: processor, cores, memory, kernel, Python."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info, re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(os.uname().release.split("-")[0].split(".")[:3])
    name = model[1].strip() if model else os.uname().machine
    return (
        f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {kernel}, Python {sys.version.split()[0]}"
    )


def arguments(description: str, **more: Any) -> argparse.ArgumentParser:
    """A parser with what every bench takes. `more`: further arguments of ArgumentParser."""
    parser = argparse.ArgumentParser(description=description, **more)
    parser.add_argument("--save", action="store_true", help="put the tables into bench/RESULTS.md")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="measure N times (default 3)")
    return parser


def counts(text: str) -> list[int]:
    """An argument such as `50,200,500`. Raises argparse.ArgumentTypeError."""
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"want numbers such as 50,200,500, got {text!r}")
    return numbers


def median(values: Sequence[float]) -> float:
    """The middle value; nan when there is none."""
    return statistics.median(values) if values else float("nan")


def milliseconds(seconds: float) -> str:
    """A time as a table shows it."""
    return f"{seconds * 1000:.2f} ms"


def seconds_of(action: Callable[[], Any]) -> float:
    """How long an action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def compiled(source: Path, folder: Path) -> Path | None:
    """A C program, compiled into a folder; None when there is no compiler (cc)."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = folder / source.stem
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(program), str(source)], check=True)
    return program


def settle() -> None:
    """Let the kernel finish what it does in the background, such as freeing namespaces, before the next measurement."""
    time.sleep(1.0)


def in_sandbox(module: str, *args: str, privileged: bool = False) -> dict[str, Any]:
    """Run `python -m MODULE ARGS…` as first process of a sandbox of its own; what it gave to `tell`.

    `privileged`: it stays the host's root. Raises RuntimeError, with the end of its log, when it ended without telling.
    """
    with tempfile.TemporaryDirectory(prefix="minipod-bench-") as folder:
        log = Path(folder, "log")
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
        environment = {"PATH": PATH, "PYTHONPATH": CODE, "LANG": "C.UTF-8", "HOME": "/root"}
        argv = sandbox.python_argv(module, *args)
        plan = sandbox.Plan(
            argv, environment, code=ROOT, state=Path(folder), log=descriptor, privileged=privileged
        )
        running = sandbox.start(plan)
        os.close(descriptor)
        with running.lifeline:
            told = b"".join(iter(lambda: running.lifeline.recv(65536), b""))
        if not told:
            raise RuntimeError(f"{module}: ended without a result: {log.read_text()[-2000:]}")
        result: dict[str, Any] = json.loads(told)
        return result


def tell(result: dict[str, Any]) -> None:
    """Within `in_sandbox`: hand the result over."""
    os.write(int(os.environ["MINIPOD_LIFELINE"]), json.dumps(result).encode())
