"""Jobs of a JetStream work queue: pull requests, jobs, acknowledgements (shell: asyncio, nats)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from nats.aio.msg import Msg

from services.contract.job import WAIT_HEADER
from services.runtime.bus.limits import BusLimits
from services.runtime.bus.nats.bus_clock import BusClock
from services.runtime.bus.nats.client import status_of
from services.runtime.bus.port import BusError
from services.runtime.metrics import BusMetrics

SETTLE_S: Final = 0.02
"""How long a fetch waits for the rest of its batch once it has a first job."""
ANSWER_TIMEOUT_S: Final = 2.0
"""How long after its end a pull request may stay unanswered; then it counts as lost."""
AWAY_CHECK_S: Final = 0.25
"""Seconds between two looks at whether the bus is back."""

MAX_WAIT_DIGITS: Final = 9
"""Digits of the milliseconds that an ask can wait; a longer number is nonsense."""

_NANO: Final = 1_000_000_000


class Queue(Protocol):
    """The part of the work queue that a job source needs."""

    @property
    def connected(self) -> bool:
        """Whether a request would be answered now."""
        ...

    @property
    def clock(self) -> BusClock:
        """The server's clock."""
        ...

    def new_inbox(self) -> str:
        """A prefix of subjects that is not in use."""
        ...

    async def publish(self, subject: str, data: bytes) -> None:
        """Send a message; raises BusError while disconnected."""
        ...

    async def pull(self, durable: str, request: Mapping[str, Any], reply: str) -> bool:
        """Send a pull request; False while disconnected."""
        ...

    async def ensure_consumer(self, durable: str, subject_filter: str, ack_wait_s: float) -> bool:
        """Make the durable consumer if it is missing; False: it cannot be made now."""
        ...

    def discard_source(self, source: NatsJobSource) -> None:
        """Forget a source that has closed."""
        ...


class Inbox(Protocol):
    """The subscription on which jobs arrive."""

    async def finish(self) -> None:
        """End it after the handler has seen the messages under way."""
        ...


@dataclass(slots=True)
class _Pull:
    """A pull request that the server has not completed.

    Attributes:
        left: jobs that it may still bring.
        until_s: when it counts as lost, by the loop's clock.
    """

    left: int
    until_s: float


