"""One connected listener (shell): its state machine, its transport, and notes of the edge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from services.edge.access.auth import Permit
from services.edge.listener.listener import Listener
from services.edge.listener.payloads import Payload
from services.edge.listener.session import Counts
from services.edge.wire.transport import Transport


class Connection:
    """A connected listener; to streams it is a `Subscriber`.

    Args:
        listener: the state machine.
        number: its reused client number; None: a mount, which is no WebSocket.
        address: the client's address.
        audience: how many people it stands for: 1, or the HTTP listeners of a mount.

    Attributes:
        listener, number, address, audience: as above.
        format: how its chunks are encoded.
        permit: the streams that it may hear.
        slot: the part of a tick in which it is sent its chunks.
        closed: nothing more is sent to it.
        send, send_all: hand a payload, or several, to its transport; never wait, never raise.
        started_s: when it chose its first stream (unix seconds); None: it has not.
        heard: whether it has been sent a chunk.
        counted: the listener's counts that metrics have.
        backlog_since_s: since when it has unsent bytes (unix seconds); None: it has none.
        round_trip_s: the round trip when it was looked at last; 0: not known.
        alarm: when its held-back change of stream may go on; None: none is held back.
    """

    __slots__ = (
        "_transport",
        "address",
        "alarm",
        "audience",
        "backlog_since_s",
        "closed",
        "counted",
        "format",
        "heard",
        "listener",
        "number",
        "permit",
        "round_trip_s",
        "send",
        "send_all",
        "slot",
        "started_s",
    )  # fmt: skip

    def __init__(self, listener: Listener, number: int | None, address: str, audience: int = 1) -> None:
        self.listener = listener
        self.number = number
        self.address = address
        self.audience = audience
        self.format = listener.format
        self.permit = Permit()
        self.slot = 0
        self.closed = False
        self.started_s: float | None = None
        self.heard = False
        self.counted = Counts()
        self.backlog_since_s: float | None = None
        self.round_trip_s = 0.0
        self.alarm: asyncio.TimerHandle | None = None
        self._transport: Transport | None = None
        self.send: Callable[[Payload], None] = _drop
        self.send_all: Callable[[Sequence[Payload]], None] = _drop

    @property
    def transport(self) -> Transport | None:
        """The way to its socket; None until there is one."""
        return self._transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._transport = transport
        # Called for every message of every listener, so nothing stands in between.
        self.send = transport.send
        self.send_all = transport.send_all

    def ahead(self, now_s: float) -> int:
        """Chunks from the live tick on, the live one included, that should be there for it."""
        return self.listener.ahead(now_s)


def _drop(_: Payload | Sequence[Payload]) -> None:
    """There is no transport yet."""
