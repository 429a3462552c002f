"""A student's file, run at arm's length: calls go in as JSON, texts come out, and nothing else happens.

    call("render", desired) ──JSON line──> confined process (seat_server.py): render(desired)
             <── one line, in time, of at most MOST bytes, in the right form ──┘
             SeatError otherwise, and the process is killed

The process is started with the first call, stays for the next ones, and is started anew when it has ended. After one
that had to be killed for its time, calls are refused for a while: a file that never ends shall not have the processor.

Invariant: nothing that comes from the process is run, and nothing that it does keeps a caller longer than the limit.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from agents.seat_data import decode, encode, record_of

CODE = Path(__file__).resolve().parent.parent
START_WITHIN, ANSWER_WITHIN, REST = 5.0, 3.0, 10.0  # seconds
MOST = 16 << 20  # bytes of an answer
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from agents.seat_server import main; main()"


class SeatError(Exception):
    """A student's file could not be loaded, or a call of it did not come to a usable answer: one line."""


class SeatProcess:
    """The process that serves one student's file. Calls block, one after the other; see the head of this file.

    module: the reference in whose place the file stands. label: how the file is called when something is said of it.
    """

    def __init__(self, source: str, label: str, module: str) -> None:
        self.label = label
        self.functions: frozenset[str] = frozenset()
        self.source, self._module = source, module
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._rests_until = 0.0

    def load(self) -> None:
        """Start the process and load the file, unless that is done. Raises SeatError."""
        with self._lock:
            self._start()

    def call(self, function: str, *arguments: Any) -> Any:
        """What `function` of the file returns. Raises SeatError."""
        with self._lock:
            self._start()
            if function not in self.functions:
                raise SeatError(f"{self.label}: it has no function {function}: write one")
            request = {"call": function, "arguments": [encode(argument) for argument in arguments]}
            answer = self._exchange(request, ANSWER_WITHIN, function)
        if "error" in answer:
            raise SeatError(f"{function}: {_one_line(answer['error'])}{_printed(answer)}")
        try:
            return decode(answer.get("result"), self._record)
        except (ValueError, TypeError, AttributeError) as error:
            raise SeatError(
                f"{self.label}: {function}: its answer is of no use: {_one_line(error)}"
            ) from None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._kill()

    def _start(self) -> None:
        if time.monotonic() < self._rests_until:
            rest = self._rests_until - time.monotonic()
            raise SeatError(f"{self.label}: killed for its time; it is called again in {rest:.0f} s")
        if self._process is not None and self._process.poll() is None:
            return
        self._kill()
        argv = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", _BOOT, str(CODE)]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}, bufsize=0
        )
        first = {
            "given": given(self._module),
            "source": self.source,
            "label": self.label,
            "module": self._module,
        }
        answer = self._exchange(first, START_WITHIN, "its import")
        if "error" in answer:
            self._kill()
            raise SeatError(_one_line(answer["error"]))
        self.functions = frozenset(map(str, answer.get("functions") or ()))

    def _exchange(self, request: dict[str, Any], within: float, what: str) -> dict[str, Any]:
        """Send one line and receive one. When that fails the process is killed. Raises SeatError."""
        process = self._process
        assert process is not None
        try:
            answer = json.loads(_converse(process, json.dumps(request).encode() + b"\n", within))
            if not isinstance(answer, dict):
                raise ValueError
            return answer
        except TimeoutError:
            self._rests_until = time.monotonic() + REST
            fact = f"no answer within {within:.0f} s: it does not end"
        except EOFError:
            fact = f"the process ended: {_end_of(process)}"
        except OverflowError:
            fact = f"more than {MOST >> 20} MiB of answer"
        except (ValueError, RecursionError):
            fact = "what it wrote is no answer"
        self._kill()
        raise SeatError(f"{self.label}: {what}: {fact}; it was killed")

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _record(self, name: str) -> type:
        """The reference's own record for one that the student's file returned. Raises ValueError."""
        home, _, kind = name.partition(":")
        own = home in ("", self._module.rpartition(".")[2])  # a class of the student's file itself
        return record_of(f"{self._module if own else home}:{kind}")


def given(module: str) -> dict[str, str]:
    """Path -> text of the modules that a student's file may import: those that its reference does, and theirs.

    References are never among them.
    """
    from netfns import SEATS

    references = {seat.module for seat in SEATS.values()}
    found = {"netfns/__init__.py": (CODE / "netfns/__init__.py").read_text()}
    pending = _imported((CODE / f"{module.replace('.', '/')}.py").read_text())
    while pending:
        name = pending.pop()
        path = f"{name.replace('.', '/')}.py"
        if name not in references and path not in found and (CODE / path).is_file():
            found[path] = (CODE / path).read_text()
            pending |= _imported(found[path])
    return found


def _imported(source: str) -> set[str]:
    """The modules of netfns that a text imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "netfns":
            names |= {f"netfns.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name for name in names if name.startswith("netfns.")}


def _converse(process: subprocess.Popen[bytes], request: bytes, within: float) -> bytes:
    """Write a line while reading one. Raises TimeoutError, EOFError, OverflowError."""
    assert process.stdin is not None
    assert process.stdout is not None
    reading, writing = process.stdout.fileno(), process.stdin.fileno()
    os.set_blocking(writing, False)
    deadline, answer = time.monotonic() + within, bytearray()
    pending = memoryview(request)
    while not answer.endswith(b"\n"):
        left = deadline - time.monotonic()
        readable, writable, _ = select.select([reading], [writing] if pending else [], [], max(left, 0))
        if left <= 0 or not (readable or writable):
            raise TimeoutError
        if writable:
            try:
                pending = pending[os.write(writing, pending[: 1 << 16]) :]
            except BrokenPipeError:
                raise EOFError from None
        if readable:
            data = os.read(reading, 1 << 16)
            if not data:
                raise EOFError
            answer += data
            if len(answer) > MOST:
                raise OverflowError
    return bytes(answer)


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, and the last line of what it said."""
    try:
        status = process.wait(1.0)
    except subprocess.TimeoutExpired:
        return "it closed its output"
    assert process.stderr is not None
    said = process.stderr.read(4096).decode(errors="replace").strip().splitlines()
    return f"exit status {status}{': ' + said[-1][:200] if said else ''}"


def _printed(answer: dict[str, Any]) -> str:
    lines = str(answer.get("printed") or "").splitlines()
    return f" (it printed: {lines[-1][:100]})" if lines else ""


def _one_line(text: Any) -> str:
    return str(text).replace("\n", " ")[:500]
