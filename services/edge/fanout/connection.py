"""A connected listener: the state machine, the way to its socket, and what is remembered of it between the two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from services.edge.access.auth import Permit
from services.edge.listener.listener import Listener
from services.edge.listener.payloads import Payload
from services.edge.listener.session import Counts
from services.edge.wire.transport import Transport

if TYPE_CHECKING:
    import asyncio

    from services.edge.fanout.cohorts import Cohort
    from services.edge.fanout.streams import Stream


class Connection:
    """A connected listener: the state machine, and the way to its socket.

    Args:
        listener: the state machine.
        slot: its reused number; None for a mount, which is no WebSocket.
        address: where it comes from.
        audience: how many people it stands for: 1, or those who fetch a mount.

    Attributes:
        send, send_all: hand a payload, or several, to the connection; never wait, never raise.
        streams: what is rendered for it: at most two, the one that it hears first.
        permit: what it may hear.
        beat: the part of a tick in which it is sent its chunks.
        cohort: those with whom it is sent them; None: it is looked at by itself.
    """

    __slots__ = (
        "_transport",
        "address",
        "audience",
        "backlog_since_s",
        "beat",
        "closed",
        "cohort",
        "counted",
        "first_chunk",
        "listener",
        "permit",
        "round_trip_s",
        "send",
        "send_all",
        "slot",
        "started_s",
        "streams",
        "wake",
    )  # fmt: skip

    def __init__(self, listener: Listener, slot: int | None, address: str, audience: int = 1) -> None:
        self.listener = listener
        self.audience = audience
        self.slot = slot
        self.address = address
        self.streams: list[Stream] = []
        self.permit = Permit()
        self.beat = 0
        self.cohort: Cohort | None = None
        self.closed = False
        self.first_chunk = False
        self.started_s: float | None = None
        self.counted = Counts()
        self.backlog_since_s: float | None = None
        self.round_trip_s = 0.0
        self.wake: asyncio.TimerHandle | None = None

        self._transport: Transport | None = None
        self.send: Callable[[Payload], None] = _drop
        self.send_all: Callable[[Sequence[Payload]], None] = _drop

    @property
    def transport(self) -> Transport | None:
        """The way to its socket; None until it is there."""
        return self._transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._transport = transport
        # Called for every message of every listener: no step in between.
        self.send = transport.send
        self.send_all = transport.send_all


def _drop(_: Payload | Sequence[Payload]) -> None:
    """There is no way to the socket yet."""
