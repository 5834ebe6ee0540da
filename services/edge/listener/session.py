"""Pure: the part of a listener that stays from its first message to its last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.contract import websocket
from services.contract.spec import StreamSpec
from services.contract.websocket import MAX_INBOUND_BYTES
from services.edge.listener import resume
from services.edge.listener.actions import Action, SendEvent
from services.edge.listener.payloads import Format
from services.edge.listener.resume import ResumePoint
from services.edge.listener.settings import (
    BURST_CHUNKS,
    MAX_MESSAGES_PER_S,
    MAX_UPDATES_PER_S,
    TOKEN_EVERY_S,
    ListenerSettings,
)
from services.edge.listener.tiers import TierController
from services.edge.listener.token_bucket import TokenBucket


@dataclass(slots=True)
class Counts:
    """Rare events of one listener since it connected.

    Attributes:
        underruns: how often its buffer ran empty, seen by the edge or reported by the player.
        skips: how often it was moved on to the live tick.
        skipped_chunks: chunks that it missed in these skips.
        splices: how often it changed its stream while listening.
    """

    underruns: int = 0
    skips: int = 0
    skipped_chunks: int = 0
    splices: int = 0


class Pace:
    """Limits the chunks that a listener is sent: outbound limit, and fill rate of its buffer.

    The fill rate saves up tokens, and they are capped only when a filling begins. So a listener's buffer is full again
    with its next turn, even if the edge was late or its crowd is so large that a listener has one turn a second.

    Args:
        settings: the rates.
    """

    __slots__ = ("_fill", "_fill_chunks", "_limit")

    def __init__(self, settings: ListenerSettings) -> None:
        deepest = settings.tiers.deepest
        self._fill_chunks = settings.fill_chunks
        self._fill = TokenBucket(settings.fill_chunks_per_s, max(settings.fill_chunks, deepest))
        self._limit = TokenBucket(settings.chunks_per_s, max(BURST_CHUNKS, deepest))

    def allowed(self, now_s: float) -> int:
        """Chunks that may be sent at `now_s`."""
        return min(self._fill.available(now_s), self._limit.available(now_s))

    def spend(self, now_s: float, chunks: int) -> None:
        """Count `chunks` as sent."""
        self._fill.take(now_s, chunks)
        self._limit.take(now_s, chunks)

    def begin_filling(self, now_s: float) -> None:
        """A buffer is filled from here on: what was saved up before does not count."""
        self._fill.cap(now_s, self._fill_chunks)


class Session:
    """The part of a listener that its states `Waiting` and `Hearing` share.

    Args:
        settings: limits and the secret.
        format_: how its chunks are encoded.
        events: whether it gets `hello`, `status` and `splice`.
        now_s: unix seconds.
        shift_s: of the clock, see `Clock`: clients and other edges are told the time with it.

    Attributes:
        settings, format, events, shift_s: as above; `events` may be turned on and off later.
        tiers: how deep its buffer is filled.
        pace: how fast its buffer is filled.
        counts: rare events, for metrics.
    """

    __slots__ = ("_token_issued_s", "counts", "events", "format", "pace", "settings", "shift_s", "tiers")

    def __init__(
        self, settings: ListenerSettings, *, format_: Format, events: bool, now_s: float, shift_s: float = 0.0
    ) -> None:
        self.shift_s = shift_s
        self.settings = settings
        self.format = format_
        self.events = events
        self.tiers = TierController(settings.tiers)
        self.pace = Pace(settings)
        self.counts = Counts()
        self._token_issued_s = now_s

    def tell(self, body: Mapping[str, Any], actions: list[Action]) -> None:
        """Send an event if the listener wants events; others get audio and errors only."""
        if self.events:
            actions.append(SendEvent(body))

    def hello(
        self,
        spec: StreamSpec,
        chunk_id: int,
        now_s: float,
        actions: list[Action],
        *,
        recovered: bool | None = None,
    ) -> None:
        """Send `hello` with a new resume token.

        Args:
            spec: the stream that is heard.
            chunk_id: the next chunk.
            now_s: unix seconds.
            actions: gets the event.
            recovered: whether the listener resumed without a gap; None: it did not try to.
        """
        if not self.events:
            return
        self._token_issued_s = now_s
        body = websocket.hello(
            spec=spec,
            chunk_id=chunk_id,
            tier=self.tiers.tier,
            resume=self.token(ResumePoint(spec.stream_id, chunk_id), now_s),
            recovered=recovered,
            server_time=now_s + self.shift_s,
            format_=websocket.OPUS_FORMAT if self.format is Format.OPUS else websocket.FORMAT,
            limits={
                "max_inbound_bytes": MAX_INBOUND_BYTES,
                "max_messages_per_s": MAX_MESSAGES_PER_S,
                "max_updates_per_s": MAX_UPDATES_PER_S,
                "max_chunks_per_s": self.settings.chunks_per_s,
            },
        )
        actions.append(SendEvent(body))

    def token(self, point: ResumePoint, now_s: float) -> str:
        """A resume token for `point`."""
        return resume.issue(self.settings.secret, point, now_s + self.shift_s)

    def token_is_old(self, now_s: float) -> bool:
        """Whether the listener should get a new resume token."""
        return self.events and now_s - self._token_issued_s >= TOKEN_EVERY_S
