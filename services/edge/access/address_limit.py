"""Pure: a limit on the connections of one address."""

from __future__ import annotations

import ipaddress
from collections import Counter

_IPV6_PREFIX_BITS = 64
"""Providers give each customer an IPv6 network of at least this size, so one household has all of its addresses."""


class AddressLimit:
    """Counts the connections of each IPv4 address and each IPv6 /64 network.

    Args:
        most: connections that one of them may have; 0: no limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a new connection; False, and nothing is counted, if the address has `most` already."""
        owner = _owner(address)
        if self._most and self._open[owner] >= self._most:
            return False
        self._open[owner] += 1
        return True

    def leave(self, address: str) -> None:
        """Forget a connection that `enter` has counted."""
        owner = _owner(address)
        self._open[owner] -= 1
        if self._open[owner] <= 0:
            # Only addresses with a connection are kept, because there is no end of different ones.
            del self._open[owner]

    def __len__(self) -> int:
        """Addresses and networks with at least one connection."""
        return len(self._open)


def _owner(address: str) -> str:
    """The IPv4 address itself, or the /64 network of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], _IPV6_PREFIX_BITS), strict=False))
    except ValueError:
        return address
