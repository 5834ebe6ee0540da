"""The bus inside one process, for tests and tools: same behaviour as NATS, held by the same test suite."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.contract import subjects
from services.runtime.bus.limits import BusLimits, subject_matches
from services.runtime.bus.port import BusError, BusFullError, JobSource, Message, Subscription
from services.runtime.metrics import BusMetrics
from services.runtime.observability.logging import get_logger

_log = get_logger(__name__)

_AWAY: Final = "the bus is away; try again when it is back"


class MemoryBroker:
    """What a NATS server with JetStream is to several connections. All its buses live in one event loop.

    Args:
        limits: bounds of streams and queues.
        monotonic: seconds from anywhere; ages, ack waits and time-outs follow it. A waiting fetch wakes by the
            loop's own clock, so a test that turns this one ahead calls `wake`.
    """

    def __init__(self, limits: BusLimits | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or BusLimits()
        self.monotonic = monotonic
        self.available = True
        self._sequence = itertools.count(1)
        self._inboxes = itertools.count(1)
        self._subscriptions: list[_MemorySubscription] = []
        self._buses: list[MemoryBus] = []
        self._asks: OrderedDict[int, _Ask] = OrderedDict()
        self._asks_bytes = 0
        # subjects of `_asks`: each has one at most
        self._asked: set[str] = set()
        self._ids: OrderedDict[str, float] = OrderedDict()
        self._consumers: dict[str, _Consumer] = {}
        # sequence -> message; subjects share it, so that the oldest of all can be dropped
        self._audio: OrderedDict[int, tuple[Message, float]] = OrderedDict()
        self._audio_of: dict[str, deque[int]] = {}
        self._audio_bytes = 0
        self._counters: dict[tuple[str, str], tuple[int, float]] = {}

    def go_away(self) -> None:
        """As if the server had died: every bus is disconnected, and what it kept is lost."""
        self.available = False
        self._asks.clear()
        self._asked.clear()
        self._asks_bytes = 0
        self._ids.clear()
        self._audio.clear()
        self._audio_of.clear()
        self._audio_bytes = 0
        self._counters.clear()
        for consumer in self._consumers.values():
            consumer.forget()
        for subscription in self._subscriptions:
            subscription.forget()

    def come_back(self) -> None:
        """As if an empty server had started: every bus is connected again and says so."""
        if self.available:
            return
        self.available = True
        self.wake()
        for bus in list(self._buses):
            bus.reconnected()

    def wake(self) -> None:
        """Let waiting fetches look again, after the injected clock has been turned."""
        for consumer in self._consumers.values():
            consumer.wake()

    # --- for the buses ---------------------------------------------------------------------------------------------

    def attach(self, bus: MemoryBus) -> None:
        """A bus has connected."""
        if bus not in self._buses:
            self._buses.append(bus)

    def detach(self, bus: MemoryBus) -> None:
        """A bus has closed."""
        if bus in self._buses:
            self._buses.remove(bus)

    def new_inbox(self) -> str:
        """A subject that nobody else uses."""
        return f"_INBOX.{next(self._inboxes)}"

    def add(self, subscription: _MemorySubscription) -> None:
        """Begin delivery."""
        self._subscriptions.append(subscription)

    def remove(self, subscription: _MemorySubscription) -> None:
        """End delivery."""
        with contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)

    def publish(self, message: Message) -> int:
        """Deliver to every subscription and keep it in AUDIO where it belongs; returns how many listen."""
        if subject_matches(subjects.AUDIO_SUBJECTS, message.subject):
            self._keep(message)
        count = 0
        for subscription in list(self._subscriptions):
            if subject_matches(subscription.subject, message.subject):
                subscription.offer(message)
                count += 1
        return count

    def ask(self, subject: str, data: bytes, message_id: str) -> bool:
        """Put into RENDER; False where the same message, or another one on the same subject, is there already."""
        if not subject_matches(subjects.RENDER_SUBJECTS, subject):
            raise BusError(f"no stream takes {subject!r}; asks go to {subjects.RENDER_SUBJECTS}")
        self._expire()
        if message_id in self._ids or subject in self._asked:
            return False
        size = len(subject) + len(data) + len(message_id)
        if self._asks_bytes + size > self.limits.render_max_bytes:
            raise BusFullError(
                f"stream {subjects.RENDER_STREAM} is full ({self._asks_bytes} bytes); ask again when workers catch up"
            )
        now = self.monotonic()
        sequence = next(self._sequence)
        self._ids[message_id] = now
        self._asks[sequence] = _Ask(subject, data, now, size)
        self._asked.add(subject)
        self._asks_bytes += size
        for consumer in self._consumers.values():
            if subject_matches(consumer.subject_filter, subject):
                consumer.ready.append(sequence)
                consumer.wake()
        return True

    def consumer(self, durable: str, subject_filter: str, ack_wait_s: float) -> _Consumer:
        """The durable consumer of that name, made where there is none."""
        consumer = self._consumers.get(durable)
        if consumer is None:
            consumer = self._consumers[durable] = _Consumer(subject_filter)
            consumer.ready.extend(
                sequence for sequence, ask in self._asks.items() if subject_matches(subject_filter, ask.subject)
            )
        consumer.ack_wait_s = ack_wait_s
        return consumer

    def take(self, consumer: _Consumer, max_jobs: int) -> list[_MemoryJob]:
        """Up to `max_jobs` jobs that wait for `consumer`."""
        if not self.available:
            return []
        self._expire()
        now = self.monotonic()
        for sequence in [sequence for sequence, due in consumer.unacked.items() if due <= now]:
            del consumer.unacked[sequence]
            consumer.ready.appendleft(sequence)
        jobs: list[_MemoryJob] = []
        while consumer.ready and len(jobs) < max_jobs:
            sequence = consumer.ready.popleft()
            ask = self._asks.get(sequence)
            if ask is None:
                continue
            ask.deliveries += 1
            consumer.unacked[sequence] = now + consumer.ack_wait_s
            jobs.append(_MemoryJob(self, consumer, sequence, ask.subject, ask.data, ask.deliveries))
        return jobs

    def finish(self, consumer: _Consumer, sequence: int) -> None:
        """Remove an ask that is done."""
        consumer.unacked.pop(sequence, None)
        ask = self._asks.pop(sequence, None)
        if ask is not None:
            self._asks_bytes -= ask.size_bytes
            self._asked.discard(ask.subject)

    def history(self, subject: str, max_messages: int) -> list[Message]:
        """The newest of what AUDIO keeps of `subject`, oldest first."""
        self._expire()
        kept = [self._audio[sequence][0] for sequence in self._audio_of.get(subject, ())]
        return kept[-max_messages:] if max_messages > 0 else []

    def count(self, bucket: str, key: str, ttl_s: float) -> int:
        """Add one to a counter."""
        value = self.counter(bucket, key) + 1
        self._counters[bucket, key] = (value, self.monotonic() + ttl_s)
        return value

    def counter(self, bucket: str, key: str) -> int:
        """A counter's value."""
        value, forgotten_at = self._counters.get((bucket, key), (0, 0.0))
        if forgotten_at <= self.monotonic():
            self._counters.pop((bucket, key), None)
            return 0
        return value

    def _keep(self, message: Message) -> None:
        self._expire()
        sequence = next(self._sequence)
        kept = self._audio_of.setdefault(message.subject, deque())
        self._audio[sequence] = (message, self.monotonic())
        self._audio_bytes += len(message.data)
        kept.append(sequence)
        while len(kept) > self.limits.audio_messages_per_subject:
            self._forget_audio(kept[0])
        while self._audio_bytes > self.limits.audio_max_bytes:
            self._forget_audio(next(iter(self._audio)))

    def _forget_audio(self, sequence: int) -> None:
        message, _ = self._audio.pop(sequence)
        self._audio_bytes -= len(message.data)
        kept = self._audio_of[message.subject]
        kept.remove(sequence)
        if not kept:
            del self._audio_of[message.subject]

    def _expire(self) -> None:
        now = self.monotonic()
        oldest = now - self.limits.render_max_age_s
        for sequence in _until(self._asks, lambda ask: ask.born_s <= oldest):
            expired = self._asks.pop(sequence)
            self._asks_bytes -= expired.size_bytes
            self._asked.discard(expired.subject)
        for message_id in _until(self._ids, lambda born_s: born_s <= oldest):
            del self._ids[message_id]
        for sequence in _until(self._audio, lambda kept: kept[1] <= now - self.limits.audio_max_age_s):
            self._forget_audio(sequence)


