"""Publishes rendered batches (shell: the bus)."""

from __future__ import annotations

import asyncio

from services.contract import subjects
from services.contract.block import Block, stream_hash
from services.contract.timebase import first_tick
from services.runtime.audio_pool import PooledChunk
from services.runtime.bus import Bus, BusError
from services.runtime.clock import Clock
from services.runtime.observability import traces
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog
from services.synthesis.job_lanes import BLOCK_S, Held
from services.synthesis.metrics import SynthesisMetrics
from services.synthesis.render.batch import RenderedBatch
from services.synthesis.settling import Settler

_log = get_logger(__name__)
_rare = RateLimitedLog(_log)


class BlockPublisher:
    """Publishes one batch at a time, while the next one is rendered.

    Args:
        bus: connected.
        settler: told what became of each job.
        revision: of the music.
        metrics: where it counts.
        clock: for latencies.
    """

    def __init__(self, bus: Bus, settler: Settler, *, revision: str, metrics: SynthesisMetrics, clock: Clock) -> None:
        self._bus = bus
        self._settler = settler
        self._revision = revision
        self._metrics = metrics
        self._clock = clock
        self._publishing: asyncio.Task[None] | None = None

    async def start(self, batch: list[Held], rendered: RenderedBatch, chunk: PooledChunk) -> None:
        """Begin to publish a batch, when the one before it has been published.

        A network that is slower than the renderer thus makes the renderer wait.

        Args:
            batch: jobs.
            rendered: their blocks, in the same order.
            chunk: the buffer that the blocks lie in; released when they are published.
        """
        await self.finish()
        self._publishing = asyncio.create_task(self._publish_batch(batch, rendered, chunk), name="publish")

    async def finish(self) -> None:
        """Wait until the batch that is being published, if any, has been."""
        if self._publishing is not None:
            await self._publishing
            self._publishing = None

    async def _publish_batch(self, batch: list[Held], rendered: RenderedBatch, chunk: PooledChunk) -> None:
        try:
            for row, held in enumerate(batch):
                if row in rendered.silenced:
                    self._metrics.silenced.inc()
                    _log.error(
                        "sound is not a number, silenced", stream=held.request.spec.stream_id, block=held.request.block
                    )
                try:
                    await self._publish(held, rendered, row)
                except Exception as error:  # noqa: BLE001 - after any error with one block, the others are published
                    await self._settler.fail(held, error)
        finally:
            chunk.release()

    async def _publish(self, held: Held, rendered: RenderedBatch, row: int) -> None:
        request = held.request
        stream = request.spec.stream_id
        block = Block(
            stream_hash=stream_hash(stream),
            revision=self._revision,
            first_tick=first_tick(request.block),
            pcm=rendered.pcm[row].astype("<i2", copy=False).tobytes(),
            peak=float(rendered.peak[row]),
            rms=float(rendered.rms[row]),
            render_s=rendered.render_s,
            chords=rendered.chords[row],
        )
        began_s = self._clock.now()
        try:
            await self._bus.publish(subjects.audio(stream), block.encode())
        except BusError as error:
            # Not acked: the job comes back when the bus does, to any worker.
            self._metrics.unsent.inc()
            self._settler.lose(held)
            _rare.warning("block not sent", detail=str(error))
            return
        now_s = self._clock.now()
        if traces.active is not None:
            traces.active.add("publish", stream, request.block, began_s, now_s)
        self._metrics.blocks.labels(lane=held.lane).inc()
        self._metrics.latency.observe(max(0.0, now_s - held.fetched_s))
        left_s = held.left_s(now_s)
        if left_s is not None:
            self._metrics.lead.observe(max(0.0, left_s - BLOCK_S))
        await self._settler.ack(held)
