"""How a worker's jobs end (shell: the bus): acked, dropped, given back, or counted against their stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from services.contract import subjects
from services.runtime.bus import Bus, BusError, Job
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog
from services.synthesis.batching import LATE_BACK_S, MAX_DELIVERIES
from services.synthesis.job_lanes import Held, JobLanes
from services.synthesis.metrics import SynthesisMetrics

MAX_FAILURES: Final = 3
"""A stream that failed this often is refused."""
FAILURE_TTL_S: Final = 300.0
"""How long a failure counts."""

_log = get_logger(__name__)
_rare = RateLimitedLog(_log)


class Settler:
    """Settles jobs.

    Args:
        lanes: the jobs in hand.
        bus: connected; also counts failures of streams, for all workers.
        metrics: where it counts.
    """

    def __init__(self, lanes: JobLanes, bus: Bus, metrics: SynthesisMetrics) -> None:
        self._lanes = lanes
        self._bus = bus
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    async def ack(self, held: Held) -> None:
        """The job's block is published."""
        await self._settle(held, held.job.ack)

    async def drop(self, held: Held) -> None:
        """No worker shall have the job again."""
        await self._settle(held, held.job.drop)

    async def give_back(self, held: Held, *, delay_s: float = 0.0) -> None:
        """Another worker, or this one, shall have the job, now or after `delay_s`."""
        await self._settle(held, partial(held.job.give_back, delay_s=delay_s))

    async def refuse_late(self, held: Held) -> None:
        """The edge waits for the job no more: a second worker shall say so too, and then it is dropped."""
        self._metrics.late.inc()
        if held.job.deliveries > 1:
            await self.drop(held)
        else:
            await self.give_back(held, delay_s=LATE_BACK_S)

    def lose(self, held: Held) -> None:
        """Say nothing about the job any more: the bus gives it to another worker after the ack wait."""
        self._lanes.settle(held)

    def drop_soon(self, job: Job) -> None:
        """Drop a message that is not a job, without waiting for the bus."""

        async def drop() -> None:
            with contextlib.suppress(BusError):
                await job.drop()

        task = asyncio.create_task(drop())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def fail(self, held: Held, error: BaseException) -> None:
        """Count a failure against the job's stream; the job is tried again, or dropped if that was one too many."""
        stream = held.request.spec.stream_id
        self._metrics.failures.inc()
        failures = MAX_FAILURES
        with contextlib.suppress(BusError):
            failures = await self._bus.count_failure(subjects.POISON_BUCKET, stream, ttl_s=FAILURE_TTL_S)
        _log.error(
            "rendering failed",
            stream=stream,
            block=held.request.block,
            failures=failures,
            error=f"{type(error).__name__}: {error}"[:500],
        )
        if failures >= MAX_FAILURES or held.job.deliveries > MAX_DELIVERIES:
            await self._refuse(held)
        else:
            await self.give_back(held)

    async def refuse_if_failed(self, held: Held) -> bool:
        """Drop the job if its stream has failed too often, on whatever worker; whether it did."""
        refused = await self._bus.failures(subjects.POISON_BUCKET, held.request.spec.stream_id) >= MAX_FAILURES
        if refused:
            await self._refuse(held)
        return refused

    async def _refuse(self, held: Held) -> None:
        self._metrics.poisoned.inc()
        _rare.warning("stream refused after repeated failures", detail=held.request.spec.stream_id)
        await self.drop(held)

    async def _settle(self, held: Held, how: Callable[[], Awaitable[None]]) -> None:
        self._lanes.settle(held)
        # If the connection is lost, the job comes back, and at worst its block is rendered twice.
        with contextlib.suppress(BusError):
            await how()
