"""One connection to the broker in memory (shell: asyncio)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

from services.runtime.bus.memory.broker import MemoryBroker
from services.runtime.bus.memory.jobs import MemoryJobSource
from services.runtime.bus.memory.subscription import MemorySubscription
from services.runtime.bus.port import BusError, JobSource, Message, Subscription
from services.runtime.metrics import BusMetrics

_AWAY: Final = "the bus is away; try again when it is back"


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
        self._subscriptions: list[MemorySubscription] = []
        self._sources: list[MemoryJobSource] = []
        self._open = False

    @property
    def connected(self) -> bool:
        """Whether messages would arrive now."""
        return self._open and self._broker.available

    @property
    def stream_faults(self) -> Mapping[str, str]:
        """None: the broker's streams have one configuration."""
        return {}

    def unix_s(self) -> float | None:
        """None: the broker has no clock but a monotonic one."""
        return None

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each `MemoryBroker.come_back`."""
        self._callbacks.append(callback)

    def reconnected(self) -> None:
        """Call the callbacks: the broker is back."""
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
        # As on a real connection, the last messages sent are still delivered.
        await asyncio.sleep(0)

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send now or lose it. Raises BusError while the broker is away."""
        self._require()
        self._broker.publish(Message(subject, bytes(data), reply))

    async def subscribe(self, subject: str, callback: Callable[[Message], None]) -> Subscription:
        """Deliver what is published from now on; overflow drops the oldest and is counted."""
        subscription = MemorySubscription(subject, callback, self._unsubscribe, self._broker.limits, self._metrics)
        self._subscriptions.append(subscription)
        self._broker.add(subscription)
        return subscription

    def _unsubscribe(self, subscription: MemorySubscription) -> None:
        self._subscriptions.remove(subscription)
        self._broker.remove(subscription)

    async def gather(self, subject: str, data: bytes, *, wait_s: float) -> AsyncIterator[Message]:
        """Ask all subscribers of `subject`; yields answers as they come, for `wait_s`."""
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

    async def ask(self, subject: str, data: bytes, *, message_id: str, wait_s: float | None = None) -> bool:
        """Put a job into RENDER. False: the same `message_id`, or a job on the same subject, is already there."""
        self._require()
        # A real answer takes at least one turn of the loop; code that depends on less would pass here only.
        await asyncio.sleep(0)
        self._require()
        return self._broker.ask(subject, bytes(data), message_id, wait_s)

    async def jobs(self, durable: str, subject_filter: str, *, ack_wait_s: float = 1.0) -> JobSource:
        """Pull from the part of RENDER that `subject_filter` selects; the consumer is shared by its name."""
        consumer = self._broker.consumer(durable, subject_filter, ack_wait_s)
        source = MemoryJobSource(consumer, self._broker.take, self._broker.monotonic)
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
