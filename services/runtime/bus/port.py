"""The port: what Auralis needs of a message bus. Pure.

Callbacks are plain functions and must not block: they run inside the connection's read loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class BusError(Exception):
    """The bus cannot do it now; the message says why and whether to try again."""


class BusFullError(BusError):
    """A bounded stream refused a message because it is full."""


@dataclass(frozen=True, slots=True)
class Message:
    """A delivered message. `reply` is a subject or empty."""

    subject: str
    data: bytes
    reply: str = ""


class Subscription(Protocol):
    """A live subscription."""

    async def close(self) -> None:
        """Stop delivery; idempotent."""
        ...


class Job(Protocol):
    """A message from a work queue: it comes back after the ack wait unless it is acked.

    Attributes:
        subject, data: the message.
        deliveries: how often it has been delivered, this time included.
        left_s: seconds for which its asker could still wait when it arrived here, by the bus's clock alone; 0 or less:
            it waits no more. None: it did not say.
    """

    subject: str
    data: bytes
    deliveries: int
    left_s: float | None

    async def ack(self) -> None:
        """Done; do not deliver it again."""
        ...

    async def in_progress(self) -> None:
        """Start the ack wait anew: the job is still being worked on."""
        ...

    async def give_back(self, *, delay_s: float = 0.0) -> None:
        """Deliver it to another worker, at once or after `delay_s`."""
        ...

    async def drop(self) -> None:
        """Never deliver it again, although it was not done."""
        ...


class JobSource(Protocol):
    """A durable pull consumer."""

    async def fetch(self, max_jobs: int, wait_s: float) -> Sequence[Job]:
        """Up to `max_jobs` jobs, without waiting if there are any.

        Waits up to `wait_s` for the first one and never for more; 0 does not wait. Empty when none came.
        While the bus is away it waits and does not raise. A consumer that the server has lost is made again.
        """
        ...

    async def close(self) -> None:
        """Stop fetching; idempotent. The durable consumer stays for the other workers."""
        ...


class Bus(Protocol):
    """Publish, subscribe, gather answers, and two JetStream streams: RENDER (work queue) and AUDIO (history)."""

    @property
    def connected(self) -> bool:
        """Whether messages would arrive now."""
        ...

    @property
    def stream_faults(self) -> Mapping[str, str]:
        """Stream -> what is wrong with it, as a sentence; empty while the streams are as they should be."""
        ...

    def unix_s(self) -> float | None:
        """Seconds since the epoch by the bus's own clock; None where it is not known."""
        ...

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each reconnection, when the streams exist again."""
        ...

    async def connect(self) -> None:
        """Connect and see to the streams, trying for ever; afterwards it reconnects by itself. Idempotent."""
        ...

    async def close(self) -> None:
        """Flush and disconnect; idempotent."""
        ...

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send a message now or drop it, because late audio is worthless.

        Raises:
            BusError: disconnected.
        """
        ...

    async def subscribe(self, subject: str, callback: Callable[[Message], None]) -> Subscription:
        """Deliver messages published from now on, also after a reconnection; overflow drops and counts the oldest."""
        ...

    def gather(self, subject: str, data: bytes, *, wait_s: float) -> AsyncIterator[Message]:
        """Ask all subscribers of `subject`; yields answers as they arrive, for `wait_s`.

        Ends at once where there is no subscriber. Overflow of a slow reader drops the newest and counts it.

        Raises:
            BusError: disconnected (when the first answer is awaited).
        """
        ...

    async def ask(self, subject: str, data: bytes, *, message_id: str, wait_s: float | None = None) -> bool:
        """Put a job into RENDER. False: the same `message_id`, or a job on the same subject, is already there.

        Args:
            subject, data: the message.
            message_id: by which repetitions are dropped.
            wait_s: how long the asker can wait for the answer; None: it does not say.

        Raises:
            BusFullError: the stream is full: the job was not taken.
            BusError: disconnected, or no answer within a second.
        """
        ...

    async def jobs(self, durable: str, subject_filter: str, *, ack_wait_s: float = 1.0) -> JobSource:
        """Pull from the part of RENDER that `subject_filter` selects; the consumer is shared by its name."""
        ...

    async def history(self, subject: str, *, max_messages: int = 20) -> Sequence[Message]:
        """Messages that AUDIO keeps of `subject`, oldest first; none while the bus is away."""
        ...

    async def count_failure(self, bucket: str, key: str, *, ttl_s: float) -> int:
        """Add one to a shared counter that is forgotten `ttl_s` after its last change; returns the new count."""
        ...

    async def failures(self, bucket: str, key: str) -> int:
        """A shared counter's value; 0 where there is none, and while the bus is away."""
        ...
