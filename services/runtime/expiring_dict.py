"""Pure: a mapping whose entries expire unless they are renewed."""

from __future__ import annotations

from collections.abc import Iterator


class ExpiringDict[K, V]:
    """Keys with a value and the time they were last set; entries older than `ttl` have expired.

    Times are any numbers that grow (seconds, blocks), in the unit of `ttl`. An expired entry is not found, and is kept
    until `expire` drops it; call `expire` now and then, so that memory follows the keys in use.

    Args:
        ttl: greatest age of an entry that is found; an entry exactly this old still is.
    """

    def __init__(self, ttl: float) -> None:
        self.ttl = ttl
        self._entries: dict[K, tuple[V, float]] = {}

    def __len__(self) -> int:
        """Entries that are kept, expired ones included."""
        return len(self._entries)

    def set(self, key: K, value: V, now: float) -> None:
        """Set or renew an entry."""
        self._entries[key] = (value, now)

    def get(self, key: K, now: float) -> V | None:
        """The value of `key`; None if it was never set or has expired."""
        entry = self._entries.get(key)
        return None if entry is None or now - entry[1] > self.ttl else entry[0]

    def items(self, now: float) -> Iterator[tuple[K, V]]:
        """Entries that have not expired, in the order in which their keys were first set."""
        return ((key, value) for key, (value, at) in self._entries.items() if now - at <= self.ttl)

    def values(self, now: float) -> Iterator[V]:
        """Values of the entries that have not expired."""
        return (value for _, value in self.items(now))

    def expire(self, now: float) -> dict[K, V]:
        """Drop the entries that have expired; returns them."""
        expired = {key: value for key, (value, at) in self._entries.items() if now - at > self.ttl}
        for key in expired:
            del self._entries[key]
        return expired
