"""The loop of the processes that work for the supervisor: requests that come, and descriptors that are waited for.

    supervisor ══ requests, answers (topo.wire) ══ Server ── handler of each descriptor that has something to read

Such a process lives as long as the supervisor: the end of the channel is its end. It has one thread, goes into other
namespaces and comes home.
"""

import gc
import os
import select
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from topo import wire


class Server(ABC):
    """The loop. `serve` is given each request with its descriptors, which are closed after it."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._handlers: dict[int, Callable[[], None]] = {}  # by descriptor that is waited for
        self._poll = select.epoll()
        self.wait_for(channel.fileno(), self._request)

    @abstractmethod
    def serve(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Do what a request asks for. An OSError or ValueError becomes its answer."""

    def run(self) -> NoReturn:
        """Serve until the supervisor is gone."""
        gc.freeze()  # what was loaded stays: the collector need not look through it
        while True:
            # An earlier one of a round may have dealt with a descriptor, or have its number waited for anew.
            for descriptor, handler in [(ready, self._handlers[ready]) for ready, _ in self._poll.poll()]:
                if self._handlers.get(descriptor) is handler:
                    handler()

    def wait_for(self, descriptor: int, handler: Callable[[], None]) -> None:
        """From now on, call `handler` when there is something to read, or the end."""
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.EPOLLIN)

    def hand_over(self, descriptor: int, handler: Callable[[], None]) -> None:
        """From now on, call another handler for what is waited for already."""
        self._handlers[descriptor] = handler

    def leave(self, descriptor: int) -> None:
        """Wait for it no longer."""
        self._poll.unregister(descriptor)
        del self._handlers[descriptor]

    def forget(self, descriptor: int) -> None:
        """Wait for it no longer, and close it."""
        self.leave(descriptor)
        os.close(descriptor)

    def answer(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Tell the supervisor something."""
        wire.send(self._channel, message, descriptors)

    def _request(self) -> None:
        received = wire.receive(self._channel)
        if received is None:
            os._exit(0)
        message, descriptors = received
        try:
            self.serve(message, descriptors)
        except OSError as error:
            text = str(error) if error.filename is not None else error.strerror or str(error)
            self.answer({"id": message["id"], "error": text, "errno": error.errno})
        except ValueError as error:
            self.answer({"id": message["id"], "error": str(error), "errno": None})
        for descriptor in descriptors:
            os.close(descriptor)
