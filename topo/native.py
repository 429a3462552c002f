"""A process that calls a few of libc's functions, one after another, in the memory of the process that started it.

    clone(CLONE_VM) ──> setsid() ──> mount(…) ──> … ──> execve(…), or sigwait(…) ──> _exit(…)
         each call a context of makecontext(3), each context's uc_link the next one

A forked Python process copies every page that it touches, and in Python that is every object: some five hundred page
faults until it does nothing but wait. What needs no interpreter needs none of them: the calls are prepared here, where
nothing is copied, and clone(2) gives them namespaces, descriptors, signals and a root of their own, but no memory.

Invariants: such a process runs none of Python's code, and writes to nothing but its own block of memory, which must
live until the process has ended or has executed another program. It shares the memory, but is no thread of it: it has
storage of its own for errno, and it goes on when the process that started it ends.

Sources: makecontext(3), getcontext(3), clone(2) "CLONE_VM", "CLONE_SETTLS"; vfork(2) is the same idea with one call.
"""

import ctypes
import os
import signal
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

from topo.syscalls import CLONE_VM

Argument = int | bytes | ctypes.Array[ctypes.c_char_p] | None
Call = tuple[str, *tuple[Argument, ...]]

_X86 = os.uname().machine == "x86_64"
_CLONE_PIDFD, _CLONE_SETTLS = 0x00001000, 0x00080000
_CONTEXT = 1024 if os.uname().machine == "x86_64" else 4608
_LINK_AND_STACK = struct.Struct(
    "=QQQQ"
)  # from offset 8, on both: uc_link; uc_stack: ss_sp, ss_flags, ss_size
_CALL_STACK = 4096  # for the calls themselves
_FRAME = 64  # where a call returns to
# Thread-local storage, as ABIs lay it out around the thread's pointer: on x86-64 libc's variables, of which only errno
# is ever written here, below it and the thread's descriptor above it; on arm64 the other way round. glibc's descriptor
# has 2,304 bytes, and on x86-64 begins with pointers to itself.
_STORAGE, _POINTER = 6144, 3072
_VARIABLES = slice(0, _POINTER) if _X86 else slice(_POINTER, _STORAGE)
_SELF = (0, 16) if _X86 else ()
_UNTOUCHED = bytes(_STORAGE)[_VARIABLES]

_libc = ctypes.CDLL(None, use_errno=True)
_clone = ctypes.PyDLL(None, use_errno=True).clone
_entry = ctypes.cast(_libc.setcontext, ctypes.c_void_p)


@cache
def address(function: str) -> int:
    """Where a function of libc is: for a call that takes one, such as signal(2). Raises AttributeError."""
    return ctypes.cast(getattr(_libc, function), ctypes.c_void_p).value or 0


def strings(words: Iterable[str]) -> "ctypes.Array[ctypes.c_char_p]":
    """An argument such as those of execve(2): pointers to strings, and a null pointer at the end."""
    raw = [os.fsencode(word) for word in words]
    return (ctypes.c_char_p * (len(raw) + 1))(*raw, None)


def signal_set(numbers: Iterable[int]) -> bytes:
    """A sigset_t with these signals."""
    return sum(1 << number - 1 for number in numbers).to_bytes(128, "little")


@contextmanager
def _blocking(signals: bytes) -> Iterator[None]:
    """The mask of this thread within the block: what a context takes with it, and a child inherits."""
    before = ctypes.create_string_buffer(128)
    _libc.sigprocmask(signal.SIG_SETMASK, signals, before)
    try:
        yield
    finally:
        _libc.sigprocmask(signal.SIG_SETMASK, before, None)


