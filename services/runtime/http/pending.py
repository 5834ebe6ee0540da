"""Pure: connections that have no listener yet, bounded in number; overflow drops the one that has waited longest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal

from services.runtime.http.addresses import owner_of

Reason = Literal["pending", "pending_address"]
"""The limit that a dropped connection was over: that of the port or that of its address."""


@dataclass(frozen=True, slots=True)
class Dropped[C]:
    """A connection that has to go, and why."""

    connection: C
    reason: Reason


class PendingConnections[C: Hashable]:
    """Connections that wait for a request, in the order in which they began to.

    The oldest goes first: an honest client sends its request within a round trip, one that holds a place does not.

    Args:
        most: connections that may be pending, at least 1.
        most_per_address: as many of one IPv4 address or one IPv6 /64 network, at least 1.
        is_proxy: whether an address is that of a proxy, which has no limit of its own.
    """

    def __init__(self, most: int, most_per_address: int, is_proxy: Callable[[str], bool] = lambda _: False) -> None:
        self._most = max(1, most)
        self._most_per_address = max(1, most_per_address)
        self._is_proxy = is_proxy
        self._owners: OrderedDict[C, str] = OrderedDict()
        self._by_owner: dict[str, OrderedDict[C, None]] = {}

    def __len__(self) -> int:
        """Connections that are pending."""
        return len(self._owners)

    def add(self, connection: C, address: str) -> Dropped[C] | None:
        """Count a connection in as the newest.

        Returns:
            The connection that the caller must drop; it is counted out already.
        """
        self.remove(connection)
        owner = owner_of(address)
        self._owners[connection] = owner
        same = self._by_owner.setdefault(owner, OrderedDict())
        same[connection] = None
        dropped: Dropped[C] | None = None
        if len(same) > self._most_per_address and not self._is_proxy(address):
            dropped = Dropped(next(iter(same)), "pending_address")
        elif len(self._owners) > self._most:
            dropped = Dropped(next(iter(self._owners)), "pending")
        if dropped is not None:
            self.remove(dropped.connection)
        return dropped

    def remove(self, connection: C) -> None:
        """Count a connection out; idempotent."""
        owner = self._owners.pop(connection, None)
        if owner is None:
            return
        same = self._by_owner[owner]
        del same[connection]
        if not same:
            # Only addresses with a connection are kept, because there is no end of different ones.
            del self._by_owner[owner]
