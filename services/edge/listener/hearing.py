"""Pure: the state of a listener that hears a stream: its cursor, and its change of stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from services.contract import websocket
from services.contract.spec import StreamSpec
from services.contract.timebase import TICKS_PER_S
from services.edge.listener.actions import Action, Leave, SendChunk, SendEvent
from services.edge.listener.session import Session
from services.edge.listener.steering import Steering
from services.edge.stream.chunk import Chunk, Source, Timeline
from services.edge.stream.mixing import crossfade
from services.edge.stream.ring import EARLY_TICKS

SPLICE_AHEAD_CHUNKS: Final = 1
"""A splice begins with the next chunk that is played. It is heard within 300 ms of the request, which is time for
rendering, the rest of the present chunk, and a player that is up to a chunk behind. A player that gets the splice late
fades from where it is."""
SPLICE_MIN_CHUNKS: Final = 2
"""A splice waits until this many chunks may be sent together."""


class Place(NamedTuple):
    """The place of a steady listener, which needs one chunk a tick and nothing else.

    Attributes:
        lag: chunks behind the live tick; negative: ahead of it.
        tier: name of its tier.
        target: chunks that it holds with each one that it is sent.
    """

    lag: int
    tier: str
    target: int


class Hearing:
    """A listener's cursor on the timeline of the stream that it hears.

    Args:
        session: what the listener keeps over its states.
        spec: the stream.
        cursor: the chunk that it is sent first.
        lag: chunks by which it is behind the live tick, because it resumed; negative: it joined slightly ahead.

    Attributes:
        spec, stream_id: the stream that it hears.
        cursor: the chunk that it is sent next.
        steering: changes that it has asked for.
        starved: it wants a chunk that is not there yet.
        steady: its buffer is full and its stream is rendered, so the next tick brings one chunk and nothing else.
        ran_dry: its buffer ran empty, and it has not been sent a chunk since.
    """

    __slots__ = (
        "_fade_from", "_fresh", "_lag", "_session", "_source", "cursor", "ran_dry", "spec", "starved", "steady",
        "steering", "stream_id",
    )  # fmt: skip

    def __init__(self, session: Session, spec: StreamSpec, cursor: int, lag: int) -> None:
        self.spec = spec
        self.stream_id = spec.stream_id
        self.cursor = cursor
        self.steering = Steering()
        self.starved = False
        self.steady = False
        self.ran_dry = False
        self._session = session
        self._lag = lag
        self._source = Source.LIVE
        # The next chunk does not follow the one that was sent last: the first one, and after a splice or a skip.
        self._fresh = True
        # The chunk of the stream before, for a client that cannot crossfade by itself.
        self._fade_from: Chunk | None = None

    # --- where it stands ---------------------------------------------------------------------------------------------

    def depth(self, live: int) -> int:
        """Chunks that it holds unplayed, as far as the edge knows."""
        return max(0, self.cursor - (live - self._lag))

    @property
    def early(self) -> int:
        """Chunks by which it is ahead of the live tick; 0 or more."""
        return max(0, -self._lag)

    def place(self, live: int) -> Place | None:
        """Its place, if it needs one chunk a tick from here on; None: something else is due.

        Args:
            live: the live tick, whose chunk it has been sent.
        """
        tiers = self._session.tiers
        target = tiers.settled
        if (
            not self.steady
            or target is None
            or self.cursor != live - self._lag + target
            or self.steering
            or self._session.settings.chunks_per_s <= TICKS_PER_S
        ):
            return None
        return Place(self._lag, tiers.tier, target)

    def advance_to(self, cursor: int) -> None:
        """Move the cursor: every chunk before `cursor` has been sent, one a tick."""
        if cursor > self.cursor:
            self._session.tiers.on_delivered(cursor - self.cursor)
            self.cursor = cursor

    # --- changes of stream -------------------------------------------------------------------------------------------

    def steer_to(self, spec: StreamSpec, now_s: float, live: int) -> list[Action]:
        """The listener wants to hear `spec`."""
        actions = self.steering.change_to(spec, self.spec)
        return actions + self.steering.ask(now_s, self._join_tick(live))

    def follow_steering(
        self, timeline: Timeline, timelines: Mapping[str, Timeline], now_s: float, live: int, actions: list[Action]
    ) -> Timeline:
        """Ask for the newest change, and make the pending one if it is rendered.

        Returns:
            The timeline to send from.
        """
        actions += self.steering.ask(now_s, self._join_tick(live))
        pending = self.steering.pending
        new = None if pending is None else timelines.get(pending.stream_id)
        if pending is None or new is None or new.origin is None:
            return timeline
        if self._session.events:
            changed = self._splice(pending, new, now_s, live, actions)
        else:
            changed = self._crossfade(timeline, new)
        if not changed:
            return timeline
        actions.append(Leave(self.stream_id))
        self.spec = pending
        self.stream_id = pending.stream_id
        self.steering.finish()
        self._session.counts.splices += 1
        self.say_hello(now_s, actions)
        return new

    def _join_tick(self, live: int) -> int:
        """The first chunk that is needed of a stream that it changes to."""
        return min(self.cursor, self._splice_tick(live)) if self._session.events else self.cursor

    def _splice_tick(self, live: int) -> int:
        return live - self._lag + SPLICE_AHEAD_CHUNKS

    def _splice(self, spec: StreamSpec, new: Timeline, now_s: float, live: int, actions: list[Action]) -> bool:
        """Go over to `new` with the next chunk that is played; False: it cannot be done yet."""
        tick = self._splice_tick(live)
        if new.origin is not None and tick < new.origin <= tick + EARLY_TICKS:
            tick = new.origin
        tick = min(tick, self.cursor)
        if new.chunk(tick) is None and self._lag > 0 and new.chunk(live + SPLICE_AHEAD_CHUNKS) is not None:
            # The new stream has no history as old as this listener's place, so the listener moves to the live tick.
            self._lag = 0
            tick = live + SPLICE_AHEAD_CHUNKS
        if new.chunk(tick) is None or self._session.pace.allowed(now_s) < SPLICE_MIN_CHUNKS:
            return False
        actions.append(SendEvent(websocket.splice(tick, spec)))
        self._session.pace.begin_filling(now_s)
        self.cursor = tick
        self._fresh = True
        return True

    def _crossfade(self, old: Timeline, new: Timeline) -> bool:
        """Go over to `new` for a client that cannot splice, with the next chunk; False: not yet."""
        fade_from = old.chunk(self.cursor)
        if fade_from is None or new.chunk(self.cursor) is None:
            return False
        self._fade_from = fade_from
        return True

    # --- what it is sent ---------------------------------------------------------------------------------------------

    def send(self, timeline: Timeline, now_s: float, live: int, capacity: int, actions: list[Action]) -> None:
        """Everything that may be sent now.

        Args:
            timeline: of the stream that it hears.
            now_s: unix seconds.
            live: the live tick.
            capacity: chunks that its connection takes now, at least 1.
            actions: gets what to send.
        """
        session = self._session
        here = live - self._lag
        if self.cursor < here:
            self._skip(here, now_s, actions)
        end = here + session.tiers.target(now_s)
        tier = session.tiers.tier
        first = cursor = self.cursor
        capacity = min(capacity, session.pace.allowed(now_s))
        self.starved = False
        while cursor < end:
            chunk = timeline.chunk(cursor)
            if chunk is None:
                self.starved = True
                break
            if capacity <= 0:
                break
            if chunk.source != self._source and chunk.source is not Source.FADE:
                self._change_source(chunk.source, actions)
            if self._fade_from is not None:
                chunk = self._faded(chunk)
            depth = cursor - here + 1
            if self.ran_dry:
                self.ran_dry = False
                depth = 0
            actions.append(SendChunk(chunk, tier, depth, self._fresh))
            self._fresh = False
            cursor += 1
            capacity -= 1
        self.cursor = cursor
        if cursor > first:
            session.pace.spend(now_s, cursor - first)
            session.tiers.on_delivered(cursor - first)
        self.steady = cursor == end and self._source is Source.LIVE

    def say_hello(self, now_s: float, actions: list[Action]) -> None:
        """Send `hello` with a resume token for the present place."""
        self._session.hello(self.spec, self.cursor, now_s, actions)

    def _faded(self, chunk: Chunk) -> Chunk:
        """`chunk`, crossfaded from the stream before if it is the first one of this stream."""
        fade_from, self._fade_from = self._fade_from, None
        if fade_from is None or fade_from.tick != chunk.tick:
            return chunk
        return Chunk(chunk.tick, crossfade(fade_from.pcm, chunk.pcm), Source.FADE)

    def _skip(self, here: int, now_s: float, actions: list[Action]) -> None:
        """Its buffer ran empty: it goes on at the live tick, and is told."""
        session = self._session
        session.counts.underruns += 1
        session.counts.skips += 1
        session.counts.skipped_chunks += here - self.cursor
        session.tiers.on_underrun(now_s)
        session.tell(websocket.status("skipped", from_chunk_id=self.cursor, to_chunk_id=here), actions)
        self.ran_dry = self._fresh = True
        self._fade_from = None
        self.cursor = here

    def jump(self, ticks: int, now_s: float, actions: list[Action]) -> None:
        """Go on with the same sound under another number: time has jumped by `ticks`."""
        before, self.cursor = self.cursor, self.cursor + ticks
        self._session.tell(
            websocket.status("skipped", from_chunk_id=before, to_chunk_id=self.cursor, reason="clock"), actions
        )
        self._fresh = True
        self._fade_from = None
        self.steady = False
        self.say_hello(now_s, actions)

    def _change_source(self, source: Source, actions: list[Action]) -> None:
        self._source = source
        self._session.tell(websocket.status("degraded" if source is Source.LOOP else "playing"), actions)
