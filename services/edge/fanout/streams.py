"""The streams that an edge keeps (shell): opened for the first listener, asked for, forgotten after the last.

Nothing here waits for the bus inside a tick: asks go through a bounded queue to a few askers, and a stream is opened by
a task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Final

from services.contract import subjects
from services.contract.block import Block, stream_hash
from services.contract.errors import ContractError
from services.contract.presence import Presence
from services.contract.spec import StreamSpec
from services.contract.timebase import block_of, tick_at
from services.edge.codecs.opus_timeline import OpusTimeline
from services.edge.fanout.connection import Connection
from services.edge.listener.payloads import Format
from services.edge.metrics import EdgeMetrics
from services.edge.stream.chunk import Timeline
from services.edge.stream.demand import FALLBACK_S, Ask, StreamDemand
from services.edge.stream.renderers import LoadGauge, Presences, choose_revision
from services.edge.stream.ring import Added, Ring
from services.runtime.bus import Bus, BusError, BusFullError, Message, Subscription
from services.runtime.clock import Clock
from services.runtime.observability import traces
from services.runtime.observability.logging import RepeatLimiter, get_logger

_log = get_logger(__name__)

LINGER_S: Final = 12.0
"""How long a stream is kept after its last listener: he may only be reconnecting, after five seconds without a line and
a few more until he notices."""
HISTORY_FIRST_S: Final = 0.05
"""How long a new stream waits for what JetStream keeps of it before it asks for blocks that may be there already."""
HISTORY_WITHIN_S: Final = 2.0
ASKERS: Final = 8
ASK_QUEUE: Final = 1024
ROOM_CHUNKS: Final = 64
REFUSE_AFTER_FAILURES: Final = 3
UNRENDERABLE_S: Final = 60.0
MAX_UNRENDERABLE: Final = 1000
"""Streams that are remembered as not renderable; overflow: the oldest is forgotten and asked about again."""
WORRY_S: Final = 3.0
OPUS_AHEAD_CHUNKS: Final = 4
"""Chunks that are drawn, and encoded, before the deepest listener is due to have them."""
ENCODER_THREADS: Final = 2


@dataclass(slots=True, eq=False)
class Stream:
    """One stream on this edge.

    Attributes:
        connections: who hears it or waits for it.
        left_s: since when nobody does; None while somebody does.
        asking: its history has been looked at, so what is missing may be asked for.
        ahead: chunks that its deepest listener wants.
        hungry: somebody waits for the next block.
        opus: what is heard by those who listen in Opus; None: nobody does.
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
    opus: OpusTimeline | None = None
    opus_listeners: int = 0

    @property
    def id(self) -> str:
        """Its stream id."""
        return self.spec.stream_id

    @property
    def audience(self) -> int:
        """How many people hear it."""
        return sum(connection.audience for connection in self.connections)


