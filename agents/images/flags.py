"""Command-line flags in Go's two dialects, small enough for a forked process (argparse builds hundreds of
objects).

`-name value`, `--name value`, `--name=value`; a boolean flag stands alone or takes `=true|false`. What
follows `--` or the first word that is no flag is kept as arguments. Sources: https://pkg.go.dev/flag,
https://pkg.go.dev/github.com/spf13/pflag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Value = str | int | bool
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


class FlagError(ValueError):
    """A flag is unknown or its value is not of its type."""


class Flags:
    """The values of the flags that a program declares.

    `defaults` maps each flag's name to its default, whose type is the flag's; `arguments` holds what is no
    flag.
    """

    def __init__(self, argv: Sequence[str], defaults: Mapping[str, Value]) -> None:
        self._values = dict(defaults)
        self.arguments: list[str] = []
        words = list(argv)
        while words:
            word = words.pop(0)
            if word == "--":
                self.arguments += words
                break
            if not word.startswith("-") or word == "-":
                self.arguments.append(word)
                continue
            name, equals, text = word.lstrip("-").partition("=")
            if name not in self._values:
                raise FlagError(f"unknown flag: --{name}")
            if not equals and isinstance(self._values[name], bool):
                text = "true"
            elif not equals:
                if not words:
                    raise FlagError(f"flag needs an argument: --{name}")
                text = words.pop(0)
            self._values[name] = _convert(name, text, self._values[name])

    def text(self, name: str) -> str:
        """The value of a flag as text."""
        return str(self._values[name])

    def number(self, name: str) -> int:
        """The value of an integer flag."""
        return int(self._values[name])

    def switch(self, name: str) -> bool:
        """The value of a boolean flag."""
        return bool(self._values[name])


def _convert(name: str, text: str, default: Value) -> Value:
    """`text` as a value of the default's type."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false", "1", "0", "t", "f"):
            raise FlagError(f'invalid argument "{text}" for "--{name}": want true or false')
        return text.lower() in ("true", "1", "t")
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise FlagError(f'invalid argument "{text}" for "--{name}": want a whole number') from None
    return text


def duration(text: str) -> float:
    """Seconds of a Go duration such as `1s`, `250ms`, `1m30s`, `0`.

    Raises:
        FlagError: it is none.
    """
    unsigned = text.lstrip("+-")
    if unsigned == "0":
        return 0.0
    parts = _DURATION.findall(unsigned)
    if not parts or "".join(number + unit for number, unit in parts) != unsigned:
        raise FlagError(f'time: invalid duration "{text}"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return -seconds if text.startswith("-") else seconds
