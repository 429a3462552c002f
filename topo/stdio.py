"""The input and the outputs of a container that is about to start: pipes, or a terminal.

    plain      0 /dev/null         1 pipe ──> log   2 pipe ──> log
    stdin      0 pipe <── kubelet  1, 2 the same
    tty        0, 1, 2 a terminal's slave;  its master ──> log, <── kubelet

Sources: pty(7), ioctl_tty(2) "Controlling terminal"; Kubernetes API reference, Container: stdin, tty.
"""

import fcntl
import os
import termios
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stdio:
    """theirs: what becomes 0, 1 and 2 of the container. outputs: what is read here -> its stream's name.

    input: what writes to the container's input; None without one. Of a terminal it is also the output.
    """

    theirs: tuple[int, int, int]
    outputs: dict[int, str]
    input: int | None = None
    tty: bool = False

    @classmethod
    def open(cls, *, stdin: bool, tty: bool) -> "Stdio":
        """Make what a container asks for. Raises OSError."""
        if tty:
            master, slave = os.openpty()
            os.set_blocking(master, False)
            return cls((slave, slave, slave), {master: "stdout"}, master, True)
        (out, out_theirs), (err, err_theirs) = os.pipe(), os.pipe()
        for descriptor in (out, err):
            os.set_blocking(descriptor, False)
        in_theirs, input_ = os.pipe() if stdin else (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), None)
        return cls((in_theirs, out_theirs, err_theirs), {out: "stdout", err: "stderr"}, input_)

    def close_theirs(self) -> None:
        """The container has them now."""
        for descriptor in set(self.theirs):
            os.close(descriptor)

    def close_ours(self) -> None:
        """There is no container after all."""
        for descriptor in {*self.outputs, *(() if self.input is None else (self.input,))}:
            os.close(descriptor)


def take(theirs: Sequence[int], *, tty: bool) -> None:
    """In the container's first process, which leads a session: make them its own 0, 1 and 2."""
    for number, descriptor in enumerate(theirs):
        os.dup2(descriptor, number)
    if tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