class Streams:
    """See the module's text.

    Args:
        most: streams at a time (AURALIS_MAX_STREAMS).
        bus: may still be disconnected.
        clock: the service's clock.
        metrics: the edge's metrics.
        instance: this edge's name.
        on_sound: called when somebody who waits for a stream's next chunks can be sent them.
        on_unrenderable: called when a stream turns out to be one that renderers fail at.

    Attributes:
        by_id: every stream that is kept.
        timelines: for each format, stream id -> what listeners of that format hear.
        presences, load: what is known of the renderers.
    """

    def __init__(
        self,
        most: int,
        *,
        bus: Bus,
        clock: Clock,
        metrics: EdgeMetrics,
        instance: str,
        on_sound: Callable[[Stream], None],
        on_unrenderable: Callable[[Stream], None],
    ) -> None:
        self.by_id: dict[str, Stream] = {}
        rings: dict[str, Timeline] = {}
        self.timelines: dict[Format, dict[str, Timeline]] = {Format.JSON: rings, Format.PCM: rings, Format.OPUS: {}}
        self.presences = Presences()
        self.load = LoadGauge()
        self._most = most
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._instance = instance
        self._on_sound = on_sound
        self._on_unrenderable = on_unrenderable
        self._asks: asyncio.Queue[Ask] = asyncio.Queue(ASK_QUEUE)
        self._unrenderable: dict[str, float] = {}
        self._bus_up = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._presence_subscription: Subscription | None = None
        self._limiter = RepeatLimiter()
        self._encoders: ThreadPoolExecutor | None = None

    # --- start and stop ----------------------------------------------------------------------------------------------

    def start(self, on_bus: Callable[[], None]) -> None:
        """Begin to ask; the bus is connected to in the background, for ever, and `on_bus` then called."""
        self.spawn(self._connect(on_bus), "bus")
        for number in range(ASKERS):
            self.spawn(self._run_asker(), f"asker-{number}")

    async def stop(self) -> None:
        """End all tasks and subscriptions; idempotent."""
        subscriptions = [stream.subscription for stream in self.by_id.values()]
        subscriptions.append(self._presence_subscription)
        for stream in list(self.by_id.values()):
            self._mute(stream)
        self.by_id.clear()
        for timelines in self.timelines.values():
            timelines.clear()
        self._presence_subscription = None
        for subscription in subscriptions:
            if subscription is not None:
                with contextlib.suppress(BusError):
                    await subscription.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._encoders is not None:
            self._encoders.shutdown(wait=False, cancel_futures=True)

    async def _connect(self, on_bus: Callable[[], None]) -> None:
        self._bus.on_reconnect(self._call_roll)
        await self._bus.connect()
        self._presence_subscription = await self._bus.subscribe(subjects.PRESENCE, self._on_presence)
        self._bus_up.set()
        on_bus()
        self._call_roll()

    def _call_roll(self) -> None:
        async def call() -> None:
            # Lost, it costs a second: workers say it by themselves that often.
            with contextlib.suppress(BusError):
                await self._bus.publish(subjects.ROLL_CALL, b"")

        self.spawn(call(), "roll-call")

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task that ends with `stop`, and whose failure is logged."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("task failed", task=task.get_name(), error=repr(task.exception()), exc_info=task.exception())

    # --- listeners come and go ---------------------------------------------------------------------------------------

    def obstacle(self, stream_id: str, now_s: float) -> str | None:
        """Why nobody can join the stream now: "unrenderable", "overload", "streams"; None: he can."""
        if self._unrenderable.get(stream_id, 0.0) > now_s:
            return "unrenderable"
        if stream_id in self.by_id:
            return None
        if self.load.overloaded(now_s):
            return "overload"
        return None if self._make_place() else "streams"

    def join(self, connection: Connection, spec: StreamSpec, *, tick: int, now_s: float) -> None:
        """Give a listener a stream that has no `obstacle`.

        Args:
            connection: the listener.
            spec: the stream.
            tick: the first chunk that it wants.
            now_s: the time.
        """
        stream = self.by_id.get(spec.stream_id)
        if stream is None:
            stream = self._open(spec, now_s)
        elif not stream.connections:
            # Whoever heard it before has gone: there is nothing to join to, and maybe a hole since then.
            stream.ring.restart()
        stream.connections.add(connection)
        connection.streams.append(stream)
        if connection.listener.format is Format.OPUS:
            stream.opus_listeners += 1
            if stream.opus is None:
                self._voice(stream)
        stream.left_s = None
        stream.hungry = True
        stream.ahead = max(stream.ahead, connection.listener.ahead(now_s))
        stream.demand.hurry(block_of(max(tick_at(now_s), tick)))
        if stream.ring.target is None:
            self._choose_revision(stream, now_s)
        self.ask(stream, now_s)

    def leave(self, connection: Connection, stream_id: str) -> None:
        """A listener needs the stream no more; idempotent."""
        stream = self.by_id.get(stream_id)
        if stream is None or connection not in stream.connections:
            return
        stream.connections.discard(connection)
        connection.streams.remove(stream)
        if connection.listener.format is Format.OPUS:
            stream.opus_listeners -= 1
            if not stream.opus_listeners:
                self._mute(stream)
        if not stream.connections:
            stream.left_s = self._clock.now()

    def _voice(self, stream: Stream) -> None:
        """Somebody listens in Opus."""
        if self._encoders is None:
            self._encoders = ThreadPoolExecutor(ENCODER_THREADS, thread_name_prefix="opus")
        stream.opus = OpusTimeline(
            stream.ring,
            self._encoders,
            on_done=lambda: self._on_sound(stream),
            on_failed=lambda error: self._say("encoder failed", stream=stream.id, detail=repr(error)),
        )
        self.timelines[Format.OPUS][stream.id] = stream.opus

    def _mute(self, stream: Stream) -> None:
        """Nobody listens in Opus any more."""
        if stream.opus is not None:
            stream.opus.close()
            stream.opus = None
            self.timelines[Format.OPUS].pop(stream.id, None)

    def _make_place(self) -> bool:
        """Room for one more stream; one that nobody hears is let go for it."""
        if len(self.by_id) < self._most:
            return True
        idle = [stream for stream in self.by_id.values() if stream.left_s is not None]
        if not idle:
            return False
        self._forget_stream(min(idle, key=lambda stream: stream.left_s or 0.0))
        return True

    def _open(self, spec: StreamSpec, now_s: float) -> Stream:
        ring = Ring(stream_hash(spec.stream_id), bpm=spec.bpm)
        stream = Stream(spec, ring, StreamDemand(spec, self._instance), opened_s=now_s)
        self.by_id[stream.id] = stream
        self.timelines[Format.PCM][stream.id] = ring
        stream.opener = self.spawn(self._fetch(stream), f"open {stream.id}")
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
        kept = self.spawn(self._read_history(stream, subject), f"history {stream.id}")
        failures = self.spawn(self._look_up_failures(stream), f"failures {stream.id}")
        await asyncio.wait({kept, failures}, timeout=HISTORY_FIRST_S)
        stream.asking = True
        self.ask(stream, self._clock.now())

    def _subscribed(self, stream: Stream, subscribing: asyncio.Future[Subscription]) -> None:
        if subscribing.cancelled() or subscribing.exception() is not None:
            return
        stream.subscription = subscribing.result()
        if self.by_id.get(stream.id) is not stream:
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
        self._remember_unrenderable(stream.id, self._clock.now())
        _log.warning("stream refused", stream=stream.id, failures=failures)
        self._on_unrenderable(stream)

    def _remember_unrenderable(self, stream_id: str, now_s: float) -> None:
        self._unrenderable[stream_id] = now_s + UNRENDERABLE_S
        while len(self._unrenderable) > MAX_UNRENDERABLE:
            del self._unrenderable[next(iter(self._unrenderable))]

    def forget_left(self, now_s: float) -> None:
        """Let go what nobody has heard for `LINGER_S`."""
        for stream in list(self.by_id.values()):
            if stream.left_s is not None and now_s - stream.left_s > LINGER_S:
                self._forget_stream(stream)

    def _forget_stream(self, stream: Stream) -> None:
        self.by_id.pop(stream.id, None)
        self.timelines[Format.PCM].pop(stream.id, None)
        self._mute(stream)
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

        self.spawn(close(), f"close {stream.id}")

    def advance(self, stream: Stream, live: int) -> None:
        """Draw the stream's line as far as its listeners want it, and have it encoded where they want that."""
        if stream.opus is None:
            stream.ring.advance(live, stream.ahead)
        else:
            stream.ring.advance(live, stream.ahead + OPUS_AHEAD_CHUNKS)
            stream.opus.work()

    # --- the bus -----------------------------------------------------------------------------------------------------

    def _on_block(self, stream: Stream, message: Message) -> None:
        now_s = self._clock.now()
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
        if traces.active is not None:
            end_s = self._clock.now()
            traces.active.add("arrive", stream.id, block_of(block.first_tick), now_s, end_s, revision=block.revision)
        asked_s = stream.demand.asked_at(block_of(block.first_tick), block.revision)
        if asked_s is not None:
            self.load.answered(now_s - asked_s, now_s)
            self._metrics.block_wait.observe(max(0.0, now_s - asked_s))
        if stream.hungry and stream.connections:
            self._on_sound(stream)

    def _on_presence(self, message: Message) -> None:
        now_s = self._clock.now()
        try:
            presence = Presence.decode(message.data)
        except ContractError as error:
            self._metrics.bad_messages.labels(kind="presence").inc()
            self._say("presence skipped", detail=str(error))
            return
        self.presences.heard(presence, now_s)
        for stream in self.by_id.values():
            if stream.ring.target is None and stream.connections:
                self._choose_revision(stream, now_s)
                self.ask(stream, now_s)

    def _choose_revision(self, stream: Stream, now_s: float) -> None:
        self._move(stream, choose_revision(self.presences.capacity(now_s), stream.id, stream.ring.target))

    def _move(self, stream: Stream, revision: str | None) -> None:
        """Have the stream rendered by `revision` from now on."""
        if revision is None:
            return
        joint = stream.ring.move_to(revision)
        if joint is not None:
            # The old revision was asked for it a moment ago with the message id that this moment gives it in the other
            # lane, which JetStream would take for a repetition.
            stream.demand.hurry(joint)

    def ask(self, stream: Stream, now_s: float) -> None:
        """Ask for every block that is missing and due to be asked for."""
        ring, revision = stream.ring, stream.ring.target
        if not stream.asking or revision is None or not stream.connections:
            return
        asks = stream.demand.due(now_s, revision, ring.has_block)
        present = ring.revision
        if present not in (None, revision) and ring.origin is not None:
            # Until there is something to join, the music does not depend on renderers that have only announced it.
            asks = chain(asks, stream.demand.due(now_s, present, ring.has_any, lead_s=FALLBACK_S))
        for ask in asks:
            try:
                self._asks.put_nowait(ask)
            except asyncio.QueueFull:
                self._metrics.asks.labels(lane=ask.lane, result="dropped").inc()

    async def _run_asker(self) -> None:
        while True:
            ask = await self._asks.get()
            began_s = self._clock.now()
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
            if traces.active is not None and result == "accepted":
                job = ask.job
                traces.active.add(
                    "ask", job.spec.stream_id, job.block, began_s, self._clock.now(), lane=ask.lane, attempt=job.attempt
                )

    # --- time --------------------------------------------------------------------------------------------------------

    def follow_revisions(self, now_s: float) -> None:
        """Move streams to newer renderers as their share of the capacity grows; look up those that get no block."""
        capacity = self.presences.capacity(now_s)
        for stream in self.by_id.values():
            if stream.left_s is None:
                self._move(stream, choose_revision(capacity, stream.id, stream.ring.target))
                if stream.ring.origin is None:
                    self._worry(stream, now_s)

    def _worry(self, stream: Stream, now_s: float) -> None:
        """A stream has waited long for its first block: maybe it cannot be rendered."""
        if stream.asking and now_s - stream.opened_s > WORRY_S and (stream.worry is None or stream.worry.done()):
            stream.worry = self.spawn(self._look_up_failures(stream), f"look up {stream.id}")

    def _say(self, event: str, **fields: Any) -> None:
        """Log something that may repeat without end."""
        held_back = self._limiter.admit(event)
        if held_back is not None:
            _log.warning(event, repeats=held_back, **fields)
