"""Redis' commands, as far as lessons use them: strings, counters, lists, expiry.

    words -> COMMANDS[name] -> function(store, words after the name) -> reply

Source: https://redis.io/docs/latest/commands/.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable

from agents.images.resp import Failure, Reply, Status

VERSION = "7.4.2"
MAX_KEYS = 100_000
OK = Status("OK")


class Store:
    """The data: name -> (value, when it expires on the monotonic clock or None)."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[str | list[str], float | None]] = {}

    def get(self, key: str) -> str | list[str] | None:
        """The value, None when absent or expired."""
        value, until = self._items.get(key, (None, None))
        if until is not None and until <= time.monotonic():
            del self._items[key]
            return None
        return value

    def put(self, key: str, value: str | list[str], seconds: float | None = None) -> None:
        """Set a value, for a time or for good. Raises MemoryError when the store is full."""
        if key not in self._items and len(self._items) >= MAX_KEYS:
            raise MemoryError
        self._items[key] = (value, None if seconds is None else time.monotonic() + seconds)

    def expire(self, key: str, seconds: float) -> bool:
        """Give a value a time; False when there is none."""
        value = self.get(key)
        if value is not None:
            self.put(key, value, seconds)
        return value is not None

    def ttl(self, key: str) -> int:
        """Whole seconds left; -1 for good, -2 absent."""
        if self.get(key) is None:
            return -2
        until = self._items[key][1]
        return -1 if until is None else round(until - time.monotonic())

    def delete(self, key: str) -> bool:
        """Remove a value; False when there is none."""
        return self._items.pop(key, None) is not None

    def clear(self) -> Status:
        """Forget everything."""
        self._items.clear()
        return OK

    def keys(self, pattern: str) -> list[str]:
        """The names that match a shell pattern, sorted."""
        return sorted(
            k for k in list(self._items) if fnmatch.fnmatchcase(k, pattern) and self.get(k) is not None
        )


def text(store: Store, key: str) -> str:
    """A string value, "" when absent. Raises TypeError for a list."""
    value = store.get(key)
    if isinstance(value, list):
        raise TypeError
    return value or ""


def set_value(store: Store, words: list[str]) -> Reply:
    """SET key value [EX seconds | PX milliseconds] [NX | XX]."""
    options = [word.upper() for word in words[2:]]
    exists = store.get(words[0]) is not None
    if ("NX" in options and exists) or ("XX" in options and not exists):
        return None
    seconds = None
    for unit, scale in (("EX", 1.0), ("PX", 0.001)):
        if unit in options:
            seconds = int(options[options.index(unit) + 1]) * scale
    store.put(words[0], words[1], seconds)
    return OK


def add(store: Store, key: str, amount: int) -> Reply:
    """INCR, DECR, INCRBY, DECRBY: the new value. Raises ValueError when the old one is no number."""
    number = int(text(store, key) or "0") + amount
    store.put(key, str(number))
    return number


def append(store: Store, key: str, word: str) -> Reply:
    """APPEND: the new length."""
    value = text(store, key) + word
    store.put(key, value)
    return len(value)


def push(store: Store, words: list[str], *, left: bool) -> Reply:
    """LPUSH, RPUSH: the list's new length."""
    old = store.get(words[0]) or []
    if isinstance(old, str):
        raise TypeError
    new = [*reversed(words[1:]), *old] if left else [*old, *words[1:]]
    store.put(words[0], new)
    return len(new)


def list_range(store: Store, words: list[str]) -> Reply:
    """LRANGE key first last, both inclusive, negative ones from the end."""
    items = store.get(words[0]) or []
    if isinstance(items, str):
        raise TypeError
    first, last = int(words[1]), int(words[2])
    return list(items[first : None if last == -1 else last + 1])


def info(_store: Store, _words: list[str]) -> Reply:
    """INFO: the few lines that clients read."""
    return f"# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\n# Replication\r\nrole:master\r\n"


def mget(store: Store, words: list[str]) -> Reply:
    """MGET: each value, nil where there is none."""
    return [text(store, key) if store.get(key) is not None else None for key in words]


# name -> (fewest words after the name, what it does)
COMMANDS: dict[str, tuple[int, Callable[[Store, list[str]], Reply]]] = {
    "APPEND": (2, lambda store, w: append(store, w[0], w[1])),
    "CLIENT": (0, lambda _store, _w: OK),
    "COMMAND": (0, lambda _store, _w: []),
    "CONFIG": (0, lambda _store, _w: []),
    "DBSIZE": (0, lambda store, _w: len(store.keys("*"))),
    "DECR": (1, lambda store, w: add(store, w[0], -1)),
    "DECRBY": (2, lambda store, w: add(store, w[0], -int(w[1]))),
    "DEL": (1, lambda store, w: sum(store.delete(key) for key in w)),
    "ECHO": (1, lambda _store, w: w[0]),
    "EXISTS": (1, lambda store, w: sum(store.get(key) is not None for key in w)),
    "EXPIRE": (2, lambda store, w: int(store.expire(w[0], int(w[1])))),
    "FLUSHALL": (0, lambda store, _w: store.clear()),
    "GET": (1, lambda store, w: None if store.get(w[0]) is None else text(store, w[0])),
    "INCR": (1, lambda store, w: add(store, w[0], 1)),
    "INCRBY": (2, lambda store, w: add(store, w[0], int(w[1]))),
    "INFO": (0, info),
    "KEYS": (1, lambda store, w: list(store.keys(w[0]))),
    "LPUSH": (2, lambda store, w: push(store, w, left=True)),
    "LRANGE": (3, list_range),
    "MGET": (1, mget),
    "PING": (0, lambda _store, w: w[0] if w else Status("PONG")),
    "RPUSH": (2, lambda store, w: push(store, w, left=False)),
    "SELECT": (1, lambda _store, _w: OK),
    "SET": (2, set_value),
    "TTL": (1, lambda store, w: store.ttl(w[0])),
}


def execute(store: Store, words: list[str]) -> Reply:
    """The reply to one command."""
    name, rest = words[0].upper(), words[1:]
    if name not in COMMANDS:
        return Failure(f"ERR unknown command '{words[0][:64]}', with args beginning with: ")
    fewest, command = COMMANDS[name]
    if len(rest) < fewest:
        return Failure(f"ERR wrong number of arguments for '{name.lower()}' command")
    try:
        return command(store, rest)
    except TypeError:
        return Failure("WRONGTYPE Operation against a key holding the wrong kind of value")
    except (ValueError, IndexError):
        return Failure("ERR value is not an integer or out of range")
    except MemoryError:
        return Failure("OOM command not allowed when used memory > 'maxmemory'.")
