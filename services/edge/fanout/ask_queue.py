"""A bounded queue of asks for blocks (shell), so that no tick waits for the bus."""

from __future__ import annotations

import asyncio
from typing import Final

from services.edge.metrics import EdgeMetrics
from services.edge.stream.demand import Ask
from services.edge.tasks import Tasks
from services.runtime.bus import Bus, BusError, BusFullError
from services.runtime.clock import Clock
from services.runtime.observability import traces
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog

ASKERS: Final = 8
"""Asks that are published concurrently."""
QUEUE_ASKS: Final = 1024
"""Asks that may wait; overflow: the new one is dropped and counted, and comes again a second later."""

_rare_log = RateLimitedLog(get_logger(__name__))


class AskQueue:
    """Publishes asks in the background.

    Args:
        bus: may still be disconnected.
        clock: the service's clock.
        metrics: gets the result of each ask.
    """

    def __init__(self, *, bus: Bus, clock: Clock, metrics: EdgeMetrics) -> None:
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._waiting: asyncio.Queue[tuple[Ask, float]] = asyncio.Queue(QUEUE_ASKS)

    def start(self, tasks: Tasks) -> None:
        """Begin to publish."""
        for number in range(ASKERS):
            tasks.spawn(self._run(), f"asker-{number}")

    def put(self, ask: Ask) -> None:
        """Have `ask` published; drops it if the queue is full."""
        try:
            self._waiting.put_nowait((ask, self._clock.now()))
        except asyncio.QueueFull:
            self._metrics.asks.labels(lane=ask.lane, result="dropped").inc()

    async def _run(self) -> None:
        while True:
            ask, put_s = await self._waiting.get()
            began_s = self._clock.now()
            result = await self._publish(ask, ask.wait_s - (began_s - put_s))
            self._metrics.asks.labels(lane=ask.lane, result=result).inc()
            if traces.active is not None and result == "accepted":
                job = ask.job
                traces.active.add(
                    "ask", job.spec.stream_id, job.block, began_s, self._clock.now(), lane=ask.lane, attempt=job.attempt
                )

    async def _publish(self, ask: Ask, wait_s: float) -> str:
        """Publish an ask that can wait for `wait_s`; returns its result, for the metric."""
        try:
            accepted = await self._bus.ask(ask.subject, ask.job.encode(), message_id=ask.message_id, wait_s=wait_s)
        except BusFullError:
            _rare_log.warning("render queue is full", stream=ask.job.spec.stream_id)
            return "full"
        except BusError as error:
            _rare_log.warning("ask failed", detail=str(error))
            return "error"
        return "accepted" if accepted else "duplicate"
