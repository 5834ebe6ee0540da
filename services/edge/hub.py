"""The edge's heart (shell): streams, listeners, and one wake per tick that moves them all.

Decisions are made by the pure parts (ring, demand, listener, tiers); this module gives them time and messages, and
carries out what they decide. Nothing here waits for the bus inside a tick: asks go through a bounded queue to a few
askers, and a stream is opened by a task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from math import log10
from typing import Any, Final

from services.contract import subjects
from services.contract.block import Block, stream_hash
from services.contract.errors import ContractError
from services.contract.presence import Presence
from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION, SECTION_S, block_of, due_s, tick_at
from services.contract.websocket import TIERS, CloseCode
from services.edge.demand import Ask, LoadGauge, Presences, StreamDemand, choose_revision
from services.edge.frames import Format, Frame, event_frame
from services.edge.limits import AddressLimit
from services.edge.listener import Action, Close, Counts, Join, Leave, Listener, ListenerSettings, SendChunk, SendEvent
from services.edge.metrics import NAMED_SLOTS, EdgeMetrics
from services.edge.mixing import rms
from services.edge.ring import Added, Ring, Source
from services.edge.streaming_server import StreamingServer
from services.edge.transport import BACKLOG_BYTES, Transport
from services.runtime.bus import Bus, BusError, BusFullError, Message, Subscription
from services.runtime.clock import Clock
from services.runtime.health import Health
from services.runtime.logging import RepeatLimiter, get_logger
from services.runtime.settings import EdgeSettings

_log = get_logger(__name__)

LINGER_S: Final = 5.0
"""How long a stream is kept after its last listener: he may only be reconnecting."""
HISTORY_FIRST_S: Final = 0.05
"""How long a new stream waits for what JetStream keeps of it before it asks for blocks that may be there already."""
HISTORY_WITHIN_S: Final = 2.0
ASKERS: Final = 8
ASK_QUEUE: Final = 1024
"""Overflow: the newest ask is dropped and counted ("dropped"); the clock brings it again 1.5 s later."""
ROOM_CHUNKS: Final = 64
REFUSE_AFTER_FAILURES: Final = 3
UNRENDERABLE_S: Final = 60.0
MAX_UNRENDERABLE: Final = 1000
"""Streams that are remembered as not renderable; overflow: the oldest is forgotten and asked about again."""
WORRY_S: Final = 3.0
"""A stream that has waited so long for its first block is looked up among those that cannot be rendered."""
SILENCE_DBFS: Final = -120.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is not taken, as an HTTP answer.

    Attributes:
        status: HTTP status.
        reason: for the metric.
        text: for the person who reads it.
        retry_after_s: for the header; None: trying again brings nothing.
    """

    status: int
    reason: str
    text: str
    retry_after_s: int | None = None


@dataclass(slots=True, eq=False)
class Stream:
    """One stream on this edge.

    Attributes:
        connections: who hears it or waits for it.
        left_s: since when nobody does; None while somebody does.
        asking: its history has been looked at, so what is missing may be asked for.
        ahead: chunks that its deepest listener wants.
        hungry: somebody waits for the next block.
    """

    spec: StreamSpec
    ring: Ring
    demand: StreamDemand
    connections: set[Connection] = field(default_factory=set)
    subscription: Subscription | None = None
    opener: asyncio.Task[None] | None = None
    worry: asyncio.Task[None] | None = None
    left_s: float | None = None
    opened_s: float = 0.0
    asking: bool = False
    ahead: int = 1
    wanted_ahead: int = 1
    hungry: bool = False

    @property
    def id(self) -> str:
        """Its stream id."""
        return self.spec.stream_id

    @property
    def audience(self) -> int:
        """How many people hear it."""
        return sum(connection.audience for connection in self.connections)


