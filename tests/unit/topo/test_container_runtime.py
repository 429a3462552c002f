"""What the container runtime answers when there is nothing to be done any more."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from topo import wire
from topo.container_runtime import ContainerRuntime


@pytest.fixture
def supervisor() -> Iterator[tuple[socket.socket, ContainerRuntime]]:
    ours, theirs = wire.pair()
    forker, _ = wire.pair()
    with ours, theirs, forker:
        yield ours, ContainerRuntime(theirs, forker)


def test_outputs_of_a_pod_that_was_removed_meanwhile_are_let_go_of(
    supervisor: tuple[socket.socket, ContainerRuntime], tmp_path: Path
) -> None:
    ours, runtime = supervisor
    log = f"{tmp_path}/gone/main/0.log"
    read, write = os.pipe()
    wire.send(ours, {"adopt": log, "streams": ["stdout"]}, [read])
    runtime._request()
    assert wire.receive(ours) == ({"drained": log}, [])
    os.close(read)
    with pytest.raises(BrokenPipeError):
        os.write(write, b"nobody reads this any more")
    os.close(write)
