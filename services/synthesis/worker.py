"""The worker (shell): jobs from the bus, rendered in batches in a thread, blocks back onto the bus.

Two lanes: `now` holds the first blocks of new listeners and of splices, `ahead` the rest. Each lane has one fetch
outstanding. Jobs that it brings while a batch renders wait in `job_lanes` for the next batch. Every job in hand is
reported as in progress, so that no other worker gets it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from services.contract import subjects
from services.contract.errors import ContractError
from services.contract.job import RenderJob
from services.contract.presence import Presence
from services.contract.spec import StreamSpec
from services.contract.subjects import Lane
from services.contract.timebase import BLOCK_BYTES, BLOCKS_PER_SECTION, CHANNELS, CHUNK_FRAMES, CHUNKS_PER_BLOCK
from services.runtime.audio_pool import AudioChunkPool
from services.runtime.bus import Bus, BusError, JobSource
from services.runtime.clock import Clock, unix_s
from services.runtime.observability import traces
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog
from services.synthesis.batching import (
    ACK_WAIT_S,
    FIRST_BATCH,
    IN_PROGRESS_S,
    MAX_BATCH,
    BatchSize,
    Verdict,
    judge,
)
from services.synthesis.job_lanes import Held, JobLanes
from services.synthesis.metrics import MODES, SynthesisMetrics
from services.synthesis.presence import Announcer
from services.synthesis.publisher import BlockPublisher
from services.synthesis.render.batch import RenderedBatch
from services.synthesis.render.revision import SOUND_VERSION, render_revision
from services.synthesis.score.compose import prepare
from services.synthesis.settling import Settler

FETCH_WAIT_S: Final = 5.0
"""How long a fetch waits for jobs before it returns without any."""
_MEASURED_SECOND: Final = 60
"""The speed is measured with music from this second of the present section on: well after its beginning."""

_log = get_logger(__name__)
_rare = RateLimitedLog(_log)


class RendersBlocks(Protocol):
    """What the worker needs of a renderer."""

    device: torch.device

    @property
    def mode(self) -> str:
        """See `Renderer.mode`."""
        ...

    @property
    def eager_reason(self) -> str:
        """See `Renderer.eager_reason`."""
        ...

    def warm_up(self, progress: Callable[[str, float], None] | None = None) -> None:
        """See `Renderer.warm_up`."""
        ...

    def close(self) -> None:
        """See `Renderer.close`."""
        ...

    def render(self, jobs: Sequence[tuple[StreamSpec, int]], out: NDArray[np.int16] | None = None) -> RenderedBatch:
        """See `Renderer.render`."""
        ...


@dataclass(slots=True)
class _Consumer:
    """Where a lane's jobs come from, and the fetch that is outstanding."""

    lane: Lane
    source: JobSource
    fetch: asyncio.Task[None] | None = None