class NatsJobSource:
    """Fetches from one durable consumer.

    A pull request is `no_wait` with `expires`: the server answers at once with the jobs it has, up to the batch. If it
    has none, it waits for the first and answers with all that it has then.

    A pull outlives the fetch that sent it if the fetch is cancelled. So jobs belong to no fetch: they go to `_arrived`,
    and the next fetch takes them.
    """

    def __init__(
        self,
        queue: Queue,
        durable: str,
        subject_filter: str,
        *,
        ack_wait_s: float,
        limits: BusLimits,
        metrics: BusMetrics,
    ) -> None:
        self._queue = queue
        self._durable = durable
        self._filter = subject_filter
        self._ack_wait_s = ack_wait_s
        self._limits = limits
        self._metrics = metrics
        self._inbox_prefix = queue.new_inbox()
        self.inbox_subject = f"{self._inbox_prefix}.*"
        self.inbox: Inbox | None = None
        self._arrived: deque[tuple[float, NatsJob]] = deque()
        self._pulls: dict[int, _Pull] = {}
        self._last_pull = 0
        # Jobs that the fetches under way may take.
        self._wanted = 0
        self._missing = True
        self._retry_at_s = 0.0
        self._waiters: set[asyncio.Future[None]] = set()
        self._naks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def fetch(self, max_jobs: int, wait_s: float) -> Sequence[NatsJob]:
        """Up to `max_jobs` jobs; waits up to `wait_s` for the first one. See the port."""
        self._wanted += max_jobs
        try:
            return await self._fetch(max_jobs, wait_s)
        finally:
            self._wanted -= max_jobs

    async def _fetch(self, max_jobs: int, wait_s: float) -> Sequence[NatsJob]:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        asked = False
        while not self._closed:
            now_s = loop.time()
            self._forget_stale(now_s)
            pulling = self._pulling(now_s)
            if self._arrived:
                settled_s = self._arrived[0][0] + SETTLE_S
                if not pulling or len(self._arrived) >= max_jobs or now_s >= settled_s:
                    return self._take(max_jobs)
                await self._changed(settled_s - now_s)
                continue
            left_s = deadline_s - now_s
            if pulling:
                if left_s <= 0 and not asked:
                    # An earlier request waits at the server, so the server has no job.
                    return ()
                # A request that does not wait is answered at once; the timeout is for a lost answer.
                await self._changed(left_s if left_s > 0 else ANSWER_TIMEOUT_S)
                if left_s <= 0 and not self._arrived:
                    self._pulls.clear()
                    return ()
                continue
            if asked and left_s <= SETTLE_S:
                return ()
            if not self._queue.connected or now_s < self._retry_at_s:
                if left_s <= 0:
                    return ()
                away_s = max(self._retry_at_s - now_s, 0.01) if self._queue.connected else AWAY_CHECK_S
                await self._changed(min(left_s, away_s))
                continue
            if self._missing and not await self._repair():
                continue
            asked = await self._pull(max_jobs, max(0.0, deadline_s - loop.time())) or asked
        return ()

    async def close(self) -> None:
        """Give back jobs that arrived and were not fetched; idempotent. The consumer stays for the other workers."""
        if self._closed:
            return
        self._closed = True
        self._queue.discard_source(self)
        self._wake()
        while self._arrived:
            await self._arrived.popleft()[1].give_back()
        # Jobs still on their way are given back by on_message.
        if self.inbox is not None:
            await self.inbox.finish()
        if self._naks:
            await asyncio.wait(self._naks)

    def restart(self) -> None:
        """The connection is new: requests on the old one are void, and the consumer may be gone."""
        self._pulls.clear()
        self._missing = True
        self._retry_at_s = 0.0
        self._wake()

    async def _repair(self) -> bool:
        if await self._queue.ensure_consumer(self._durable, self._filter, self._ack_wait_s):
            self._missing = False
            return True
        self._retry_at_s = asyncio.get_running_loop().time() + random.uniform(0.1, 0.3)  # noqa: S311 - spreads load
        return False

    async def _pull(self, batch: int, wait_s: float) -> bool:
        self._last_pull += 1
        number = self._last_pull
        request: dict[str, Any] = {"batch": batch, "no_wait": True}
        if wait_s > SETTLE_S:
            request["expires"] = int(wait_s * _NANO)
        self._pulls[number] = _Pull(batch, asyncio.get_running_loop().time() + wait_s + ANSWER_TIMEOUT_S)
        if await self._queue.pull(self._durable, request, f"{self._inbox_prefix}.{number}"):
            return True
        self._pulls.pop(number, None)
        return False

    def _pulling(self, now_s: float) -> bool:
        for number in [number for number, pull in self._pulls.items() if pull.until_s <= now_s]:
            del self._pulls[number]
        return bool(self._pulls)

    def on_message(self, message: Msg) -> None:
        """Handle a message on `inbox_subject`."""
        status = status_of(message)
        if status:
            self._on_status(status, message)
            return
        job = NatsJob(self._queue, message, asyncio.get_running_loop().time())
        if self._closed or len(self._arrived) >= self._limits.late_jobs + self._wanted:
            if not self._closed:
                self._metrics.dropped.labels(policy="late_jobs").inc()
            task = asyncio.get_running_loop().create_task(job.give_back())
            self._naks.add(task)
            task.add_done_callback(self._naks.discard)
            return
        self._arrived.append((asyncio.get_running_loop().time(), job))
        for number, pull in self._pulls.items():
            # A job does not name its request; the oldest is answered first.
            pull.left -= 1
            if pull.left <= 0:
                del self._pulls[number]
            break
        self._wake()

    def _on_status(self, status: str, message: Msg) -> None:
        if status == "100":
            return  # a heartbeat
        number = message.subject.rpartition(".")[2]
        self._pulls.pop(int(number) if number.isdigit() else 0, None)
        description = str((message.headers or {}).get("Description", ""))
        if status == "503" or (status == "409" and "Deleted" in description):
            self._missing = True
        elif status not in ("404", "408"):
            # The server has too many waiting requests, moves its leader, or shuts down.
            self._retry_at_s = asyncio.get_running_loop().time() + random.uniform(0.05, 0.15)  # noqa: S311 - spreads load
        self._wake()

    def _forget_stale(self, now_s: float) -> None:
        # After the ack wait the server has given the job to another worker.
        while self._arrived and now_s - self._arrived[0][0] > self._ack_wait_s:
            self._arrived.popleft()
            self._metrics.dropped.labels(policy="late_jobs").inc()

    def _take(self, max_jobs: int) -> list[NatsJob]:
        return [self._arrived.popleft()[1] for _ in range(min(max_jobs, len(self._arrived)))]

    async def _changed(self, timeout_s: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=timeout_s)
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class NatsJob:
    """A job. Answers are sent without confirmation: if one is lost, the job comes back, which is harmless.

    Args:
        queue: takes the answers, and knows the server's clock.
        message: as it was delivered.
        arrived_s: when it arrived, by the loop's clock.
    """

    __slots__ = ("_queue", "_reply", "data", "deliveries", "left_s", "subject")

    def __init__(self, queue: Queue, message: Msg, arrived_s: float) -> None:
        self.subject: str = message.subject
        self.data: bytes = message.data
        self.deliveries, kept_s = _delivery(message.reply)
        self.left_s = _wait_s(message)
        if kept_s is not None:
            queue.clock.heard(kept_s, arrived_s)
            if self.left_s is not None:
                self.left_s -= max(0.0, (queue.clock.now_s(arrived_s) or kept_s) - kept_s)
        self._queue = queue
        self._reply = message.reply

    async def ack(self) -> None:
        """Done; do not deliver it again."""
        await self._answer(b"+ACK")

    async def in_progress(self) -> None:
        """Start the ack wait anew: the job is still being worked on."""
        await self._answer(b"+WPI")

    async def give_back(self, *, delay_s: float = 0.0) -> None:
        """Deliver it to another worker, at once or after `delay_s`."""
        await self._answer(b'-NAK {"delay": %d}' % (delay_s * _NANO) if delay_s > 0 else b"-NAK")

    async def drop(self) -> None:
        """Never deliver it again, although it was not done."""
        await self._answer(b"+TERM")

    async def _answer(self, word: bytes) -> None:
        with contextlib.suppress(BusError):
            await self._queue.publish(self._reply, word)


def _delivery(ack_subject: str) -> tuple[int, float | None]:
    """The number of deliveries, and when the server took the message in, by its own clock (unix seconds).

    They are in `$JS.ACK.[domain.account.]stream.consumer.<deliveries>.<sequence>.<sequence>.<nanoseconds>.….`.
    """
    parts = ack_subject.split(".")
    index = 4 if len(parts) == 9 else 6
    deliveries, kept = (parts[at] if len(parts) > at and parts[at].isdigit() else "" for at in (index, index + 3))
    return int(deliveries or 1), int(kept) / _NANO if kept else None


def _wait_s(message: Msg) -> float | None:
    """How long the asker could wait when it asked; None: it did not say."""
    text = str((message.headers or {}).get(WAIT_HEADER, ""))
    return int(text) / 1000 if text.isascii() and text.isdigit() and len(text) <= MAX_WAIT_DIGITS else None
