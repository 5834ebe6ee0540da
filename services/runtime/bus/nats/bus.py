"""The bus over NATS and JetStream: each call of the port goes to the part that does it (shell: nats)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from nats.aio.msg import Msg

from services.contract import subjects
from services.runtime.bus.limits import BusLimits
from services.runtime.bus.nats.audio_history import AudioHistory
from services.runtime.bus.nats.client import BusClient
from services.runtime.bus.nats.connection import Connection, Upkeep
from services.runtime.bus.nats.counters import Counters
from services.runtime.bus.nats.jetstream import JetStream
from services.runtime.bus.nats.messaging import Messaging, NatsSubscription
from services.runtime.bus.nats.render_queue import RenderQueue
from services.runtime.bus.port import JobSource, Message, Subscription
from services.runtime.metrics import BusMetrics
from services.runtime.settings import NatsSettings


class NatsBus:
    """A connection to NATS.

    Args:
        settings: where the bus is and how to sign in.
        name: shown in the server's list of connections: service and instance.
        metrics: where drops, errors and repairs are counted.
        limits: bounds of queues and streams.
        keeps_streams: make, change and mend the streams, which takes rights that only workers have; False: report them.
    """

    def __init__(
        self,
        settings: NatsSettings,
        *,
        name: str,
        metrics: BusMetrics | None = None,
        limits: BusLimits | None = None,
        keeps_streams: bool = True,
    ) -> None:
        metrics = metrics or BusMetrics()
        limits = limits or BusLimits()
        upkeep = Upkeep(restore=self._restore, settle=self._settle, check=self._check, release=self._release)
        self._connection = Connection(settings, upkeep, name=name, metrics=metrics, limits=limits)
        self._messaging = Messaging(
            self._connection,
            inboxes=subjects.inboxes(settings.user, name),
            answers=subjects.inboxes(settings.user),
            metrics=metrics,
            limits=limits,
        )
        self._jetstream = JetStream(self._connection, self._messaging, keeps_streams=keeps_streams)
        self._queue = RenderQueue(self._connection, self._messaging, self._jetstream)
        self._history = AudioHistory(self._connection, self._jetstream, limits)
        self._counters = Counters(self._jetstream)

    @property
    def connected(self) -> bool:
        """Whether messages would arrive now."""
        return self._connection.connected

    @property
    def stream_faults(self) -> Mapping[str, str]:
        """Stream -> what is wrong with it, as a sentence, at the last check."""
        return self._jetstream.faults

    def unix_s(self) -> float | None:
        """Seconds since the epoch by the server's clock; None before its first answer."""
        return self._jetstream.clock.now_s(asyncio.get_running_loop().time())

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each reconnection, when the streams exist again."""
        self._connection.on_reconnect(callback)

    async def connect(self) -> None:
        """Connect and see to the streams, trying for ever; idempotent."""
        await self._connection.connect()

    async def close(self) -> None:
        """Give jobs back, flush and disconnect; idempotent."""
        await self._connection.close()

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send a message now; if the network does not take it in time, it is dropped and counted.

        Raises:
            BusError: disconnected, or the message is larger than the server accepts.
        """
        await self._messaging.send(self._connection.require(), subject, data, reply)

    async def subscribe(self, subject: str, callback: Callable[[Message], None]) -> Subscription:
        """Deliver messages published from now on, also after a reconnection; overflow drops and counts the oldest."""

        def arrived(message: Msg) -> None:
            callback(Message(message.subject, message.data, message.reply))

        subscription = NatsSubscription(self._messaging, subject, arrived, drops_oldest=True)
        await self._messaging.add(subscription)
        return subscription

    def gather(self, subject: str, data: bytes, *, wait_s: float) -> AsyncIterator[Message]:
        """Ask all subscribers of `subject`; yields answers as they arrive, for `wait_s`.

        Raises:
            BusError: disconnected.
        """
        return self._messaging.gather(subject, data, wait_s=wait_s)

    async def ask(self, subject: str, data: bytes, *, message_id: str, wait_s: float | None = None) -> bool:
        """Put a job into RENDER. False: the same `message_id`, or a job on the same subject, is already there.

        Raises:
            BusFullError: the stream is full: the job was not taken.
            BusError: disconnected, or no answer within a second.
        """
        return await self._queue.ask(subject, data, message_id=message_id, wait_s=wait_s)

    async def jobs(self, durable: str, subject_filter: str, *, ack_wait_s: float = 1.0) -> JobSource:
        """Pull from the part of RENDER that `subject_filter` selects; the consumer is shared by its name."""
        return await self._queue.jobs(durable, subject_filter, ack_wait_s=ack_wait_s)

    async def history(self, subject: str, *, max_messages: int = 20) -> Sequence[Message]:
        """Messages that AUDIO keeps of `subject`, oldest first; none while the bus is away."""
        return await self._history.read(subject, max_messages=max_messages)

    async def count_failure(self, bucket: str, key: str, *, ttl_s: float) -> int:
        """Add one to a shared counter that is forgotten `ttl_s` after its last change; returns the new count.

        Raises:
            BusError: the bus is away.
        """
        return await self._counters.count(bucket, key, ttl_s=ttl_s)

    async def failures(self, bucket: str, key: str) -> int:
        """A shared counter's value; 0 where there is none, and while the bus is away."""
        return await self._counters.value(bucket, key)

    # --- the connection's upkeep -----------------------------------------------------------------------------------

    async def _restore(self, client: BusClient) -> None:
        await self._jetstream.restore()
        await self._messaging.attach(client)

    async def _settle(self, client: BusClient) -> None:
        await self._messaging.attach_latecomers(client)
        self._queue.restart()

    async def _check(self) -> None:
        await self._jetstream.check()

    async def _release(self) -> None:
        await self._queue.close()