class Worker:
    """Renders what the bus asks for.

    Args:
        bus: connected.
        renderer: cold; `warm_up` warms it up.
        metrics: where it counts.
        clock: for durations; the time that it shows decides nothing.
        instance: its name in the fleet.
        batch_size: blocks of a batch; None follows the measured speed.
        revision: of the music; None is this build's.
        sleep: waits; for tests.

    Attributes:
        revision: of the music that it makes.
        state: "warming", "ready" or "draining".
    """

    def __init__(
        self,
        bus: Bus,
        renderer: RendersBlocks,
        *,
        metrics: SynthesisMetrics,
        clock: Clock,
        instance: str,
        batch_size: int | None = None,
        revision: str | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.revision = revision or render_revision()
        self.state = "warming"
        self._bus = bus
        self._renderer = renderer
        self._metrics = metrics
        self._clock = clock
        self._instance = instance
        self._sleep = sleep
        self._batch_size = BatchSize(batch_size)
        self._lanes = JobLanes()
        self._settler = Settler(self._lanes, bus, metrics)
        self._publisher = BlockPublisher(bus, self._settler, revision=self.revision, metrics=metrics, clock=clock)
        self._announcer = Announcer(bus, self._describe)
        self._consumers: list[_Consumer] = []
        self._stop = asyncio.Event()
        self._finished = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="render")
        # Two buffers: one is rendered into while the other is published.
        self._pool = AudioChunkPool(capacity=2, chunk_bytes=(batch_size or MAX_BATCH) * BLOCK_BYTES)

    @property
    def mode(self) -> str:
        """How the renderer runs: "compiled" or "eager"."""
        return self._renderer.mode

    @property
    def device(self) -> str:
        """Where the renderer runs: "cpu", "cuda" or "mps"."""
        return self._renderer.device.type

    @property
    def capacity_streams(self) -> float:
        """Streams in real time, as measured; 0 before the first measurement."""
        return self._batch_size.capacity_streams

    @property
    def batch_limit(self) -> int:
        """How many blocks the next batch may have."""
        return self._batch_size.limit

    @property
    def jobs_in_hand(self) -> int:
        """Jobs that are fetched and not settled."""
        return len(self._lanes.in_hand)

    async def warm_up(self, progress: Callable[[str, float], None]) -> None:
        """Open or build the kernels, prepare all chords and measure the speed.

        Args:
            progress: told the stage and how much of it is done (0 to 1), also in other threads.
        """
        await self._in_thread(self._renderer.warm_up, progress)
        progress("preparing chords", 1.0)
        await self._in_thread(prepare)
        mode = self._renderer.mode
        for name in MODES:
            self._metrics.mode.labels(mode=name).set(1.0 if name == mode else 0.0)
        if self._renderer.eager_reason:
            _log.warning("rendering without compiled kernels, several times slower", reason=self._renderer.eager_reason)
        await self._in_thread(self._measure)

    def _measure(self) -> None:
        block = int(self._clock.now()) // BLOCKS_PER_SECTION * BLOCKS_PER_SECTION + _MEASURED_SECOND
        specs = [StreamSpec(seed=seed) for seed in range(FIRST_BATCH)]
        # The first call composes and fills the reverb's history; the second one costs what a running stream costs.
        self._renderer.render([(spec, block) for spec in specs])
        rendered = self._renderer.render([(spec, block + 1) for spec in specs])
        self._batch_size.capacity_streams = len(specs) / max(rendered.render_s, 1e-6)
        self._metrics.show_capacity(self.capacity_streams)

    async def run(self) -> None:
        """Take jobs until `drain`.

        Raises:
            BusError: the bus cannot open the lanes, or a fetch failed.
        """
        try:
            async with self._opened():
                if not self._stop.is_set():
                    self.state = "ready"
                    await self._announcer.announce()
                while batch := await self._next_batch():
                    await self._work(batch)
        finally:
            # Even after an error: otherwise a drain would wait for ever, and the process with it.
            self._finished.set()

    async def drain(self) -> None:
        """Finish the batch that is being rendered, give the rest back, and take nothing new; returns after that."""
        if self.state != "draining":
            was_running = self.state == "ready"
            self.state = "draining"
            self._stop.set()
            await self._announcer.announce()
            if not was_running:
                self._finished.set()
        await self._finished.wait()

    def close(self) -> None:
        """Stop the render thread, and a warm-up that is under way."""
        self._renderer.close()
        self._thread.shutdown(wait=False)

    async def presence(self) -> None:
        """Announce this worker to edges, see `Announcer.run`; runs until it is cancelled."""
        await self._announcer.run()

    def _describe(self) -> Presence:
        # Nothing here depends on the time of day, so a jump needs no care.
        self._clock.jump()
        return Presence(
            instance=self._instance,
            revision=self.revision,
            sound_version=SOUND_VERSION,
            state=self.state,
            capacity_streams=self.capacity_streams,
            mode=self._renderer.mode,
            device=self._renderer.device.type,
            clock_s=unix_s(self._clock),
        )

    # --- fetching -----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """The lanes, open; at the end the last batch is published, and waiting jobs are given back."""
        for lane in subjects.LANES:
            source = await self._bus.jobs(
                subjects.render_consumer(self.revision, lane),
                subjects.render_filter(self.revision, lane),
                ack_wait_s=ACK_WAIT_S,
            )
            self._consumers.append(_Consumer(lane, source))
        reporting = asyncio.create_task(self._report_progress(), name="in-progress")
        try:
            yield
        finally:
            await self._publisher.finish()
            for consumer in self._consumers:
                await consumer.source.close()
                if consumer.fetch is not None:
                    # Closing a source ends its fetch; jobs that it still brought are given back below.
                    with contextlib.suppress(asyncio.CancelledError, BusError):
                        await consumer.fetch
            for held in self._lanes.take_waiting():
                self._metrics.returned.inc()
                await self._settler.give_back(held)
            reporting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporting

    async def _next_batch(self) -> list[Held]:
        """Jobs for one batch. Waits while there are none; empty when the worker stops."""
        limit = self.batch_limit
        while not self._stop.is_set():
            for consumer in self._consumers:
                if consumer.fetch is not None and consumer.fetch.done():
                    ended, consumer.fetch = consumer.fetch, None
                    # Raises what the bus raised.
                    ended.result()
            batch = self._lanes.next_batch(limit, self._clock.now())
            for consumer in self._consumers:
                # Fetch while the batch renders.
                capacity = self._lanes.capacity(consumer.lane, limit)
                if consumer.fetch is None and capacity:
                    consumer.fetch = asyncio.create_task(self._fetch(consumer, capacity), name=f"fetch-{consumer.lane}")
            if batch:
                return batch
            stopping = asyncio.create_task(self._stop.wait())
            fetches = [consumer.fetch for consumer in self._consumers if consumer.fetch is not None]
            await asyncio.wait([stopping, *fetches], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        return []

    async def _fetch(self, consumer: _Consumer, jobs: int) -> None:
        # Kept here and not by `_next_batch`, so that they are reported as in progress while a batch renders.
        for job in await consumer.source.fetch(jobs, FETCH_WAIT_S):
            try:
                request = RenderJob.decode(job.data)
            except ContractError as error:
                self._metrics.malformed.inc()
                _rare.warning("job cannot be read", detail=str(error))
                self._settler.drop_soon(job)
                continue
            self._lanes.keep(job, consumer.lane, request, self._clock.now())

    async def _report_progress(self) -> None:
        while True:
            await self._sleep(IN_PROGRESS_S)
            for held in self._lanes.in_hand:
                try:
                    await held.job.in_progress()
                except BusError:
                    break
                except Exception as error:  # noqa: BLE001 - without this task other workers would get all jobs too
                    _rare.warning("progress not reported", detail=f"{type(error).__name__}: {error}")

    # --- rendering ----------------------------------------------------------------------------------------------

    async def _work(self, batch: list[Held]) -> None:
        """Render what is wanted of a batch; a batch that fails is split until the job at fault is alone."""
        wanted = [held for held in batch if await self._is_wanted(held)]
        if not wanted:
            return
        try:
            await self._render(wanted)
        except torch.OutOfMemoryError as caught:
            self._metrics.out_of_memory.inc()
            blocks = self._batch_size.out_of_memory(len(wanted), self._clock.now())
            _log.warning("out of device memory, batch halved", blocks=blocks, error=str(caught)[:200])
            # The traceback refers to memory that the batch has taken and the halves need.
            error: Exception = caught.with_traceback(None)
            parts = [wanted[: len(wanted) // 2], wanted[len(wanted) // 2 :]]
        except Exception as caught:  # noqa: BLE001 - a stream that fails must not fail its neighbours
            error = caught
            parts = [[held] for held in wanted]
        else:
            self._batch_size.retry_memory(self._clock.now())
            return
        if len(wanted) == 1:
            await self._settler.fail(wanted[0], error)
            return
        for part in parts:
            await self._work(part)

    async def _is_wanted(self, held: Held) -> bool:
        """Whether a job is worth rendering; settles it if it is not."""
        verdict = judge(held.job.deliveries, held.left_s(self._clock.now()))
        if verdict is Verdict.LATE:
            await self._settler.refuse_late(held)
            return False
        if held.job.deliveries == 1:
            return True
        self._metrics.redelivered.inc()
        if verdict is Verdict.EXHAUSTED:
            await self._settler.fail(held, RuntimeError(f"delivered {held.job.deliveries} times without an end"))
            return False
        return not await self._settler.refuse_if_failed(held)

    async def _render(self, batch: list[Held]) -> None:
        """Render a batch, and begin to publish it; the next one renders meanwhile."""
        jobs = [(held.request.spec, held.request.block) for held in batch]
        chunk = self._pool.acquire()
        try:
            out = np.frombuffer(chunk.view, dtype=np.int16).reshape(-1, CHUNKS_PER_BLOCK, CHUNK_FRAMES, CHANNELS)
            began_s = self._clock.now()
            rendered = await self._in_thread(self._renderer.render, jobs, out)
        except BaseException:
            chunk.release()
            raise
        if traces.active is not None:
            ended_s = self._clock.now()
            for held in batch:
                stream, number = held.request.spec.stream_id, held.request.block
                traces.active.add("fetch", stream, number, held.fetched_s, began_s, lane=held.lane)
                traces.active.add("render", stream, number, began_s, ended_s, batch=len(batch))
        self._count(len(batch), rendered)
        await self._publisher.start(batch, rendered, chunk)

    def _count(self, blocks: int, rendered: RenderedBatch) -> None:
        self._metrics.batch_seconds.observe(rendered.render_s)
        self._metrics.batch_blocks.observe(blocks)
        self._metrics.history_seconds.inc(rendered.history)
        if self._batch_size.rendered(blocks, rendered.render_s):
            self._metrics.show_capacity(self.capacity_streams)
        self._metrics.batch_limit.set(self.batch_limit)
        if self._renderer.device.type == "cuda":
            self._metrics.gpu_memory_mb.set(torch.cuda.memory_allocated(self._renderer.device) / 2**20)
        elif self._renderer.device.type == "mps":
            self._metrics.gpu_memory_mb.set(torch.mps.current_allocated_memory() / 2**20)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
