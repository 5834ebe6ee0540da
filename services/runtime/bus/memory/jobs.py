"""Jobs of the bus in memory, and the fetch that waits for them (shell: asyncio)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from services.runtime.bus.memory.render_queue import Consumer, TakenAsk


class MemoryJob:
    """See `services.runtime.bus.port.Job`."""

    def __init__(self, taken: TakenAsk, monotonic: Callable[[], float]) -> None:
        self.subject = taken.subject
        self.data = taken.data
        self.deliveries = taken.deliveries
        self.left_s = taken.left_s
        self._taken = taken
        self._monotonic = monotonic

    async def ack(self) -> None:
        """Done; do not deliver it again."""
        self._taken.finish()

    async def in_progress(self) -> None:
        """Start the ack wait anew: the job is still being worked on."""
        self._taken.extend(self._monotonic())

    async def give_back(self, *, delay_s: float = 0.0) -> None:
        """Deliver it to another worker, at once or after `delay_s`."""
        self._taken.give_back(self._monotonic(), delay_s)

    async def drop(self) -> None:
        """Never deliver it again, although it was not done."""
        self._taken.finish()


class MemoryJobSource:
    """See `services.runtime.bus.port.JobSource`.

    Args:
        consumer: where jobs wait.
        take: up to a number of jobs of the consumer, without waiting.
        monotonic: the broker's seconds.
    """

    def __init__(
        self, consumer: Consumer, take: Callable[[Consumer, int], list[MemoryJob]], monotonic: Callable[[], float]
    ) -> None:
        self._consumer = consumer
        self._take = take
        self._monotonic = monotonic
        self._closed = False

    async def fetch(self, max_jobs: int, wait_s: float) -> Sequence[MemoryJob]:
        """Up to `max_jobs` jobs; waits up to `wait_s` for the first."""
        deadline_s = asyncio.get_running_loop().time() + wait_s
        ready = asyncio.Event()
        self._consumer.on_ready[ready.set] = None
        try:
            while not self._closed:
                ready.clear()
                jobs = self._take(self._consumer, max_jobs)
                left_s = deadline_s - asyncio.get_running_loop().time()
                if jobs or left_s <= 0:
                    return jobs
                redelivery_s = min(self._consumer.unacked.values(), default=float("inf")) - self._monotonic()
                await _wait(ready, min(left_s, max(0.001, redelivery_s)))
            return ()
        finally:
            del self._consumer.on_ready[ready.set]

    async def close(self) -> None:
        """Stop fetching; idempotent."""
        self._closed = True
        self._consumer.wake()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return
