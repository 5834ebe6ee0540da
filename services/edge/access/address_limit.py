"""Pure: a limit on the connections of one address."""

from __future__ import annotations

from collections import Counter

from services.runtime.http.addresses import owner_of


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
        owner = owner_of(address)
        if self._most and self._open[owner] >= self._most:
            return False
        self._open[owner] += 1
        return True

    def leave(self, address: str) -> None:
        """Forget a connection that `enter` has counted."""
        owner = owner_of(address)
        self._open[owner] -= 1
        if self._open[owner] <= 0:
            # Only addresses with a connection are kept, because there is no end of different ones.
            del self._open[owner]

    def __len__(self) -> int:
        """Addresses and networks with at least one connection."""
        return len(self._open)
