"""One listener, without I/O: what it says, the time, and what has been rendered go in; what to send comes out.

A listener is a cursor on a stream's line of chunks. It stands at the live tick and is sent up to its tier ahead of it.
While its connection takes nothing the cursor stays; when it takes again and the cursor has fallen behind the live tick,
it jumps there, at a chunk boundary, and the listener is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from services.contract import websocket
from services.contract.errors import ContractError, FieldError
from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_MS, TICKS_PER_S
from services.contract.websocket import MAX_INBOUND_BYTES, CloseCode, Report, Start, Stop, Update, parse_client_message
from services.edge.listener import resume
from services.edge.listener.actions import Action, Close, Join, Leave, SendChunk, SendEvent
from services.edge.listener.payloads import Format
from services.edge.listener.resume import ResumePoint
from services.edge.listener.tiers import TierController, TierLimits
from services.edge.listener.token_bucket import TokenBucket
from services.edge.stream.mixing import crossfade
from services.edge.stream.ring import EARLY_TICKS, HISTORY_CHUNKS, Chunk, Source

START_WITHIN_S: Final = 10.0
"""A connection that has not said `start` by then is closed."""
STALLED_S: Final = 30.0
"""A connection that has taken nothing for so long is closed."""
WARMING_AFTER_S: Final = 0.25
"""Longer than a block takes when a renderer is there: only then is waiting worth a message."""
TOKEN_EVERY_S: Final = 33.0
"""A token lives for a minute, and a crowd is looked after every five seconds: at worst a token outlives its connection
by 22 s, more than there is history to go on in."""
MAX_UPDATES_PER_S: Final = 20
PATIENCE_S: Final = 0.25
"""A change that has not been rendered by then gives way to a newer one."""
SPLICE_AHEAD_CHUNKS: Final = 1
"""Where a splice begins: with the next chunk that is played. It is heard within 300 ms of being asked for: rendering,
the rest of the present chunk, and up to a chunk by which the player is behind. One that learns of it late fades from
where it is."""
SPLICE_MIN_CHUNKS: Final = 2
"""A splice waits until so many chunks may be sent at once."""
MAX_MESSAGES_PER_S: Final = 40
MESSAGE_BURST: Final = 100
BURST_CHUNKS: Final = 25
FILL_CHUNKS: Final = 3
FILL_CHUNKS_PER_S: Final = 30
"""How a buffer is filled: enough to begin at once, then three times as fast as it is played. All at once would only
queue up in the client, ahead of everything else that it has to read."""
MAX_LAG_CHUNKS: Final = HISTORY_CHUNKS - 2 * BURST_CHUNKS


class Line(Protocol):
    """What a listener needs of a ring."""

    @property
    def origin(self) -> int | None:
        """The first tick there is."""
        ...

    def chunk(self, tick: int) -> Chunk | None:
        """A tick's chunk, if it can be given out."""
        ...


class Place(NamedTuple):
    """Where a listener stands to whom nothing happens.

    Attributes:
        lag: chunks behind the live tick; negative: ahead of it.
        tier: its name.
        target: chunks that it holds with each one that it is sent.
    """

    lag: int
    tier: str
    target: int


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """What is the same for every listener of an edge.

    Attributes:
        tiers: chunks of each tier.
        chunks_per_s: outbound limit; a burst of `BURST_CHUNKS`, or of the deepest tier if that is more, passes at once.
        secret: signs resume tokens.
        fill_chunks, fill_chunks_per_s: how a buffer is filled: so many at once, then at this rate.
    """

    tiers: TierLimits
    chunks_per_s: float
    secret: bytes
    fill_chunks: int = FILL_CHUNKS
    fill_chunks_per_s: float = FILL_CHUNKS_PER_S


@dataclass(slots=True)
class Counts:
    """What has gone wrong, or changed, for a listener since it connected: rare events only."""

    underruns: int = 0
    skips: int = 0
    skipped_chunks: int = 0
    splices: int = 0


