"""The streams that an edge keeps (shell), from their first listener to their last.

Nothing here waits for the bus inside a tick: asks go through a bounded queue, and a stream is opened by a task.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from itertools import chain
from typing import Final

from services.contract import subjects
from services.contract.block import Block, stream_hash
from services.contract.errors import ContractError
from services.contract.presence import Presence
from services.contract.spec import StreamSpec
from services.contract.timebase import block_of, tick_at
from services.edge.codecs.opus_timeline import OpusTimeline
from services.edge.fanout.ask_queue import AskQueue
from services.edge.fanout.stream import Stream, Subscriber
from services.edge.fanout.stream_opener import StreamOpener
from services.edge.listener.payloads import Format
from services.edge.metrics import EdgeMetrics
from services.edge.stream.chunk import Timeline
from services.edge.stream.demand import FALLBACK_S, StreamDemand
from services.edge.stream.renderers import LoadGauge, Presences, choose_revision
from services.edge.stream.ring import Added, Ring
from services.edge.tasks import Tasks
from services.runtime.bus import Bus, BusError, Message, Subscription
from services.runtime.clock import Clock
from services.runtime.clock_spread import ClockSpread
from services.runtime.observability import traces
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog

LINGER_S: Final = 12.0
"""How long a stream is kept after its last listener, which may just be reconnecting: it notices a dead connection after
five seconds and takes a few more to come back."""
LOOK_UP_AFTER_S: Final = 3.0
"""A stream without a block after this time may be one that cannot be rendered."""
OPUS_AHEAD_CHUNKS: Final = 4
"""Chunks that are encoded before the deepest Opus listener is due to get them."""
ENCODER_THREADS: Final = 2
"""Threads that encode Opus for all streams of an edge."""

_rare_log = RateLimitedLog(get_logger(__name__))


class Obstacle(StrEnum):
    """The reason for which a stream cannot be joined."""

    UNRENDERABLE = "unrenderable"
    """Renderers fail at it."""
    OVERLOAD = "overload"
    """It is new, and the renderers do not keep up."""
    STREAMS = "streams"
    """It is new, and the edge has as many streams as it may."""


class Streams[S: Subscriber]:
    """Opens streams, asks for their blocks, and forgets them after their last listener.

    Args:
        most: streams at a time (AURALIS_MAX_STREAMS).
        bus: may still be disconnected.
        clock: the service's clock.
        metrics: the edge's metrics.
        instance: this edge's name.
        tasks: runs what takes time.
        on_sound: called when starved subscribers of a stream can be sent chunks.
        on_unrenderable: called when a stream turns out to be one that renderers fail at.

    Attributes:
        by_id: every stream that is kept, by its stream id.
        timelines: for each format, stream id -> the timeline that listeners of that format hear.
        presences: the renderers that there are.
        clocks: of renderers and bus.
        load: whether the renderers keep up.
    """

    def __init__(
        self,
        most: int,
        *,
        bus: Bus,
        clock: Clock,
        metrics: EdgeMetrics,
        instance: str,
        tasks: Tasks,
        on_sound: Callable[[Stream[S]], None],
        on_unrenderable: Callable[[Stream[S]], None],
    ) -> None:
        self.by_id: dict[str, Stream[S]] = {}
        rings: dict[str, Timeline] = {}
        self.timelines: dict[Format, dict[str, Timeline]] = {Format.JSON: rings, Format.PCM: rings, Format.OPUS: {}}
        self.presences = Presences()
        self.clocks = ClockSpread()
        self.load = LoadGauge()
        self._most = most
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._instance = instance
        self._tasks = tasks
        self._on_sound = on_sound
        self._asks = AskQueue(bus=bus, clock=clock, metrics=metrics)
        self._opener: StreamOpener[S] = StreamOpener(
            bus=bus,
            clock=clock,
            tasks=tasks,
            on_block=self._on_block,
            on_opened=self._ask_now,
            on_unrenderable=on_unrenderable,
        )
        self._presence_subscription: Subscription | None = None
        self._encoders: ThreadPoolExecutor | None = None

    # --- start and stop ----------------------------------------------------------------------------------------------

    def start(self, on_bus: Callable[[], None]) -> None:
        """Begin to ask, and connect to the bus in the background; `on_bus` is called then."""
        self._tasks.spawn(self._connect(on_bus), "bus")
        self._asks.start(self._tasks)

    async def stop(self) -> None:
        """End all subscriptions; idempotent. The owner of the tasks ends them after that."""
        subscriptions = [stream.subscription for stream in self.by_id.values()]
        subscriptions.append(self._presence_subscription)
        for stream in self.by_id.values():
            stream.closed = True
            stream.subscription = None
            self._stop_opus(stream)
        self.by_id.clear()
        for timelines in self.timelines.values():
            timelines.clear()
        self._presence_subscription = None
        for subscription in subscriptions:
            if subscription is not None:
                with contextlib.suppress(BusError):
                    await subscription.close()
        if self._encoders is not None:
            self._encoders.shutdown(wait=False, cancel_futures=True)

    async def _connect(self, on_bus: Callable[[], None]) -> None:
        self._bus.on_reconnect(self._call_roll)
        await self._bus.connect()
        self._presence_subscription = await self._bus.subscribe(subjects.PRESENCE, self._on_presence)
        self._opener.bus_is_up()
        on_bus()
        self._call_roll()

    def _call_roll(self) -> None:
        """Ask all renderers to announce themselves."""

        async def call() -> None:
            # A lost call costs a second: renderers announce themselves that often anyway.
            with contextlib.suppress(BusError):
                await self._bus.publish(subjects.ROLL_CALL, b"")

        self._tasks.spawn(call(), "roll-call")

    # --- subscribers come and go -------------------------------------------------------------------------------------

    def join(self, subscriber: S, spec: StreamSpec, *, tick: int, now_s: float) -> Stream[S] | Obstacle:
        """Give a listener a stream, which is opened if this edge does not have it yet.

        Args:
            subscriber: the listener.
            spec: the stream.
            tick: the first chunk that it wants.
            now_s: unix seconds.

        Returns:
            The stream, or what prevents it.
        """
        stream_id = spec.stream_id
        if self._opener.is_unrenderable(stream_id, now_s):
            return Obstacle.UNRENDERABLE
        stream = self.by_id.get(stream_id)
        if stream is None:
            if self.load.overloaded(now_s):
                return Obstacle.OVERLOAD
            if not self._free_place():
                return Obstacle.STREAMS
            stream = self._open(spec, now_s)
        elif not stream.subscribers:
            # It has no listener, so there is nothing to join; and blocks may have been missed since its last listener.
            stream.ring.restart()
        self._subscribe(subscriber, stream, now_s)
        stream.demand.hurry(block_of(max(self._live(now_s), tick)))
        if stream.ring.target is None:
            self._choose_revision(stream, now_s)
        self._ask(stream, now_s)
        return stream

    def leave(self, subscriber: S, stream_id: str) -> None:
        """A listener needs the stream no more; idempotent."""
        stream = self.by_id.get(stream_id)
        if stream is None or subscriber not in stream.subscribers:
            return
        stream.subscribers.discard(subscriber)
        if subscriber.format is Format.OPUS:
            stream.opus_subscribers -= 1
            if not stream.opus_subscribers:
                self._stop_opus(stream)
        if not stream.subscribers:
            stream.left_s = self._clock.now()

    def want(self, stream_id: str, ahead: int, *, starved: bool) -> None:
        """A listener says what it needs of a stream; see `Stream.want`."""
        stream = self.by_id.get(stream_id)
        if stream is not None:
            stream.want(ahead, starved=starved)

    def _subscribe(self, subscriber: S, stream: Stream[S], now_s: float) -> None:
        stream.subscribers.add(subscriber)
        if subscriber.format is Format.OPUS:
            stream.opus_subscribers += 1
            if stream.opus is None:
                self._start_opus(stream)
        stream.left_s = None
        stream.starved = True
        stream.ahead = max(stream.ahead, subscriber.ahead(now_s))

    def _open(self, spec: StreamSpec, now_s: float) -> Stream[S]:
        ring = Ring(stream_hash(spec.stream_id), bpm=spec.bpm)
        stream: Stream[S] = Stream(spec, ring, StreamDemand(spec, self._instance), opened_s=now_s)
        self.by_id[stream.id] = stream
        self.timelines[Format.PCM][stream.id] = ring
        self._opener.open(stream)
        return stream

    def _free_place(self) -> bool:
        """Free a place for a stream, if need be that of the one left longest ago; False: none."""
        if len(self.by_id) < self._most:
            return True
        left = [(stream.left_s, stream.id) for stream in self.by_id.values() if stream.left_s is not None]
        if not left:
            return False
        self._forget(self.by_id[min(left)[1]])
        return True

    def _forget(self, stream: Stream[S]) -> None:
        del self.by_id[stream.id]
        del self.timelines[Format.PCM][stream.id]
        self._stop_opus(stream)
        self._opener.close(stream)

    # --- Opus --------------------------------------------------------------------------------------------------------

    def _start_opus(self, stream: Stream[S]) -> None:
        """The stream has a listener in Opus."""
        if self._encoders is None:
            self._encoders = ThreadPoolExecutor(ENCODER_THREADS, thread_name_prefix="opus")
        stream.opus = OpusTimeline(
            stream.ring,
            self._encoders,
            on_done=lambda: self._serve_starved(stream),
            on_failed=lambda error: _rare_log.warning("encoder failed", stream=stream.id, detail=repr(error)),
        )
        self.timelines[Format.OPUS][stream.id] = stream.opus

    def _stop_opus(self, stream: Stream[S]) -> None:
        """The stream has no listener in Opus any more."""
        if stream.opus is not None:
            stream.opus.close()
            stream.opus = None
            self.timelines[Format.OPUS].pop(stream.id, None)

    # --- time --------------------------------------------------------------------------------------------------------

    def begin_tick(self, live: int) -> None:
        """Extend the timelines of all streams with listeners as far as these want them."""
        for stream in self.by_id.values():
            if stream.subscribers:
                stream.begin_tick()
                self.advance(stream, live)
                stream.starved = False

    def end_tick(self, now_s: float) -> None:
        """Ask for the blocks that are due."""
        for stream in self.by_id.values():
            if stream.subscribers:
                self._ask(stream, now_s)

    def each_second(self, now_s: float) -> None:
        """Forget streams that were left, move others to newer renderers, look up silent ones."""
        for stream in list(self.by_id.values()):
            if stream.left_s is not None and now_s - stream.left_s > LINGER_S:
                self._forget(stream)
        capacity = self.presences.capacity(now_s)
        for stream in self.by_id.values():
            if stream.left_s is not None:
                continue
            self._move(stream, choose_revision(capacity, stream.id, stream.ring.target))
            if stream.asking and stream.ring.origin is None and now_s - stream.opened_s > LOOK_UP_AFTER_S:
                self._opener.look_up_failures(stream)

    def jump(self, ticks: int, live: int) -> None:
        """Time has jumped by `ticks`: all timelines go on, and the blocks of the new time are asked for."""
        self.load.forget()
        for stream in self.by_id.values():
            stream.ring.jump(ticks, live)
            stream.demand.jump()
            if stream.opus is not None:
                stream.opus.jump()
            front = stream.ring.front
            stream.demand.hurry(block_of(live if front is None else front + 1))
            self._ask(stream, self._clock.now())

    def advance(self, stream: Stream[S], live: int) -> None:
        """Extend the stream's timeline as far as its listeners want it, and encode it for Opus."""
        if stream.opus is None:
            stream.ring.advance(live, stream.ahead)
        else:
            stream.ring.advance(live, stream.ahead + OPUS_AHEAD_CHUNKS)
            stream.opus.work()

    # --- the bus -----------------------------------------------------------------------------------------------------

    def _on_block(self, stream: Stream[S], message: Message) -> None:
        now_s = self._clock.now()
        try:
            block = Block.decode(message.data)
        except ContractError as error:
            self._metrics.blocks.labels(result="invalid").inc()
            self._metrics.bad_messages.labels(kind="block").inc()
            _rare_log.warning("block skipped", stream=stream.id, detail=str(error))
            return
        added = stream.ring.add(block, self._live(now_s))
        self._metrics.blocks.labels(result=str(added)).inc()
        if added is not Added.KEPT:
            return
        number = block_of(block.first_tick)
        if traces.active is not None:
            traces.active.add("arrive", stream.id, number, now_s, self._clock.now(), revision=block.revision)
        asked_s = stream.demand.asked_at(number, block.revision)
        if asked_s is not None:
            took_s = now_s + self._clock.shift_s - asked_s
            self.load.answered(took_s, now_s)
            self._metrics.block_wait.observe(max(0.0, took_s))
        self._serve_starved(stream)

    def _serve_starved(self, stream: Stream[S]) -> None:
        """Send new chunks to subscribers that wait for them, without waiting for the next tick."""
        if stream.starved and stream.subscribers:
            stream.starved = False
            self.advance(stream, self._live(self._clock.now()))
            self._on_sound(stream)

    def _on_presence(self, message: Message) -> None:
        now_s = self._clock.now()
        try:
            presence = Presence.decode(message.data)
        except ContractError as error:
            self._metrics.bad_messages.labels(kind="presence").inc()
            _rare_log.warning("presence skipped", detail=str(error))
            return
        self.presences.heard(presence, now_s)
        if presence.clock_s is not None:
            self.clocks.heard(presence.instance, presence.clock_s - now_s - self._clock.shift_s, now_s)
        for stream in self.by_id.values():
            if stream.ring.target is None and stream.subscribers:
                self._choose_revision(stream, now_s)
                self._ask(stream, now_s)

    def _choose_revision(self, stream: Stream[S], now_s: float) -> None:
        self._move(stream, choose_revision(self.presences.capacity(now_s), stream.id, stream.ring.target))

    def _move(self, stream: Stream[S], revision: str | None) -> None:
        """Have the stream rendered by `revision` from now on."""
        if revision is None:
            return
        joint = stream.ring.move_to(revision)
        if joint is not None:
            # The joint is the last block of the old revision: it is due soon, and the new one has not rendered it.
            stream.demand.hurry(joint)

    def _ask_now(self, stream: Stream[S]) -> None:
        self._ask(stream, self._clock.now())

    def _ask(self, stream: Stream[S], now_s: float) -> None:
        """Ask for every block that is missing and due to be asked for."""
        ring, revision = stream.ring, stream.ring.target
        if not stream.asking or revision is None or not stream.subscribers:
            return
        present, unix_now_s = ring.revision, now_s + self._clock.shift_s
        asks = stream.demand.due(unix_now_s, revision, ring.has_block)
        if present is not None and present != revision and ring.origin is not None:
            # Until the two are joined, the music must not depend on renderers that have only announced themselves.
            asks = chain(asks, stream.demand.due(unix_now_s, present, ring.has_any, lead_s=FALLBACK_S))
        for ask in asks:
            self._asks.put(ask)

    def _live(self, now_s: float) -> int:
        """The live tick."""
        return tick_at(now_s + self._clock.shift_s)
