"""Quantities: `500m`, `1.5Gi`, `2e3`, 4. Read, compared, and written in their one canonical form.

    canonical   no fraction, the largest suffix that needs none: 1024Mi -> 1Gi, 0.5 -> 500m, 1000 -> 1k

Source: Kubernetes API reference, Quantity; k8s.io/apimachinery pkg/api/resource/quantity.go.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from math import ceil

_FORM = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_SMALLEST = 10**9  # nothing is finer than a billionth


@lru_cache(maxsize=4096)
def parse(text: str) -> Fraction:
    """The number. Raises ValueError."""
    value, _ = _read(text)
    return value


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The same quantity as every API server writes it. Raises ValueError."""
    value, suffix = _read(text)
    if suffix in _BINARY and abs(value) >= 1024 and value.denominator == 1:
        return _with_suffix(int(value), [(name, 1 << bits) for name, bits in _BINARY.items()])
    if suffix[:1] in ("e", "E") and suffix not in _DECIMAL:
        return _with_suffix(
            int(value * _SMALLEST), [(f"e{power}", 10 ** (power + 9)) for power in range(-9, 19, 3)]
        )
    return show(value)


def show(value: Fraction) -> str:
    """A number as a quantity, rounded up to a billionth."""
    return _with_suffix(
        ceil(value * _SMALLEST), [(name, 10 ** (power + 9)) for name, power in _DECIMAL.items()]
    )


def _read(text: str) -> tuple[Fraction, str]:
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text}: not a quantity")
    sign, digits, suffix = match[1], match[2], match[3] or ""
    value = Fraction(digits)
    if suffix in _BINARY:
        value *= 1 << _BINARY[suffix]
    elif suffix in _DECIMAL:
        value *= Fraction(10) ** _DECIMAL[suffix]
    else:
        value *= Fraction(10) ** max(-30, min(30, int(suffix[1:])))
    value = Fraction(ceil(value * _SMALLEST), _SMALLEST)  # rounded up: some is not none
    return -value if sign == "-" else value, suffix


def _with_suffix(number: int, units: list[tuple[str, int]]) -> str:
    """`number`, whole, in the largest unit that it is a multiple of."""
    if number == 0:
        return "0"
    name, size = next((unit for unit in reversed(units) if number % unit[1] == 0), ("", 1))
    return f"{number // size}{'' if name == 'e0' else name}"