class MemoryBus:
    """One connection to a `MemoryBroker`.

    Args:
        broker: shared by the buses that should hear each other.
        metrics: where drops are counted.
    """

    def __init__(self, broker: MemoryBroker, metrics: BusMetrics | None = None) -> None:
        self._broker = broker
        self._metrics = metrics or BusMetrics()
        self._callbacks: list[Callable[[], None]] = []
        self._subscriptions: list[_MemorySubscription] = []
        self._sources: list[_MemoryJobSource] = []
        self._open = False

    @property
    def connected(self) -> bool:
        """Whether messages would arrive now."""
        return self._open and self._broker.available

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each `MemoryBroker.come_back`."""
        self._callbacks.append(callback)

    def reconnected(self) -> None:
        """Tell everybody that the broker is back."""
        self._metrics.reconnects.inc()
        for callback in self._callbacks:
            asyncio.get_running_loop().call_soon(callback)

    async def connect(self) -> None:
        """Connect; waits while the broker is away."""
        while not self._broker.available:  # noqa: ASYNC110 - a test's broker; no event to miss
            await asyncio.sleep(0.005)
        self._open = True
        self._broker.attach(self)

    async def close(self) -> None:
        """Disconnect; jobs that were fetched and not acked come back after their ack wait."""
        self._open = False
        self._broker.detach(self)
        for source in list(self._sources):
            await source.close()
        for subscription in list(self._subscriptions):
            await subscription.close()
        # As on a real connection, whoever was to hear of what was sent last gets the chance.
        await asyncio.sleep(0)

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send now or lose it. Raises BusError while the broker is away."""
        self._require()
        self._broker.publish(Message(subject, bytes(data), reply))

    async def subscribe(self, subject: str, callback: Callable[[Message], None]) -> Subscription:
        """Deliver what is published from now on; overflow drops the oldest and is counted."""
        subscription = _MemorySubscription(self._broker, subject, callback, self._metrics)
        subscription.on_close = self._subscriptions.remove
        self._subscriptions.append(subscription)
        self._broker.add(subscription)
        return subscription

    async def gather(self, subject: str, data: bytes, *, wait_s: float) -> AsyncIterator[Message]:
        """Ask everybody who listens on `subject`; yields answers as they come, for `wait_s`."""
        self._require()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        answers: asyncio.Queue[Message] = asyncio.Queue(self._broker.limits.gather_messages)

        def arrived(message: Message) -> None:
            try:
                answers.put_nowait(message)
            except asyncio.QueueFull:
                self._metrics.dropped.labels(policy="gather_newest").inc()

        inbox = self._broker.new_inbox()
        subscription = await self.subscribe(inbox, arrived)
        try:
            if not self._broker.publish(Message(subject, bytes(data), inbox)):
                return
            while (left_s := deadline_s - loop.time()) > 0:
                try:
                    message = await asyncio.wait_for(answers.get(), left_s)
                except TimeoutError:
                    return
                yield message
        finally:
            await subscription.close()

    async def ask(self, subject: str, data: bytes, *, message_id: str) -> bool:
        """Put a job into RENDER. False: the same `message_id`, or a job on the same subject, is already there."""
        self._require()
        # A real answer takes a turn of the loop at least; code that forgets so would pass here only.
        await asyncio.sleep(0)
        self._require()
        return self._broker.ask(subject, bytes(data), message_id)

    async def jobs(self, durable: str, subject_filter: str, *, ack_wait_s: float = 1.0) -> JobSource:
        """Pull from the part of RENDER that `subject_filter` selects; the consumer is shared by its name."""
        source = _MemoryJobSource(self._broker, self._broker.consumer(durable, subject_filter, ack_wait_s))
        self._sources.append(source)
        return source

    async def history(self, subject: str, *, max_messages: int = 20) -> Sequence[Message]:
        """What AUDIO keeps of `subject`, oldest first."""
        await asyncio.sleep(0)
        return self._broker.history(subject, max_messages) if self.connected else ()

    async def count_failure(self, bucket: str, key: str, *, ttl_s: float) -> int:
        """Add one to a shared counter that is forgotten `ttl_s` after its last change."""
        self._require()
        await asyncio.sleep(0)
        return self._broker.count(bucket, key, ttl_s)

    async def failures(self, bucket: str, key: str) -> int:
        """The shared counter's value; 0 when there is none or the bus is away."""
        await asyncio.sleep(0)
        return self._broker.counter(bucket, key) if self.connected else 0

    def _require(self) -> None:
        if not self._open:
            raise BusError("the bus is not connected; call connect() first")
        if not self._broker.available:
            raise BusError(_AWAY)