class Connection:
    """A connected listener: the state machine, and the way to its socket.

    Args:
        listener: the state machine.
        slot: its reused number; None for a mount, which is no WebSocket.
        address: where it comes from.
        audience: how many people it stands for: 1, or those who fetch a mount.

    Attributes:
        send_frame: hands a frame to the connection; never waits, never raises.
        streams: what is rendered for it: at most two, the one that it hears first.
    """

    __slots__ = (
        "_transport",
        "address",
        "audience",
        "backlog_since_s",
        "closed",
        "counted",
        "first_chunk",
        "listener",
        "round_trip_s",
        "send_frame",
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
        self.closed = False
        self.first_chunk = False
        self.started_s: float | None = None
        self.counted = Counts()
        self.backlog_since_s: float | None = None
        self.round_trip_s = 0.0
        self.wake: asyncio.TimerHandle | None = None

        self._transport: Transport | None = None
        self.send_frame: Callable[[Frame], None] = _drop

    @property
    def transport(self) -> Transport | None:
        """The way to its socket; None until it is there."""
        return self._transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._transport = transport
        # Called for every message of every listener: no step in between.
        self.send_frame = transport.send


def _drop(_: Frame) -> None:
    """There is no way to the socket yet."""


@dataclass(slots=True)
class _Group:
    """Listeners who get the same frame in this tick; None: theirs is a case for a closer look."""

    frame: Frame | None
    connections: list[Connection] = field(default_factory=list)


_Groups = dict[tuple[Stream, int, str, Format], _Group]
"""By stream, tick, tier and format."""


class Hub:
    """See the module's text.

    Args:
        settings: limits.
        listener_settings: what is the same for every listener.
        bus: may still be disconnected.
        clock: the service's clock.
        metrics: the edge's metrics.
        health: gets the conditions "bus" and "accepting".
        instance: this edge's name.
        server: the fan-out.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        listener_settings: ListenerSettings,
        *,
        bus: Bus,
        clock: Clock,
        metrics: EdgeMetrics,
        health: Health,
        instance: str,
        server: StreamingServer,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.instance = instance
        self.server = server
        self._listener_settings = listener_settings
        self._bus = bus
        self._metrics = metrics
        self._health = health
        self._streams: dict[str, Stream] = {}
        self._rings: dict[str, Ring] = {}
        self._connections: dict[Connection, None] = {}
        self._admitted = 0
        self._addresses = AddressLimit(settings.max_per_ip)
        self._presences = Presences()
        self._load = LoadGauge()
        self._asks: asyncio.Queue[Ask] = asyncio.Queue(ASK_QUEUE)
        self._unrenderable: dict[str, float] = {}
        self._bus_up = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._presence_subscription: Subscription | None = None
        self._limiter = RepeatLimiter()
        self._draining: asyncio.Task[None] | None = None
        self._second = -1
        health.set("bus", ok=False, detail="not connected to NATS")
        health.set("accepting", ok=True)

    # --- start and stop ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to tick; the bus is connected to in the background, for ever."""
        self._spawn(self._run_ticks(), "ticks")
        self._spawn(self._connect(), "bus")
        for number in range(ASKERS):
            self._spawn(self._run_asker(), f"asker-{number}")

    async def stop(self) -> None:
        """End all tasks and subscriptions; idempotent."""
        subscriptions = [stream.subscription for stream in self._streams.values()]
        subscriptions.append(self._presence_subscription)
        self._streams.clear()
        self._rings.clear()
        self._presence_subscription = None
        for subscription in subscriptions:
            if subscription is not None:
                with contextlib.suppress(BusError):
                    await subscription.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self) -> None:
        self._bus.on_reconnect(self._call_roll)
        await self._bus.connect()
        self._presence_subscription = await self._bus.subscribe(subjects.PRESENCE, self._on_presence)
        self._bus_up.set()
        self._health.set("bus", ok=True)
        self._call_roll()

    def _call_roll(self) -> None:
        async def call() -> None:
            # Lost, it costs a second: workers say it by themselves that often.
            with contextlib.suppress(BusError):
                await self._bus.publish(subjects.ROLL_CALL, b"")

        self._spawn(call(), "roll-call")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("task failed", task=task.get_name(), error=repr(task.exception()), exc_info=task.exception())

    # --- admission ---------------------------------------------------------------------------------------------------

    @property
    def listeners(self) -> int:
        """Listeners that are connected or being connected."""
        return self._admitted

    @property
    def draining(self) -> bool:
        """Whether nobody new is taken because this edge is going away."""
        return self._draining is not None

    @property
    def overloaded(self) -> bool:
        """Whether new streams are refused because blocks come late."""
        return self._load.overloaded(self.clock.now())

    def admit(self, address: str) -> Refusal | None:
        """Count a listener in, before anything is answered; None means welcome, and `release` must follow."""
        refusal: Refusal | None = None
        if self.draining:
            refusal = Refusal(503, "draining", "this server is restarting; connect again", 1)
        elif self._admitted >= self.settings.max_connections:
            text = f"all {self.settings.max_connections} places are taken; try again later"
            refusal = Refusal(503, "connections", text, 5)
        elif not self._addresses.enter(address):
            text = f"{self.settings.max_per_ip} connections from one address are open already; close one"
            refusal = Refusal(429, "address", text, 5)
        if refusal is not None:
            self._metrics.refusals.labels(reason=refusal.reason).inc()
            return refusal
        self._admitted += 1
        self._metrics.listeners.set(self._admitted)
        return None

    def release(self, address: str) -> None:
        """The listener that `admit` counted in has gone."""
        self._admitted -= 1
        self._addresses.leave(address)
        self._metrics.listeners.set(self._admitted)

    # --- connections -------------------------------------------------------------------------------------------------

    def connect(self, *, format_: Format, events: bool, address: str, audience: int | None = None) -> Connection:
        """A listener has connected; give it a transport, then pass on what it says.

        Args:
            format_: how it wants its chunks.
            events: it understands `hello`, `status` and `splice`.
            address: where it comes from.
            audience: None: a WebSocket of one person; a number: a mount, which counts and tells its own.
        """
        listener = Listener(self._listener_settings, format_=format_, events=events, now_s=self.clock.now())
        if audience is None:
            connection = Connection(listener, self._metrics.slots.take(), address)
            self._metrics.connections.inc()
        else:
            connection = Connection(listener, None, address, audience)
        self._connections[connection] = None
        self.server.clients.append(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The connection is gone; idempotent."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        self.server.clients.remove(connection)
        self._end(connection)
        if connection.slot is not None:
            self._metrics.slots.give_back(connection.slot)
            self._metrics.connections.dec()

    def receive(self, connection: Connection, data: str | bytes) -> None:
        """A listener has said something."""
        now_s = self.clock.now()
        live = tick_at(now_s)
        actions = connection.listener.receive(data, now_s, live)
        self.server.frames.begin(now_s)
        self._carry_out(connection, actions, now_s, live)
        if connection.started_s is None and connection.listener.spec is not None:
            connection.started_s = now_s
        if any(isinstance(action, Join) for action in actions):
            # What is there already is sent now, and not at the next tick.
            for stream in connection.streams:
                self._advance(stream, live)
            self._pump(connection, now_s, live)
        if connection.listener.counts != connection.counted:
            self._count(connection)
        self._set_alarm(connection, now_s)

    def room(self, connection: Connection) -> None:
        """A connection that was stalled takes chunks again."""
        if connection.closed:
            return
        now_s = self.clock.now()
        self.server.frames.begin(now_s)
        self._pump(connection, now_s, tick_at(now_s))

    def count_mount_skip(self) -> None:
        """Somebody who fetches a mount was too slow and goes on at its newest part."""
        self._metrics.mount_skips.inc()

    def count_refusal(self, reason: str) -> None:
        """Somebody was turned away before the hub was asked."""
        self._metrics.refusals.labels(reason=reason).inc()

    def failed(self, kind: str) -> None:
        """A connection could not be written to."""
        self._metrics.send_errors.labels(error_type=kind).inc()

    def _set_alarm(self, connection: Connection, now_s: float) -> None:
        """Pump when a held-back change may go on, which may be before the next tick."""
        wake_s = connection.listener.wake_s
        if wake_s is None or connection.wake is not None:
            return

        def ring() -> None:
            connection.wake = None
            self.room(connection)
            self._set_alarm(connection, self.clock.now())

        connection.wake = asyncio.get_running_loop().call_later(max(0.0, wake_s - now_s), ring)

    def _end(self, connection: Connection) -> None:
        """It will be sent nothing more: its streams need not be rendered for it."""
        connection.closed = True
        connection.listener.closed = True
        if connection.wake is not None:
            connection.wake.cancel()
            connection.wake = None
        for stream in list(connection.streams):
            self._leave(connection, stream.id)

    # --- sending -----------------------------------------------------------------------------------------------------

    def _pump(self, connection: Connection, now_s: float, live: int, *, ticking: bool = False) -> None:
        """Send a listener everything that it may have now.

        Args:
            ticking: it is a tick, and what has not left since the last one is evidence of a slow connection.
        """
        transport = connection.transport
        if transport is None or connection.closed:
            return
        listener = connection.listener
        room = ROOM_CHUNKS
        backlog_bytes = transport.backlog_bytes()
        if backlog_bytes:
            if backlog_bytes > BACKLOG_BYTES:
                room = 0
                transport.notify_room()
            if connection.backlog_since_s is None:
                connection.backlog_since_s = now_s
            elif ticking:
                listener.tiers.on_delay((now_s - connection.backlog_since_s) * 1000.0, now_s)
        else:
            connection.backlog_since_s = None
        try:
            actions = listener.pump(now_s, live, self._rings, room)
        except Exception:  # noqa: BLE001 - one listener's trouble must not stop the tick for the others
            self._give_up(connection)
            return
        if actions:
            self._carry_out(connection, actions, now_s, live)
        if listener.counts != connection.counted:
            self._count(connection)
        ahead = listener.ahead(now_s)
        hungry = listener.hungry or len(connection.streams) > 1
        for stream in connection.streams:
            stream.wanted_ahead = max(stream.wanted_ahead, ahead)
            stream.hungry = stream.hungry or hungry

    def _fan_out(self, now_s: float, live: int) -> None:
        """A tick's chunks: one frame for all listeners who agree, and a closer look at the others."""
        groups: _Groups = {}
        for connection in list(self._connections):
            try:
                if not self._share(connection, now_s, live, groups):
                    self._pump(connection, now_s, live, ticking=True)
            except Exception:  # noqa: BLE001 - one listener's trouble must not stop the tick for the others
                self._give_up(connection)
        due = due_s(live)
        for group in groups.values():
            if group.frame is not None:
                self.server.send(group.frame, group.connections)
                self._metrics.sent.inc(len(group.connections))
                self._metrics.sent_bytes.inc(len(group.connections) * len(group.frame.wire))
                self._metrics.jitter_ms.observe(max(0.0, self.clock.now() - due) * 1000.0)

    def _share(self, connection: Connection, now_s: float, live: int, groups: _Groups) -> bool:
        """Put a listener whose turn is the usual one with those who get the same; False: look closer."""
        transport = connection.transport
        if transport is None or connection.closed or transport.backlog_bytes():
            return False
        connection.backlog_since_s = None
        listener = connection.listener
        tick = listener.steady(now_s, live)
        if tick is None:
            return False
        stream, tier = connection.streams[0], listener.tiers.tier
        key = (stream, tick, tier, listener.format)
        group = groups.get(key)
        if group is None:
            depth = listener.tiers.settled or 1
            group = groups[key] = self._make_group(stream, tick, tier, depth, listener.format)
            stream.wanted_ahead = max(stream.wanted_ahead, listener.ahead(now_s))
        if group.frame is None:
            return False
        group.connections.append(connection)
        listener.sent_steady()
        return True

    def _make_group(self, stream: Stream, tick: int, tier: str, depth: int, format_: Format) -> _Group:
        chunk = stream.ring.chunk(tick)
        if chunk is None or chunk.source is not Source.LIVE:
            return _Group(None)
        return _Group(self.server.frames.audio(chunk, format_, tier, depth))

    def _carry_out(self, connection: Connection, actions: Iterable[Action], now_s: float, live: int) -> None:
        for action in actions:
            match action:
                case SendChunk():
                    frame = self.server.frames.audio(
                        action.chunk, connection.listener.format, action.tier, action.depth
                    )
                    connection.send_frame(frame)
                    self._metrics.sent.inc()
                    self._metrics.sent_bytes.inc(len(frame.wire))
                    self._count_first(connection, now_s)
                case SendEvent():
                    self._count_event(action)
                    connection.send_frame(event_frame(action.body))
                case Join():
                    refused = self._join(connection, action, now_s, live)
                    if refused:
                        self._carry_out(connection, refused, now_s, live)
                case Leave():
                    self._leave(connection, action.stream_id)
                case Close():
                    self._close(connection, action.code, action.reason)

    def _close(self, connection: Connection, code: int, reason: str) -> None:
        if connection.transport is not None:
            # A close frame's reason is at most 123 bytes.
            connection.transport.close(code, reason.encode()[:120].decode(errors="ignore"))
        self._metrics.closes.labels(code=str(int(code))).inc()
        self._end(connection)

    def _give_up(self, connection: Connection) -> None:
        held_back = self._limiter.admit("listener failed")
        if held_back is not None:
            _log.exception("listener failed", address=connection.address, repeats=held_back)
        self.failed("exception")
        self._close(connection, 1011, "internal error")

    def _count_first(self, connection: Connection, now_s: float) -> None:
        if not connection.first_chunk:
            connection.first_chunk = True
            if connection.started_s is not None:
                self._metrics.first_audio.observe(max(0.0, now_s - connection.started_s))

    def _count(self, connection: Connection) -> None:
        """Carry over what has happened to a listener since the last time."""
        counts, before = connection.listener.counts, connection.counted
        metrics = self._metrics
        metrics.skips.inc(counts.skips - before.skips)
        metrics.skipped_chunks.inc(counts.skipped_chunks - before.skipped_chunks)
        metrics.splices.inc(counts.splices - before.splices)
        underruns = counts.underruns - before.underruns
        if underruns:
            metrics.underruns.inc(underruns)
            if connection.slot is not None:
                metrics.slots.count_underruns(connection.slot, underruns)
        connection.counted = replace(counts)

    def _count_event(self, event: SendEvent) -> None:
        body = event.body
        if body["type"] == "hello" and body["recovered"] is not None:
            self._metrics.resumes.labels(recovered="true" if body["recovered"] else "false").inc()

    # --- streams -----------------------------------------------------------------------------------------------------

    def _join(self, connection: Connection, join: Join, now_s: float, live: int) -> list[Action]:
        """Give a listener a stream.

        Returns:
            What to do if it cannot have it.
        """
        stream_id = join.spec.stream_id
        stream = self._streams.get(stream_id)
        if self._unrenderable.get(stream_id, 0.0) > now_s:
            return self._refuse(connection, stream_id, "unrenderable")
        if stream is None:
            if self._load.overloaded(now_s):
                return self._refuse(connection, stream_id, "overload")
            if not self._make_place():
                return self._refuse(connection, stream_id, "streams")
            stream = self._open_stream(join.spec, now_s)
        elif not stream.connections:
            # Whoever heard it before has gone: there is nothing to join to, and maybe a hole since then.
            stream.ring.restart()
        stream.connections.add(connection)
        connection.streams.append(stream)
        stream.left_s = None
        stream.hungry = True
        stream.ahead = max(stream.ahead, connection.listener.ahead(now_s))
        stream.demand.hurry(block_of(max(live, join.tick)))
        if stream.ring.target is None:
            self._choose_revision(stream, now_s)
        self._ask(stream, now_s)
        return []

    def _refuse(self, connection: Connection, stream_id: str, reason: str) -> list[Action]:
        self._metrics.refusals.labels(reason=reason).inc()
        text, code = {
            "unrenderable": ("this stream cannot be rendered; choose another", CloseCode.POLICY),
            "overload": ("all renderers are busy; choose a stream that is playing, or try later", CloseCode.TRY_LATER),
            "streams": (
                f"{self.settings.max_streams} streams are playing already; choose one of them, or try later",
                CloseCode.TRY_LATER,
            ),
        }[reason]
        return connection.listener.refused(stream_id, text, code=code)

    def _make_place(self) -> bool:
        """Room for one more stream; one that nobody hears is let go for it."""
        if len(self._streams) < self.settings.max_streams:
            return True
        idle = [stream for stream in self._streams.values() if stream.left_s is not None]
        if not idle:
            return False
        self._forget_stream(min(idle, key=lambda stream: stream.left_s or 0.0))
        return True

    def _open_stream(self, spec: StreamSpec, now_s: float) -> Stream:
        ring = Ring(stream_hash(spec.stream_id), bpm=spec.bpm)
        stream = Stream(spec, ring, StreamDemand(spec, self.instance), opened_s=now_s)
        self._streams[stream.id] = stream
        self._rings[stream.id] = ring
        stream.opener = self._spawn(self._fetch(stream), f"open {stream.id}")
        return stream

    async def _fetch(self, stream: Stream) -> None:
        """Subscribe, look at what JetStream keeps, then let missing blocks be asked for."""
        await self._bus_up.wait()
        subject = subjects.audio(stream.id)
        while True:
            try:
                # Shielded: a subscription that nobody holds could not be closed any more.
                subscribing = asyncio.ensure_future(self._bus.subscribe(subject, partial(self._on_block, stream)))
                subscribing.add_done_callback(partial(self._subscribed, stream))
                await asyncio.shield(subscribing)
                break
            except BusError as error:
                self._say("cannot subscribe", stream=stream.id, detail=str(error))
                await asyncio.sleep(0.5)
        kept = self._spawn(self._read_history(stream, subject), f"history {stream.id}")
        failures = self._spawn(self._look_up_failures(stream), f"failures {stream.id}")
        await asyncio.wait({kept, failures}, timeout=HISTORY_FIRST_S)
        stream.asking = True
        self._ask(stream, self.clock.now())

    def _subscribed(self, stream: Stream, subscribing: asyncio.Future[Subscription]) -> None:
        if subscribing.cancelled() or subscribing.exception() is not None:
            return
        stream.subscription = subscribing.result()
        if self._streams.get(stream.id) is not stream:
            self._unsubscribe(stream)

    async def _read_history(self, stream: Stream, subject: str) -> None:
        with contextlib.suppress(BusError, TimeoutError):
            async with asyncio.timeout(HISTORY_WITHIN_S):
                for message in await self._bus.history(subject):
                    self._on_block(stream, message)

    async def _look_up_failures(self, stream: Stream) -> None:
        """Refuse a stream that renderers have failed at again and again."""
        try:
            async with asyncio.timeout(HISTORY_WITHIN_S):
                failures = await self._bus.failures(subjects.POISON_BUCKET, stream.id)
        except (BusError, TimeoutError):
            return
        if failures < REFUSE_AFTER_FAILURES or stream.ring.origin is not None:
            return
        now_s = self.clock.now()
        self._remember_unrenderable(stream.id, now_s)
        _log.warning("stream refused", stream=stream.id, failures=failures)
        for connection in list(stream.connections):
            refusal = self._refuse(connection, stream.id, "unrenderable")
            self._leave(connection, stream.id)
            self._carry_out(connection, refusal, now_s, tick_at(now_s))

    def _remember_unrenderable(self, stream_id: str, now_s: float) -> None:
        self._unrenderable[stream_id] = now_s + UNRENDERABLE_S
        while len(self._unrenderable) > MAX_UNRENDERABLE:
            del self._unrenderable[next(iter(self._unrenderable))]

    def _leave(self, connection: Connection, stream_id: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or connection not in stream.connections:
            return
        stream.connections.discard(connection)
        connection.streams.remove(stream)
        if not stream.connections:
            stream.left_s = self.clock.now()

    def _forget_stream(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        self._rings.pop(stream.id, None)
        for task in (stream.opener, stream.worry):
            if task is not None:
                task.cancel()
        self._unsubscribe(stream)

    def _unsubscribe(self, stream: Stream) -> None:
        subscription, stream.subscription = stream.subscription, None
        if subscription is None:
            return

        async def close() -> None:
            with contextlib.suppress(BusError):
                await subscription.close()

        self._spawn(close(), f"close {stream.id}")

    def _advance(self, stream: Stream, live: int) -> None:
        stream.ring.advance(live, stream.ahead)

    # --- the bus -----------------------------------------------------------------------------------------------------

    def _on_block(self, stream: Stream, message: Message) -> None:
        now_s = self.clock.now()
        live = tick_at(now_s)
        try:
            block = Block.decode(message.data)
        except ContractError as error:
            self._metrics.blocks.labels(result="invalid").inc()
            self._metrics.bad_messages.labels(kind="block").inc()
            self._say("block skipped", stream=stream.id, detail=str(error))
            return
        added = stream.ring.add(block, live)
        self._metrics.blocks.labels(result=str(added)).inc()
        if added is not Added.KEPT:
            return
        asked_s = stream.demand.asked_at(block_of(block.first_tick), block.revision)
        if asked_s is not None:
            self._load.answered(now_s - asked_s, now_s)
            self._metrics.block_wait.observe(max(0.0, now_s - asked_s))
        if stream.hungry and stream.connections:
            self._feed(stream, now_s, live)

    def _feed(self, stream: Stream, now_s: float, live: int) -> None:
        """Somebody waits for this very block: do not let them wait for the tick as well."""
        stream.hungry = False
        self.server.frames.begin(now_s)
        self._advance(stream, live)
        for connection in list(stream.connections):
            self._pump(connection, now_s, live)

    def _on_presence(self, message: Message) -> None:
        now_s = self.clock.now()
        try:
            presence = Presence.decode(message.data)
        except ContractError as error:
            self._metrics.bad_messages.labels(kind="presence").inc()
            self._say("presence skipped", detail=str(error))
            return
        self._presences.heard(presence, now_s)
        for stream in self._streams.values():
            if stream.ring.target is None and stream.connections:
                self._choose_revision(stream, now_s)
                self._ask(stream, now_s)

    def _choose_revision(self, stream: Stream, now_s: float) -> None:
        self._move(stream, choose_revision(self._presences.capacity(now_s), stream.id, stream.ring.target))

    def _move(self, stream: Stream, revision: str | None) -> None:
        """Have the stream rendered by `revision` from now on."""
        if revision is None:
            return
        joint = stream.ring.move_to(revision)
        if joint is not None:
            # The old revision was asked for it a moment ago with the message id that this moment gives it in the other
            # lane, which JetStream would take for a repetition.
            stream.demand.hurry(joint)

    def _ask(self, stream: Stream, now_s: float) -> None:
        revision = stream.ring.target
        if not stream.asking or revision is None or not stream.connections:
            return
        for ask in stream.demand.due(now_s, revision, stream.ring.has_block):
            try:
                self._asks.put_nowait(ask)
            except asyncio.QueueFull:
                self._metrics.asks.labels(lane=ask.lane, result="dropped").inc()

    async def _run_asker(self) -> None:
        while True:
            ask = await self._asks.get()
            try:
                accepted = await self._bus.ask(ask.subject, ask.job.encode(), message_id=ask.message_id)
                result = "accepted" if accepted else "duplicate"
            except BusFullError:
                result = "full"
                self._say("render queue is full", stream=ask.job.spec.stream_id)
            except BusError as error:
                result = "error"
                self._say("ask failed", detail=str(error))
            self._metrics.asks.labels(lane=ask.lane, result=result).inc()

    # --- time --------------------------------------------------------------------------------------------------------

    async def _run_ticks(self) -> None:
        tick = tick_at(self.clock.now())
        while True:
            tick += 1
            while (wait_s := due_s(tick) - self.clock.now()) > 0:  # noqa: ASYNC110 - time is what is waited for
                await asyncio.sleep(wait_s)
            # Multiplying back can round below the tick that was just waited for.
            tick = max(tick, tick_at(self.clock.now()))
            try:
                self.tick(tick)
            except Exception:  # noqa: BLE001 - the music must not end because one pass failed
                held_back = self._limiter.admit("tick failed")
                if held_back is not None:
                    _log.exception("tick failed", repeats=held_back)

    def tick(self, live: int) -> None:
        """Move everything to the live tick."""
        now_s = self.clock.now()
        self._metrics.tick_lateness.observe(max(0.0, now_s - due_s(live)))
        if block_of(live) != self._second:
            self._second = block_of(live)
            self._each_second(now_s, live)
        self.server.frames.begin(now_s)
        for stream in self._streams.values():
            if stream.connections:
                self._advance(stream, live)
                stream.hungry = False
                stream.wanted_ahead = 1
        self._fan_out(now_s, live)
        for stream in self._streams.values():
            if stream.connections:
                stream.ahead = stream.wanted_ahead
                self._ask(stream, now_s)
        self._metrics.tick_work.observe(max(0.0, self.clock.now() - now_s))

    def _each_second(self, now_s: float, live: int) -> None:
        self._health.set("bus", self._bus.connected, "" if self._bus.connected else "not connected to NATS")
        capacity = self._presences.capacity(now_s)
        demanded = degraded = 0
        quietest: float | None = None
        for stream in list(self._streams.values()):
            if stream.left_s is not None:
                if now_s - stream.left_s > LINGER_S:
                    self._forget_stream(stream)
                continue
            demanded += 1
            degraded += stream.ring.degraded
            self._move(stream, choose_revision(capacity, stream.id, stream.ring.target))
            if stream.ring.origin is None:
                self._worry(stream, now_s)
                continue
            if not stream.ring.arrived(block_of(live)):
                self._metrics.missing.inc()
                if capacity:
                    self._load.missed(now_s)
            loudness = self._loudness(stream, live)
            if loudness is not None and (quietest is None or loudness < quietest):
                quietest = loudness
        metrics = self._metrics
        metrics.streams.set(len(self._streams))
        metrics.demand.set(demanded)
        metrics.degraded.set(degraded)
        metrics.renderers.set(len(self._presences.ready(now_s)))
        metrics.overloaded.set(self._load.overloaded(now_s))
        if quietest is not None:
            metrics.loudness.set(_dbfs(quietest))
        self._measure_listeners(now_s, live)

    def _measure_listeners(self, now_s: float, live: int) -> None:
        tiers = dict.fromkeys(TIERS, 0)
        for connection in self._connections:
            listener = connection.listener
            if listener.spec is None or connection.slot is None:
                continue
            tiers[listener.tiers.tier] += 1
            if connection.slot is not None and connection.slot < NAMED_SLOTS:
                self._metrics.slots.set_depth(connection.slot, listener.depth(live))
            if connection.transport is not None:
                round_trip_s = connection.transport.round_trip_s()
                before_s, connection.round_trip_s = connection.round_trip_s, round_trip_s
                if round_trip_s and before_s and round_trip_s != before_s:
                    listener.tiers.on_delay(abs(round_trip_s - before_s) * 1000.0, now_s)
        for tier, count in tiers.items():
            self._metrics.tiers.labels(tier=tier).set(count)

    def _loudness(self, stream: Stream, live: int) -> float | None:
        if not stream.ring.degraded:
            return stream.ring.loudness(live)
        chunk = stream.ring.chunk(live)
        return None if chunk is None else rms(chunk.pcm)

    def _worry(self, stream: Stream, now_s: float) -> None:
        """A stream has waited long for its first block: maybe it cannot be rendered."""
        if stream.asking and now_s - stream.opened_s > WORRY_S and (stream.worry is None or stream.worry.done()):
            stream.worry = self._spawn(self._look_up_failures(stream), f"look up {stream.id}")

    # --- drain -------------------------------------------------------------------------------------------------------

    async def drain(self, *, settle_s: float | None = None) -> None:
        """Take nobody new and send everybody elsewhere, spread over the drain window; idempotent.

        Args:
            settle_s: seconds between saying "not ready" and the first close, so that nobody is sent back here; None: a
                tenth of the window, at most 3 s, and none if nobody listens.
        """
        if self._draining is None:
            self._draining = self._spawn(self._drain(settle_s), "drain")
        await asyncio.shield(self._draining)

    async def _drain(self, settle_s: float | None) -> None:
        window_s = self.settings.drain_s
        self._health.set("accepting", ok=False, detail="draining")
        if settle_s is None:
            settle_s = min(3.0, window_s / 10) if self._connections else 0.0
        _log.info("draining", listeners=len(self._connections), seconds=window_s)
        await asyncio.sleep(settle_s)
        leaving = list(self._connections)
        random.shuffle(leaving)
        # Some of the window is kept for the closing handshakes.
        pause_s = max(0.0, (window_s - settle_s) * 0.8) / max(1, len(leaving))
        for number, connection in enumerate(leaving):
            if connection.closed:
                continue
            if number:
                await asyncio.sleep(pause_s)
            now_s = self.clock.now()
            self._carry_out(connection, connection.listener.drain(now_s), now_s, tick_at(now_s))
        until_s = self.clock.now() + max(1.0, (window_s - settle_s) * 0.2)
        while self._connections and self.clock.now() < until_s:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(0.05)
        _log.info("drained", left=len(self._connections))

    # --- what others may know ----------------------------------------------------------------------------------------

    def ring_of(self, stream_id: str) -> Ring | None:
        """The ring of a stream that is kept here."""
        return self._rings.get(stream_id)

    def status(self) -> dict[str, Any]:
        """The edge in a few figures."""
        now_s = self.clock.now()
        return {
            "instance": self.instance,
            "ready": self._health.ready,
            "failing": list(self._health.failing),
            "draining": self.draining,
            "listeners": self._admitted,
            "max_listeners": self.settings.max_connections,
            "streams": sum(1 for stream in self._streams.values() if stream.connections),
            "max_streams": self.settings.max_streams,
            "renderers": len(self._presences.ready(now_s)),
            "warming": self._presences.warming(now_s),
            "overloaded": self._load.overloaded(now_s),
            "time": now_s,
        }

    def now_playing(self) -> list[dict[str, Any]]:
        """Every stream that is heard, the one with most listeners first."""
        now_s = self.clock.now()
        live = tick_at(now_s)
        heard = [stream for stream in self._streams.values() if stream.connections]
        heard.sort(key=lambda stream: (-stream.audience, stream.id))
        return [self._describe(stream, now_s, live) for stream in heard]

    def _describe(self, stream: Stream, now_s: float, live: int) -> dict[str, Any]:
        ring = stream.ring
        state = "warming" if ring.origin is None else "degraded" if ring.degraded else "playing"
        loudness = ring.loudness(live)
        section, second = divmod(now_s, SECTION_S)
        return {
            "stream_id": stream.id,
            "stream": stream.spec.to_params(),
            "listeners": stream.audience,
            "state": state,
            "chord": ring.chord_at(live),
            "section": block_of(live) // BLOCKS_PER_SECTION,
            "bar": int(second * stream.spec.bpm / SECTION_S) + 1,
            "bars": stream.spec.bpm,
            "section_started": section * SECTION_S,
            "loudness_dbfs": None if loudness is None else round(_dbfs(loudness), 1),
            "revision": ring.revision,
        }

    def _say(self, event: str, **fields: Any) -> None:
        """Log something that may repeat without end."""
        held_back = self._limiter.admit(event)
        if held_back is not None:
            _log.warning(event, repeats=held_back, **fields)


def _dbfs(level: float) -> float:
    return max(SILENCE_DBFS, 20.0 * log10(level)) if level > 0 else SILENCE_DBFS
