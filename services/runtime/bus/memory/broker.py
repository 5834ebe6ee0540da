"""A NATS server with JetStream, as one object (shell: its clock)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Protocol

from services.contract import subjects
from services.runtime.bus.limits import BusLimits, subject_matches
from services.runtime.bus.memory.audio_history import AudioHistory
from services.runtime.bus.memory.jobs import MemoryJob
from services.runtime.bus.memory.render_queue import Consumer, RenderQueue
from services.runtime.bus.memory.subscription import MemorySubscription
from services.runtime.bus.port import Message


class Reconnectable(Protocol):
    """A connection that is told when the broker is back."""

    def reconnected(self) -> None:
        """The broker is back."""
        ...


class MemoryBroker:
    """What a NATS server is to several connections. All its buses live in one event loop.

    Args:
        limits: bounds of streams and queues.
        monotonic: seconds from anywhere; ages, ack waits and time-outs follow it. A waiting fetch wakes by the
            loop's own clock, so a test that turns this one ahead calls `wake`.

    Attributes:
        available: False between `go_away` and `come_back`.
        queue: the asks of RENDER.
    """

    def __init__(self, limits: BusLimits | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or BusLimits()
        self.monotonic = monotonic
        self.available = True
        self.queue = RenderQueue(self.limits)
        self._audio = AudioHistory(self.limits)
        self._inboxes = itertools.count(1)
        self._subscriptions: list[MemorySubscription] = []
        self._buses: list[Reconnectable] = []
        # (bucket, key) -> (value, when it is forgotten)
        self._counters: dict[tuple[str, str], tuple[int, float]] = {}

    def go_away(self) -> None:
        """As if the server had died: every bus is disconnected, and everything kept is lost."""
        self.available = False
        self.queue.clear()
        self._audio.clear()
        self._counters.clear()
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
        self.queue.wake_fetches()

    @property
    def subscribed(self) -> list[str]:
        """Subjects of all subscriptions."""
        return [subscription.subject for subscription in self._subscriptions]

    # --- for the buses ---------------------------------------------------------------------------------------------

    def attach(self, bus: Reconnectable) -> None:
        """A bus has connected."""
        if bus not in self._buses:
            self._buses.append(bus)

    def detach(self, bus: Reconnectable) -> None:
        """A bus has closed."""
        if bus in self._buses:
            self._buses.remove(bus)

    def new_inbox(self) -> str:
        """A subject that is not in use."""
        return f"_INBOX.{next(self._inboxes)}"

    def add(self, subscription: MemorySubscription) -> None:
        """Begin delivery."""
        self._subscriptions.append(subscription)

    def remove(self, subscription: MemorySubscription) -> None:
        """End delivery."""
        self._subscriptions.remove(subscription)

    def publish(self, message: Message) -> int:
        """Deliver to every subscription and keep it in AUDIO where it belongs; returns the number of receivers."""
        if subject_matches(subjects.AUDIO_SUBJECTS, message.subject):
            self._audio.keep(message, self.monotonic())
        receivers = [each for each in self._subscriptions if subject_matches(each.subject, message.subject)]
        for subscription in receivers:
            subscription.offer(message)
        return len(receivers)

    def ask(self, subject: str, data: bytes, message_id: str, wait_s: float | None = None) -> bool:
        """Put into RENDER; see `RenderQueue.put`."""
        return self.queue.put(subject, data, message_id, self.monotonic(), wait_s)

    def consumer(self, durable: str, subject_filter: str, ack_wait_s: float) -> Consumer:
        """The consumer named `durable`, made where there is none."""
        return self.queue.consumer(durable, subject_filter, ack_wait_s)

    def take(self, consumer: Consumer, max_jobs: int) -> list[MemoryJob]:
        """Up to `max_jobs` jobs that wait for `consumer`; none while the broker is away."""
        if not self.available:
            return []
        return [MemoryJob(taken, self.monotonic) for taken in self.queue.take(consumer, max_jobs, self.monotonic())]

    def history(self, subject: str, max_messages: int) -> list[Message]:
        """The newest messages that AUDIO keeps of `subject`, oldest first."""
        return self._audio.newest(subject, max_messages, self.monotonic())

    def count(self, bucket: str, key: str, ttl_s: float) -> int:
        """Add one to a counter."""
        value = self.counter(bucket, key) + 1
        self._counters[bucket, key] = (value, self.monotonic() + ttl_s)
        return value

    def counter(self, bucket: str, key: str) -> int:
        """A counter's value."""
        value, forgotten_s = self._counters.get((bucket, key), (0, 0.0))
        if forgotten_s <= self.monotonic():
            self._counters.pop((bucket, key), None)
            return 0
        return value