class Chain:
    """Calls that a process will make, each a function of libc with its arguments. Keep it until the process is over.
    `another` is for a further process; only of a chain that has not been started.

    An integer is passed as it is, bytes and arrays by their address. There are no branches: a call that fails does not
    end the chain, but `errno` tells; what must not go on is ended by the handler of a signal.
    """

    def __init__(self, calls: Sequence[Call], blocked: bytes = bytes(128)) -> None:
        """`blocked`: the signals (a sigset_t) that wait until a call takes them."""
        self._arguments = calls
        self._blocked = blocked
        contexts = _CONTEXT * len(calls)
        self._size = _STORAGE + contexts + _CALL_STACK + _FRAME * (len(calls) + 1)
        self._take_memory()
        for offset in _SELF:
            place = self._storage + _POINTER + offset
            ctypes.c_size_t.from_address(place).value = self._storage + _POINTER
        with _blocking(blocked):
            self._prepare(self._storage + _STORAGE, self._storage + _STORAGE + contexts)

    def _take_memory(self) -> None:
        self._memory = ctypes.create_string_buffer(self._size + 64)
        self._storage = (ctypes.addressof(self._memory) + 63) & ~63

    def another(self) -> "Chain":
        """The same calls with the same arguments for another process: a tenth of the work of a new chain."""
        made = object.__new__(Chain)
        made._arguments, made._blocked, made._size = self._arguments, self._blocked, self._size
        made._take_memory()
        words, pointers = self._as_prepared
        moved = words[:]
        distance = made._storage - self._storage
        for place in pointers:
            moved[place] += distance
        ctypes.memmove(made._storage, moved.buffer_info()[0], self._size)
        return made

    @cached_property
    def _as_prepared(self) -> "tuple[array[int], list[int]]":
        """The block word by word before a process has used it, and which words point into the block itself."""
        words = array("Q", ctypes.string_at(self._storage, self._size))
        own = range(self._storage, self._storage + self._size)
        return words, [place for place, word in enumerate(words) if word in own]

    def _prepare(self, first: int, stack: int) -> None:
        """Fill in the contexts. Each call begins above those before it, none of which overwrites its return address."""
        base = ctypes.addressof(self._memory)
        last = first + _CONTEXT * (len(self._arguments) - 1)
        for number, (function, *arguments) in enumerate(self._arguments):
            context = first + _CONTEXT * number
            _libc.getcontext(ctypes.c_void_p(context))
            following = context + _CONTEXT if context < last else 0
            size = _CALL_STACK + _FRAME * (number + 1)
            _LINK_AND_STACK.pack_into(self._memory, context - base + 8, following, stack, 0, size)
            words = [_word(argument) for argument in arguments]
            _libc.makecontext(
                ctypes.c_void_p(context), ctypes.c_void_p(address(function)), len(words), *words
            )

    @property
    def errno(self) -> int:
        """The error of a call of the process that failed; 0 when none has. Nothing else is ever written there."""
        variables = ctypes.string_at(self._storage, _STORAGE)[_VARIABLES]
        return int.from_bytes(variables.strip(b"\0"), "little") if variables != _UNTOUCHED else 0

    def start(self, flags: int) -> tuple[int, int]:
        """Start the process, in fresh namespaces (CLONE_NEW*) if asked for: its pid and a pidfd. Raises OSError."""
        first = self._storage + _STORAGE
        stack = first + _CONTEXT * len(self._arguments) + _CALL_STACK  # only for the way to the first context
        flags |= CLONE_VM | _CLONE_PIDFD | _CLONE_SETTLS | signal.SIGCHLD
        thread, pidfd = ctypes.c_void_p(self._storage + _POINTER), ctypes.c_int(-1)
        with _blocking(self._blocked):  # from birth on
            pid: int = _clone(
                _entry,
                ctypes.c_void_p(stack),
                flags,
                ctypes.c_void_p(first),
                ctypes.byref(pidfd),
                thread,
                None,
            )
        if pid < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"clone: {os.strerror(number)}")
        return pid, pidfd.value


def _word(argument: Argument) -> Any:
    """An argument as wide as a register."""
    if isinstance(argument, int):
        return ctypes.c_size_t(argument)
    return ctypes.c_char_p(argument) if isinstance(argument, bytes) or argument is None else argument
