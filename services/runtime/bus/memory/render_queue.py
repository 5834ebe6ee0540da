"""Pure: the stream RENDER, a work queue that holds one ask a subject."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from services.contract import subjects
from services.runtime.bus.limits import BusLimits, subject_matches
from services.runtime.bus.port import BusError, BusFullError


@dataclass(slots=True)
class Ask:
    """One ask in the queue.

    Attributes:
        subject, data: the message.
        born_s: when it was put.
        size_bytes: counted towards the queue's bound.
        until_s: how long its asker can wait; None: it did not say.
        deliveries: how often a worker has taken it.
    """

    subject: str
    data: bytes
    born_s: float
    size_bytes: int
    until_s: float | None = None
    deliveries: int = 0


@dataclass(eq=False, slots=True)
class Consumer:
    """The asks of one subject filter.

    Attributes:
        ready: sequence numbers of asks that wait for a worker.
        unacked: sequence number of an ask that a worker has -> when it becomes ready again.
        on_ready: called when an ask becomes ready.
    """

    subject_filter: str
    ack_wait_s: float = 1.0
    ready: deque[int] = field(default_factory=deque)
    unacked: dict[int, float] = field(default_factory=dict)
    on_ready: dict[Callable[[], None], None] = field(default_factory=dict)

    def wake(self) -> None:
        """Let the waiting fetches look again."""
        for call in list(self.on_ready):
            call()


@dataclass(frozen=True, slots=True)
class TakenAsk:
    """An ask that was taken from the queue: it becomes ready again after the ack wait, unless it is finished.

    Attributes:
        subject, data: the message.
        deliveries: how often it has been taken, this time included.
        left_s: for how long its asker could still wait when it was taken; None: it did not say.
    """

    _queue: RenderQueue
    _consumer: Consumer
    _sequence: int
    subject: str
    data: bytes
    deliveries: int
    left_s: float | None = None

    def finish(self) -> None:
        """Remove it from the queue."""
        self._queue.finish(self._consumer, self._sequence)

    def extend(self, now_s: float) -> None:
        """Start the ack wait anew."""
        # Only while this worker has it: after the ack wait another may.
        if self._sequence in self._consumer.unacked:
            self._consumer.unacked[self._sequence] = now_s + self._consumer.ack_wait_s

    def give_back(self, now_s: float = 0.0, delay_s: float = 0.0) -> None:
        """Make it ready now, or `delay_s` after `now_s`."""
        if self._sequence not in self._consumer.unacked:
            return
        if delay_s > 0:
            self._consumer.unacked[self._sequence] = now_s + delay_s
        else:
            del self._consumer.unacked[self._sequence]
            self._consumer.ready.appendleft(self._sequence)
        self._consumer.wake()


class RenderQueue:
    """Asks by sequence number, and the consumers that share them.

    Args:
        limits: bounds of age and bytes.
    """

    def __init__(self, limits: BusLimits) -> None:
        self._limits = limits
        self._sequence = itertools.count(1)
        self._asks: OrderedDict[int, Ask] = OrderedDict()
        self._asks_bytes = 0
        # Subjects of `_asks`: each has at most one.
        self._subjects: set[str] = set()
        # Message id -> when it was put.
        self._ids: OrderedDict[str, float] = OrderedDict()
        self._consumers: dict[str, Consumer] = {}

    def __len__(self) -> int:
        """Asks that are not finished."""
        return len(self._asks)

    @property
    def message_ids(self) -> list[str]:
        """Message ids that would be refused as repetitions, oldest first."""
        return list(self._ids)

    def put(self, subject: str, data: bytes, message_id: str, now_s: float, wait_s: float | None = None) -> bool:
        """Take an ask in; False where the same message id, or an ask on the same subject, is there already.

        Args:
            subject, data, message_id: the ask.
            now_s: seconds from anywhere.
            wait_s: how long its asker can wait; None: it does not say.

        Raises:
            BusError: the subject belongs to no stream.
            BusFullError: the queue is full.
        """
        if not subject_matches(subjects.RENDER_SUBJECTS, subject):
            raise BusError(f"no stream takes {subject!r}; asks go to {subjects.RENDER_SUBJECTS}")
        self._expire(now_s)
        if message_id in self._ids or subject in self._subjects:
            return False
        size_bytes = len(subject) + len(data) + len(message_id)
        if self._asks_bytes + size_bytes > self._limits.render_max_bytes:
            raise BusFullError(
                f"stream {subjects.RENDER_STREAM} is full ({self._asks_bytes} bytes); ask again when workers catch up"
            )
        sequence = next(self._sequence)
        self._ids[message_id] = now_s
        self._asks[sequence] = Ask(subject, data, now_s, size_bytes, None if wait_s is None else now_s + wait_s)
        self._subjects.add(subject)
        self._asks_bytes += size_bytes
        for consumer in self._consumers.values():
            if subject_matches(consumer.subject_filter, subject):
                consumer.ready.append(sequence)
                consumer.wake()
        return True

    def consumer(self, durable: str, subject_filter: str, ack_wait_s: float) -> Consumer:
        """The consumer named `durable`, made where there is none."""
        consumer = self._consumers.get(durable)
        if consumer is None:
            consumer = self._consumers[durable] = Consumer(subject_filter)
            consumer.ready.extend(
                sequence for sequence, ask in self._asks.items() if subject_matches(subject_filter, ask.subject)
            )
        consumer.ack_wait_s = ack_wait_s
        return consumer

    def take(self, consumer: Consumer, max_jobs: int, now_s: float) -> list[TakenAsk]:
        """Up to `max_jobs` asks that wait for `consumer`."""
        self._expire(now_s)
        for sequence in [sequence for sequence, due_s in consumer.unacked.items() if due_s <= now_s]:
            del consumer.unacked[sequence]
            consumer.ready.appendleft(sequence)
        taken: list[TakenAsk] = []
        while consumer.ready and len(taken) < max_jobs:
            sequence = consumer.ready.popleft()
            ask = self._asks.get(sequence)
            if ask is None:
                continue
            ask.deliveries += 1
            consumer.unacked[sequence] = now_s + consumer.ack_wait_s
            left_s = None if ask.until_s is None else ask.until_s - now_s
            taken.append(TakenAsk(self, consumer, sequence, ask.subject, ask.data, ask.deliveries, left_s))
        return taken

    def finish(self, consumer: Consumer, sequence: int) -> None:
        """Remove an ask that is done; nothing happens where it is gone already."""
        consumer.unacked.pop(sequence, None)
        ask = self._asks.pop(sequence, None)
        if ask is not None:
            self._asks_bytes -= ask.size_bytes
            self._subjects.discard(ask.subject)

    def wake_fetches(self) -> None:
        """Let all waiting fetches look again."""
        for consumer in self._consumers.values():
            consumer.wake()

    def clear(self) -> None:
        """Forget all asks; the consumers stay."""
        self._asks.clear()
        self._asks_bytes = 0
        self._subjects.clear()
        self._ids.clear()
        for consumer in self._consumers.values():
            consumer.ready.clear()
            consumer.unacked.clear()

    def _expire(self, now_s: float) -> None:
        horizon_s = now_s - self._limits.render_max_age_s
        while self._asks and next(iter(self._asks.values())).born_s <= horizon_s:
            _, ask = self._asks.popitem(last=False)
            self._asks_bytes -= ask.size_bytes
            self._subjects.discard(ask.subject)
        while self._ids and next(iter(self._ids.values())) <= horizon_s:
            self._ids.popitem(last=False)
