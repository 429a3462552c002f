"""`nft -f -` without a process: a text becomes rules of one network namespace.

    commands of known forms ──compile──> raw netlink (topo/nfnetlink.py: elements;   0.1 ms and up, whatever
                                         topo/nfrules.py: chains, sets, rules)       else is there
    anything else ─────────────────────> libnftables, in this process                grows with the ruleset
                                         (also when the raw way is refused: it words the error)

Starting nft costs 16 to 20 ms, and closing its socket as much again; a context of its library, made in the
namespace, is held open instead.

Invariants: a text is one transaction, as for nft; the library is called by one thread at a time, for nothing says
that it may be otherwise.

Sources: libnftables(3); nft(8).
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import Any

from topo.enter import Completed, Namespaces
from topo.nfnetlink import Nfnetlink, SetType
from topo.nfrules import compile_text

_library_lock = threading.Lock()


@cache
def _library() -> Any:
    library = ctypes.CDLL("libnftables.so.1")
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = [ctypes.c_uint32], ctypes.c_void_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_free.restype = None
    for name in ("nft_ctx_buffer_error", "nft_ctx_buffer_output", "nft_ctx_get_error_buffer", "nft_ctx_free"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    return library


class Nft:
    """The nft of one network namespace. Any thread may use it; one at a time is served."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._lock = threading.Lock()
        self._context: Any = None
        self._netlink: Nfnetlink | None = None
        self._types: dict[tuple[str, str, str], SetType] = {}
        self._generation: int | None = None
        self._others = False

    def close(self) -> None:
        """Close the sockets."""
        with self._lock, _library_lock:
            if self._netlink is not None:
                self._netlink.close()
            if self._context is not None:
                _library().nft_ctx_free(self._context)
            self._netlink = self._context = None

    def run(self, text: str) -> Completed:
        """Load a text as one transaction; its status is 0 or 1, its error output nft's."""
        with self._lock:
            try:
                if text.startswith(("add ", "delete ", "flush ")) and self._fast(text):
                    return Completed(("nft", "-f", "-"), 0, "", "")
                self._types.clear()  # whatever a text changes, a set may be another afterwards
                with _library_lock:
                    return self._slow(text)
            finally:
                self._count(own=1)

    def own_change(self) -> None:
        """What has changed until now was our own doing, though not by `run`."""
        with self._lock:
            self._types.clear()
            if self._generation is not None:
                self._generation = self._socket().generation()

    def changed_elsewhere(self) -> bool:
        """Whether anybody else has changed the rules since this was last asked. The first answer is no."""
        with self._lock:
            self._count(own=0)
            others, self._others = self._others, False
            if others:
                self._types.clear()
            return others

    def _count(self, own: int) -> None:
        """Hold the kernel's count of transactions against ours: a text of ours brings it one further at most."""
        generation = self._socket().generation()
        if self._generation is not None and not 0 <= generation - self._generation <= own:
            self._others = True
        self._generation = generation

    def _socket(self) -> Nfnetlink:
        if self._netlink is None:
            self._netlink = self._namespaces.call(Nfnetlink)
        return self._netlink

    def _fast(self, text: str) -> bool:
        """Whether the text was taken by raw netlink; if not, nothing has changed."""
        netlink = self._socket()
        messages = compile_text(text, self._type_of)
        if not messages:
            return False
        try:
            netlink.send(messages)
        except OSError:
            netlink.close()
            self._netlink = None
            return False
        if " set " in text or " map " in text:
            self._types.clear()
        return True

    def _type_of(self, family: str, table: str, name: str) -> SetType:
        key = family, table, name
        if key not in self._types:
            self._types[key] = self._socket().type_of(*key)
        return self._types[key]

    def _slow(self, text: str) -> Completed:
        library = _library()
        if self._context is None:
            self._context = self._namespaces.call(lambda: library.nft_ctx_new(0))
            library.nft_ctx_buffer_error(self._context)
            library.nft_ctx_buffer_output(self._context)
        status = library.nft_run_cmd_from_buffer(self._context, text.encode())
        said = library.nft_ctx_get_error_buffer(self._context).decode(errors="replace")
        return Completed(("nft", "-f", "-"), 1 if status else 0, "", said)