class Listener:
    """See the module's text.

    Args:
        settings: limits and the secret.
        format_: how it wants its chunks.
        events: it understands `hello`, `status` and `splice`.
        now_s: unix seconds.

    Attributes:
        spec: what it hears, or will hear first; None before `start`.
        tiers: its tier.
        counts: for metrics.
        closed: nothing more will be sent.
        hungry: it wants chunks that are not there yet.
    """

    def __init__(self, settings: ListenerSettings, *, format_: Format, events: bool, now_s: float) -> None:
        self._settings = settings
        self.format = format_
        self.events = events
        self.spec: StreamSpec | None = None
        self.tiers = TierController(settings.tiers)
        self.counts = Counts()
        self.closed = False
        self.hungry = False
        self.reported_depth: int | None = None
        self._connected_s = now_s
        self._started_s = now_s
        self._messages = TokenBucket(MAX_MESSAGES_PER_S, MESSAGE_BURST)
        self._chunks = TokenBucket(settings.chunks_per_s, max(BURST_CHUNKS, settings.tiers.deepest))
        # Capped whenever a filling begins. It saves up in between: where it was the edge that was held up, or has so
        # many to look at that each has its turn once a second, a listener is full again with its next turn.
        self._fill = TokenBucket(settings.fill_chunks_per_s, max(settings.fill_chunks, settings.tiers.deepest))
        self._cursor: int | None = None
        # Chunks by which this listener is behind the live tick: it came back and goes on where it was. Negative: it was
        # let in a little early.
        self._lag = 0
        self._ran_dry = False
        # What it is sent next does not follow what it was sent last: it came, changed its stream, or was moved on.
        self._fresh = True
        # Its buffer is full and what it hears is rendered: the next tick brings one chunk and nothing else.
        self._unhurried = False
        self._state = ""
        self._token_s = now_s
        self._blocked_since_s: float | None = None
        self._resume: ResumePoint | None = None
        self._resuming = False
        self._fade_from: Chunk | None = None
        # Steering: what was asked for last, and what is being rendered for it.
        self._wanted: StreamSpec | None = None
        self._pending: StreamSpec | None = None
        self._pending_s = -1e9

    # --- what it says ------------------------------------------------------------------------------------------------

    def receive(self, data: str | bytes, now_s: float, live: int) -> list[Action]:
        """A message has come.

        Args:
            data: text or binary payload.
            now_s: unix seconds.
            live: the live tick.
        """
        if self.closed:
            return []
        if not self._messages.take(now_s):
            text = f"more than {MAX_MESSAGES_PER_S} messages a second; send fewer"
            return self._fail(CloseCode.RATE, text)
        size_bytes = len(data) if isinstance(data, bytes) else len(data.encode(errors="replace"))
        if size_bytes > MAX_INBOUND_BYTES:
            return self._fail(CloseCode.TOO_BIG, f"got {size_bytes} bytes, expected at most {MAX_INBOUND_BYTES}")
        try:
            message = parse_client_message(data)
        except FieldError as error:
            # One value was wrong; what plays goes on.
            return [SendEvent(websocket.error(CloseCode.BAD_MESSAGE, str(error), error.field))]
        except ContractError as error:
            return self._fail(CloseCode.BAD_MESSAGE, str(error))
        match message:
            case Start():
                return self._start(message, now_s, live)
            case Update():
                return self._update(message, now_s, live)
            case Report():
                self._report(message, now_s)
                return []
            case Stop():
                return self._close(CloseCode.STOPPED, "stopped")

    def _start(self, message: Start, now_s: float, live: int) -> list[Action]:
        self.events = self.events or message.events
        if self.spec is not None:
            return self._steer_to(message.spec, now_s, live)
        self.spec = message.spec
        self._started_s = now_s
        if message.resume is not None:
            self._resuming = True
            point = resume.read(self._settings.secret, message.resume, now_s)
            if point is not None and point.stream_id == message.spec.stream_id:
                if message.chunk_id is not None:
                    # The client knows best what it has: more than an old token says, or less than a last one does, when
                    # what was sent before it never arrived.
                    point = ResumePoint(point.stream_id, message.chunk_id, final=True)
                self._resume = point
        return [Join(message.spec, self._resume.chunk_id if self._resume is not None else live)]

    def _update(self, message: Update, now_s: float, live: int) -> list[Action]:
        if message.events is not None and self.format is Format.JSON:
            self.events = message.events
        if self.spec is None:
            body = websocket.error(CloseCode.BAD_MESSAGE, "update: nothing plays yet; send start first", "action")
            return [SendEvent(body)]
        base = self._wanted or self._pending or self.spec
        return self._steer_to(base.updated(message.params), now_s, live)

    def _report(self, message: Report, now_s: float) -> None:
        self.counts.underruns += self.tiers.on_report(message.chunk_id, message.underruns, message.jitter_ms, now_s)
        self.reported_depth = round(message.buffer_ms / CHUNK_MS)

    # --- steering ----------------------------------------------------------------------------------------------------

    def _steer_to(self, spec: StreamSpec, now_s: float, live: int) -> list[Action]:
        actions: list[Action] = []
        assert self.spec is not None  # noqa: S101 - for the type checker; both callers looked
        if self._cursor is None:
            # Nothing has been heard of the present stream: there is nothing to join to.
            if spec != self.spec:
                actions += [Leave(self.spec.stream_id), Join(spec, live)]
                self.spec = spec
                self._resume = None
            return actions
        if spec == self.spec:
            self._wanted = None
            self._drop_pending(actions)
        elif spec == self._pending:
            self._wanted = None
        else:
            self._wanted = spec
            self._ask_wanted(now_s, live, actions)
        return actions

    def _ask_wanted(self, now_s: float, live: int, actions: list[Action]) -> None:
        """Have the newest wish rendered, if the one before has had its chance."""
        if self._wanted is None or now_s < self._next_ask_s():
            return
        self._drop_pending(actions)
        self._pending, self._wanted = self._wanted, None
        self._pending_s = now_s
        assert self._cursor is not None  # noqa: S101 - for the type checker
        tick = self._cursor
        if self.events:
            tick = min(tick, live - self._lag + SPLICE_AHEAD_CHUNKS)
        actions.append(Join(self._pending, tick))

    def _next_ask_s(self) -> float:
        return self._pending_s + (PATIENCE_S if self._pending is not None else 1 / MAX_UPDATES_PER_S)

    @property
    def wake_s(self) -> float | None:
        """When `pump` should be called although nothing has happened; None: at the next tick."""
        return None if self._wanted is None else self._next_ask_s()

    def _drop_pending(self, actions: list[Action]) -> None:
        if self._pending is not None:
            actions.append(Leave(self._pending.stream_id))
            self._pending = None

    def _switch(self, line: Line, lines: Mapping[str, Line], now_s: float, live: int, actions: list[Action]) -> Line:
        """Go over to the pending stream if it can be heard by now; returns the line to go on with."""
        assert self.spec is not None  # noqa: S101 - for the type checker; the caller looked
        assert self._pending is not None  # noqa: S101 - as above
        assert self._cursor is not None  # noqa: S101 - as above
        new = lines.get(self._pending.stream_id)
        if new is None or new.origin is None:
            return line
        if self.events:
            tick = live - self._lag + SPLICE_AHEAD_CHUNKS
            if tick < new.origin <= tick + EARLY_TICKS:
                tick = new.origin
            tick = min(tick, self._cursor)
            if new.chunk(tick) is None and self._lag > 0 and new.chunk(live + SPLICE_AHEAD_CHUNKS) is not None:
                # The new stream has no history as old as this listener's place: it comes forward.
                self._lag = 0
                tick = live + SPLICE_AHEAD_CHUNKS
            if new.chunk(tick) is None or self._allowed(now_s) < SPLICE_MIN_CHUNKS:
                return line
            actions.append(SendEvent(websocket.splice(tick, self._pending)))
            self._fill.cap(now_s, self._settings.fill_chunks)
            self._cursor = tick
            self._fresh = True
        else:
            old = line.chunk(self._cursor)
            if old is None or new.chunk(self._cursor) is None:
                return line
            # This client cannot crossfade, so the chunk it gets does.
            self._fade_from = old
        actions.append(Leave(self.spec.stream_id))
        self.spec, self._pending = self._pending, None
        self.counts.splices += 1
        self._hello(now_s, actions)
        return new

    def refused(self, stream_id: str, reason: str, *, code: CloseCode = CloseCode.TRY_LATER) -> list[Action]:
        """A stream that it wanted cannot be had.

        Returns:
            The end of the connection, or only an error where other music goes on.
        """
        if self.closed:
            return []
        if self._pending is not None and self._pending.stream_id == stream_id:
            self._pending = None
            return [SendEvent(websocket.error(code, reason, "params"))]
        if self._cursor is not None or self.spec is None or self.spec.stream_id != stream_id:
            # It hears something, or has moved on: nothing of it is refused.
            return []
        return self._fail(code, reason)

    # --- what it is sent ---------------------------------------------------------------------------------------------

    def pump(self, now_s: float, live: int, lines: Mapping[str, Line], room: int) -> Sequence[Action]:
        """Everything that may be sent now.

        Args:
            now_s: unix seconds.
            live: the live tick.
            lines: stream id -> line, of all streams there are.
            room: chunks that the connection can take now; 0 while it is stalled.
        """
        spec = self.spec
        if self.closed:
            return ()
        if spec is None:
            return self._check_started(now_s)
        actions: list[Action] = []
        line = lines.get(spec.stream_id)
        if line is None:
            return actions
        if self._cursor is None:
            place = self._find_place(line, live)
            if place is None:
                self._wait(now_s, live, actions)
                return actions
            if room <= 0:
                # Its place is where it is when it can be sent something.
                return self._stall(now_s, actions)
            self._begin(line, place, now_s, live, actions)
        elif self._pending is not None or self._wanted is not None:
            self._ask_wanted(now_s, live, actions)
            if self._pending is not None:
                line = self._switch(line, lines, now_s, live, actions)
        if room <= 0:
            return self._stall(now_s, actions)
        if self._blocked_since_s is not None:
            self._blocked_since_s = None
            self._fill.cap(now_s, self._settings.fill_chunks)
        self._send(line, now_s, live, room, actions)
        if self.token_is_old(now_s):
            self._hello(now_s, actions)
        return actions

    def settled(self, live: int) -> Place | None:
        """Where it stands, if nothing but time moves it from here on: the common case, which thousands share.

        Whoever sends such listeners their chunks without asking them tells with `went_on` how far they have come,
        before anything else is asked of them.

        Args:
            live: the live tick, whose chunk it has been sent.
        """
        target = self.tiers.settled
        if (
            not self._unhurried
            or target is None
            or self._cursor != live - self._lag + target
            or self._wanted is not None
            or self._pending is not None
            or self._settings.chunks_per_s <= TICKS_PER_S
            or self.closed
        ):
            return None
        return Place(self._lag, self.tiers.tier, target)

    def went_on(self, cursor: int) -> None:
        """It was sent every chunk before `cursor`, one a tick."""
        if self._cursor is not None and cursor > self._cursor:
            self.tiers.on_delivered(cursor - self._cursor)
            self._cursor = cursor

    def token_is_old(self, now_s: float) -> bool:
        """Whether it should be sent a new resume token."""
        return self.events and self._cursor is not None and now_s - self._token_s >= TOKEN_EVERY_S

    def renew_token(self, now_s: float) -> list[Action]:
        """A new resume token for the place where it is."""
        actions: list[Action] = []
        self._hello(now_s, actions)
        return actions

    def _send(self, line: Line, now_s: float, live: int, room: int, actions: list[Action]) -> None:
        cursor = self._cursor
        assert cursor is not None  # noqa: S101 - for the type checker; the caller has begun
        here = live - self._lag
        if cursor < here:
            self._skip(cursor, here, now_s, actions)
            cursor = here
        end = here + self.tiers.target(now_s)
        first = cursor
        tier = self.tiers.tier
        self.hungry = False
        room = min(room, self._allowed(now_s))
        while cursor < end:
            chunk = line.chunk(cursor)
            if chunk is None:
                self.hungry = True
                break
            if room <= 0:
                break
            if chunk.source != self._state and chunk.source is not Source.FADE:
                self._change_state(chunk.source, actions)
            if self._fade_from is not None:
                if self._fade_from.tick == cursor:
                    chunk = Chunk(cursor, crossfade(self._fade_from.pcm, chunk.pcm), Source.FADE)
                self._fade_from = None
            depth = cursor - here + 1
            if self._ran_dry:
                self._ran_dry = False
                depth = 0
            actions.append(SendChunk(chunk, tier, depth, self._fresh))
            self._fresh = False
            cursor += 1
            room -= 1
        self._cursor = cursor
        if cursor > first:
            self._fill.take(now_s, cursor - first)
            self._chunks.take(now_s, cursor - first)
            self.tiers.on_delivered(cursor - first)
        self._unhurried = cursor == end and self._state == Source.LIVE

    def _find_place(self, line: Line, live: int) -> int | None:
        """The live tick, or one that is hardly ahead of it, where the line can be joined; None: not yet."""
        if line.origin is None:
            return None
        place = max(live, line.origin)
        return place if place <= live + EARLY_TICKS and line.chunk(place) is not None else None

    def _allowed(self, now_s: float) -> int:
        """Chunks that limit and filling let pass now."""
        return min(self._fill.available(now_s), self._chunks.available(now_s))

    def _begin(self, line: Line, place: int, now_s: float, live: int, actions: list[Action]) -> None:
        """Stand at `place`, or where it was before it lost its connection."""
        point, self._resume = self._resume, None
        self._fill.cap(now_s, self._settings.fill_chunks)
        cursor = place
        self._lag = live - place
        recovered: bool | None = False if self._resuming else None
        if point is not None:
            # A token that was issued while more was sent after it says too little to go back behind the live tick.
            earliest = live - MAX_LAG_CHUNKS if point.final else live
            if earliest <= point.chunk_id <= live + self._settings.tiers.deepest and (
                point.chunk_id >= live or line.chunk(point.chunk_id) is not None
            ):
                cursor = point.chunk_id
                self._lag = max(0, live - cursor)
                recovered = True
        self._cursor = cursor
        self._resuming = False
        self._hello(now_s, actions, recovered=recovered)
        if self._state == "warming":
            self._tell(websocket.status("playing", chunk_id=cursor), actions)
        self._state = Source.LIVE

    def _wait(self, now_s: float, live: int, actions: list[Action]) -> None:
        """Nothing can be heard yet; say so once, if it takes long."""
        self.hungry = True
        if self._state != "warming" and now_s - self._started_s >= WARMING_AFTER_S:
            self._state = "warming"
            self._hello(now_s, actions, chunk_id=live)
            self._tell(websocket.status("warming"), actions)

    def _skip(self, cursor: int, here: int, now_s: float, actions: list[Action]) -> None:
        """What it should have had is over: it ran dry, and goes on at the live tick."""
        self._ran_dry = self._fresh = True
        self._fade_from = None
        self.counts.underruns += 1
        self.counts.skips += 1
        self.counts.skipped_chunks += here - cursor
        self.tiers.on_underrun(now_s)
        self._tell(websocket.status("skipped", from_chunk_id=cursor, to_chunk_id=here), actions)

    def _stall(self, now_s: float, actions: list[Action]) -> Sequence[Action]:
        self._unhurried = False
        if self._blocked_since_s is None:
            self._blocked_since_s = now_s
        elif now_s - self._blocked_since_s >= STALLED_S:
            actions += self._close(CloseCode.POLICY, f"took nothing for {STALLED_S:g} s")
        return actions

    def _check_started(self, now_s: float) -> Sequence[Action]:
        if now_s - self._connected_s < START_WITHIN_S:
            return ()
        return self._fail(CloseCode.POLICY, f"no start within {START_WITHIN_S:g} s of connecting")

    def _change_state(self, source: Source, actions: list[Action]) -> None:
        self._state = source
        self._tell(websocket.status("degraded" if source is Source.LOOP else "playing"), actions)

    # --- its end -----------------------------------------------------------------------------------------------------

    def drain(self, now_s: float) -> list[Action]:
        """The pod goes away: send it elsewhere, with a token that says exactly where it was."""
        if self.closed:
            return []
        token = self.token(now_s, final=True)
        actions: list[Action] = []
        details = {"resume": token} if token else {}
        self._tell(websocket.status("draining", **details), actions)
        return actions + self._close(CloseCode.RESTART, token)

    def token(self, now_s: float, *, final: bool = False) -> str:
        """A resume token for the present place; empty before anything was heard."""
        if self.spec is None or self._cursor is None:
            return ""
        point = ResumePoint(self.spec.stream_id, self._cursor, final=final)
        return resume.issue(self._settings.secret, point, now_s)

    @property
    def cursor(self) -> int | None:
        """The next chunk that it will be sent; None before the first."""
        return self._cursor

    @property
    def streams(self) -> tuple[str, ...]:
        """Ids of the streams that are rendered for it: at most two."""
        return tuple(spec.stream_id for spec in (self.spec, self._pending) if spec is not None)

    def ahead(self, now_s: float) -> int:
        """Chunks from the live tick on, it included, that should be there for it."""
        return max(1, self.tiers.target(now_s) + (max(0, -self._lag) if self._cursor is not None else EARLY_TICKS))

    def depth(self, live: int) -> int:
        """Chunks that it holds unplayed, as far as the edge knows."""
        return 0 if self._cursor is None else max(0, self._cursor - (live - self._lag))

    def _hello(
        self, now_s: float, actions: list[Action], *, chunk_id: int | None = None, recovered: bool | None = None
    ) -> None:
        if not self.events:
            return
        self._token_s = now_s
        assert self.spec is not None  # noqa: S101 - for the type checker; nothing is said before `start`
        if chunk_id is None:
            chunk_id = self._cursor or 0
        point = ResumePoint(self.spec.stream_id, chunk_id)
        body = websocket.hello(
            spec=self.spec,
            chunk_id=chunk_id,
            tier=self.tiers.tier,
            resume=resume.issue(self._settings.secret, point, now_s),
            recovered=recovered,
            server_time=now_s,
            format_=websocket.OPUS_FORMAT if self.format is Format.OPUS else websocket.FORMAT,
            limits={
                "max_inbound_bytes": MAX_INBOUND_BYTES,
                "max_messages_per_s": MAX_MESSAGES_PER_S,
                "max_updates_per_s": MAX_UPDATES_PER_S,
                "max_chunks_per_s": self._settings.chunks_per_s,
            },
        )
        self._tell(body, actions)

    def _tell(self, body: Mapping[str, Any], actions: list[Action]) -> None:
        """Send an event to a listener who asked for events; the others get audio and errors only."""
        if self.events:
            actions.append(SendEvent(body))

    def _fail(self, code: CloseCode, message: str) -> list[Action]:
        return [SendEvent(websocket.error(code, message)), *self._close(code, message)]

    def _close(self, code: CloseCode, reason: str) -> list[Action]:
        self.closed = True
        return [Close(code, reason)]