@dataclass(slots=True)
class _Ask:
    subject: str
    data: bytes
    born_s: float
    size_bytes: int
    deliveries: int = 0


@dataclass(eq=False, slots=True)
class _Consumer:
    """Jobs of one filter: `ready` wait for a worker, `unacked` (sequence -> when it comes back) are with one."""

    subject_filter: str
    ack_wait_s: float = 1.0
    ready: deque[int] = field(default_factory=deque)
    unacked: dict[int, float] = field(default_factory=dict)
    waiters: set[asyncio.Future[None]] = field(default_factory=set)

    def wake(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def forget(self) -> None:
        self.ready.clear()
        self.unacked.clear()


@dataclass(slots=True)
class _MemoryJob:
    _broker: MemoryBroker
    _consumer: _Consumer
    _sequence: int
    subject: str
    data: bytes
    deliveries: int

    async def ack(self) -> None:
        self._broker.finish(self._consumer, self._sequence)

    async def in_progress(self) -> None:
        # Only while it is still with this worker: after the ack wait it may be with another.
        if self._sequence in self._consumer.unacked:
            self._consumer.unacked[self._sequence] = self._broker.monotonic() + self._consumer.ack_wait_s

    async def give_back(self) -> None:
        if self._consumer.unacked.pop(self._sequence, None) is not None:
            self._consumer.ready.appendleft(self._sequence)
            self._consumer.wake()

    async def drop(self) -> None:
        self._broker.finish(self._consumer, self._sequence)


class _MemoryJobSource:
    def __init__(self, broker: MemoryBroker, consumer: _Consumer) -> None:
        self._broker = broker
        self._consumer = consumer
        self._closed = False

    async def fetch(self, max_jobs: int, wait_s: float) -> Sequence[_MemoryJob]:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while not self._closed:
            jobs = self._broker.take(self._consumer, max_jobs)
            left_s = deadline_s - loop.time()
            if jobs or left_s <= 0:
                return jobs
            back_s = min(self._consumer.unacked.values(), default=float("inf")) - self._broker.monotonic()
            waiter = loop.create_future()
            self._consumer.waiters.add(waiter)
            try:
                await asyncio.wait({waiter}, timeout=min(left_s, max(0.001, back_s)))
            finally:
                self._consumer.waiters.discard(waiter)
        return ()

    async def close(self) -> None:
        self._closed = True
        self._consumer.wake()


class _MemorySubscription:
    def __init__(
        self, broker: MemoryBroker, subject: str, callback: Callable[[Message], None], metrics: BusMetrics
    ) -> None:
        self.subject = subject
        self.on_close: Callable[[_MemorySubscription], None] = lambda _: None
        self._broker = broker
        self._callback = callback
        self._metrics = metrics
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._scheduled = False
        self._closed = False

    def offer(self, message: Message) -> None:
        limits = self._broker.limits
        self._waiting.append(message)
        self._waiting_bytes += len(message.data)
        while len(self._waiting) > 1 and (
            len(self._waiting) > limits.subscription_messages or self._waiting_bytes > limits.subscription_bytes
        ):
            self._waiting_bytes -= len(self._waiting.popleft().data)
            self._metrics.dropped.labels(policy="subscription_oldest").inc()
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def forget(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _deliver(self) -> None:
        self._scheduled = False
        while self._waiting and not self._closed:
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message.data)
            try:
                self._callback(message)
            except Exception:  # noqa: BLE001 - one bad message must not end the subscription
                self._metrics.callback_errors.inc()
                _log.exception("subscription callback failed", subject=message.subject)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._broker.remove(self)
            with contextlib.suppress(ValueError):
                self.on_close(self)


def _until[K, V](items: OrderedDict[K, V], over: Callable[[V], bool]) -> list[K]:
    """The keys from the oldest on for which `over` holds."""
    return [key for key, _ in itertools.takewhile(lambda item: over(item[1]), items.items())]
