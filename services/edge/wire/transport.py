"""Pure: the interface to a client's connection, the same for every server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from services.edge.listener.payloads import Payload

BACKLOG_BYTES: Final = 256 * 1024
"""A connection with more unsent bytes than this gets no chunks until it has taken some of them."""
OVERFLOW_BYTES: Final = 4 * 1024 * 1024
"""A connection with more unsent bytes than this is closed ("overflow"). Only events can pile up this far."""
CLOSE_WITHIN_S: Final = 5.0
"""How long a peer may take to read what is unsent, and the close, before its connection is dropped."""


class RawSocket(NamedTuple):
    """A writer past the event loop, for sending the same bytes to thousands of connections.

    Attributes:
        descriptor: of the socket; a payload's `wire` may be written to it while nothing is unsent.
        write: takes the part of a payload that the socket did not take.
    """

    descriptor: int
    write: Callable[[bytes], None]


class Transport(Protocol):
    """Sends payloads to one client without waiting."""

    raw_socket: RawSocket | None
    """A faster way than `send`. None: there is none, or there is none any more."""

    def send(self, payload: Payload) -> None:
        """Send a payload; never waits, never raises."""
        ...

    def send_all(self, payloads: Sequence[Payload]) -> None:
        """Send payloads in order, in one write where that is cheaper; never waits, never raises."""
        ...

    def backlog_bytes(self) -> int:
        """Bytes that have not left this process."""
        ...

    def round_trip_s(self) -> float:
        """Round trip of the last ping; 0 if unknown."""
        ...

    def notify_when_writable(self) -> None:
        """Call `on_writable` once, when the backlog has gone down."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close after everything that was sent; idempotent, returns immediately."""
        ...
