"""Pools of numbers (addresses, ports, node indices): never given twice, and given back.

A pool only keeps books: who holds which number. The truth is in the objects; whoever owns a pool fills it
from what is stored, so nothing leaks when a write fails and nothing is lost when the control plane starts
again.

Dynamic numbers come from the upper part of the range first, so that numbers which people choose by hand (low
ones, by habit) stay free: the idea of Kubernetes' KEP-3070, "Reserve Service IP ranges for dynamic and static
allocation".
"""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


class Pool:
    """The numbers `first` to `last`, both included; dynamic ones are taken from `first + reserved` on while
    there are any.
    """

    def __init__(self, first: int, last: int, *, reserved: int = 0) -> None:
        self.first = first
        self.last = last
        self._dynamic = first + min(reserved, last - first)
        self._cursor = self._dynamic
        self._holders: dict[int, Hashable] = {}

    def __contains__(self, number: int) -> bool:
        """Whether the number lies in the range."""
        return self.first <= number <= self.last

    def is_free_for(self, number: int, who: Hashable) -> bool:
        """Whether `who` may hold it: in the range, and nobody else's."""
        return number in self and self._holders.get(number, who) == who

    def hold(self, number: int, who: Hashable) -> None:
        """Books the number for `who`; numbers outside of the range need no book."""
        if number in self:
            self._holders[number] = who

    def release(self, number: int, who: Hashable) -> None:
        """Gives the number back, if it is `who`'s."""
        if self._holders.get(number) == who:
            del self._holders[number]

    def next_free(self, without: frozenset[int] = frozenset()) -> int | None:
        """A free number that is not in `without`; None when there is none. It is not held yet."""
        for first, last in (
            (self._cursor, self.last),
            (self._dynamic, self._cursor - 1),
            (self.first, self._dynamic - 1),
        ):
            for number in range(first, last + 1):
                if number not in self._holders and number not in without:
                    self._cursor = max(number, self._dynamic)
                    return number
        return None

    def __len__(self) -> int:
        """How many numbers are held."""
        return len(self._holders)


class AddressPool:
    """The addresses of one network, or of a part of it, as texts."""

    def __init__(self, network: str, *, first: str = "", last: str = "") -> None:
        self.network: IPv4Network | IPv6Network = ip_network(network)
        self._type = IPv4Address if self.network.version == 4 else IPv6Address
        low = int(ip_address(first)) if first else int(self.network.network_address) + 1
        high = int(ip_address(last)) if last else int(self.network.broadcast_address) - 1
        size = high - low + 1
        self.numbers = Pool(
            low, high, reserved=0 if first else min(max(16, size // 16), 256) if size > 16 else 0
        )

    @property
    def family(self) -> str:
        """IPv4 or IPv6."""
        return f"IPv{self.network.version}"

    def number(self, address: str) -> int | None:
        """The number of an address of this pool's family; None for anything else."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return None
        return int(parsed) if parsed.version == self.network.version else None

    def address(self, number: int) -> str:
        """The inverse of `number`."""
        return str(self._type(number))

    def next_free(self) -> str | None:
        """A free address, or None. It is not held yet."""
        number = self.numbers.next_free()
        return None if number is None else self.address(number)

    def hold(self, address: str, who: Hashable) -> None:
        """Books the address for `who`."""
        number = self.number(address)
        if number is not None:
            self.numbers.hold(number, who)

    def release(self, address: str, who: Hashable) -> None:
        """Gives the address back, if it is `who`'s."""
        number = self.number(address)
        if number is not None:
            self.numbers.release(number, who)
