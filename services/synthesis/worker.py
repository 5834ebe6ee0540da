"""The worker (shell): jobs from the bus, rendered in batches in a thread, blocks back onto the bus.

Two lanes: `now` holds the first blocks of a new listener or a splice, `ahead` the rest. Each lane has one fetch
outstanding; what it brings while a batch renders waits here, held, for the next batch. Every job in hand is reported
as in progress, so that nobody else gets it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from services.contract import subjects
from services.contract.block import Block, stream_hash
from services.contract.errors import ContractError
from services.contract.job import RenderJob
from services.contract.presence import INTERVAL_S, Presence
from services.contract.spec import StreamSpec
from services.contract.subjects import Lane
from services.contract.timebase import (
    BLOCK_BYTES,
    CHANNELS,
    CHUNK_FRAMES,
    CHUNKS_PER_BLOCK,
    due_s,
    first_tick,
)
from services.runtime.audio_pool import AudioChunkPool, PooledChunk
from services.runtime.bus import Bus, BusError, Job, JobSource, Subscription
from services.runtime.clock import Clock
from services.runtime.observability import traces
from services.runtime.observability.logging import RepeatLimiter, get_logger
from services.synthesis.batching import (
    ACK_WAIT_S,
    FIRST_BATCH,
    IN_PROGRESS_S,
    MAX_BATCH,
    MAX_DELIVERIES,
    Verdict,
    batch_limit,
    choose,
    follow_speed,
    judge,
    presses,
)
from services.synthesis.metrics import MODES, SynthesisMetrics
from services.synthesis.render.renderer import RenderedBatch
from services.synthesis.render.revision import SOUND_VERSION, render_revision
from services.synthesis.score.compose import prepare

_log = get_logger(__name__)

FETCH_WAIT_S: Final = 5.0
MAX_FAILURES: Final = 3
FAILURE_TTL_S: Final = 300.0
MEMORY_RETRY_S: Final = 60.0
"""So long after a batch did not fit into the device's memory, the next may be twice as large again."""
MEASURE_BLOCKS: Final = 4
"""Batches from this size on say how fast the worker is: in smaller ones fixed costs hide it."""


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


@dataclass(eq=False, slots=True)
class _Held:
    """A job in hand."""

    job: Job
    lane: Lane
    request: RenderJob
    fetched_s: float


@dataclass(slots=True)
class _LaneState:
    """One lane: its consumer, the fetch outstanding, and what it brought."""

    name: Lane
    source: JobSource
    fetch: asyncio.Task[None] | None = None
    held: deque[_Held] = field(default_factory=deque)


class Worker:
    """Renders what the bus asks for.

    Args:
        bus: connected.
        renderer: cold; `run` warms it up.
        metrics: where it counts.
        clock: for what is due when.
        instance: its name in the fleet.
        batch_size: blocks of a batch; None follows the measured speed.
        revision: of the music; None is this build's.
        sleep: waits; for tests.
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
        self.capacity_streams = 0.0
        self._bus = bus
        self._renderer = renderer
        self._metrics = metrics
        self._clock = clock
        self._instance = instance
        self._sleep = sleep
        self._fixed_batch = None if batch_size is None else max(1, min(batch_size, MAX_BATCH))
        self._memory_limit = MAX_BATCH
        self._fitted_s = 0.0
        self._lanes: list[_LaneState] = []
        self._in_hand: set[_Held] = set()
        self._stop = asyncio.Event()
        self._finished = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="render")
        self._pool = AudioChunkPool(capacity=2, chunk_bytes=(batch_size or MAX_BATCH) * BLOCK_BYTES)
        self._limiter = RepeatLimiter(10.0)
        self._publishing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def mode(self) -> str:
        """How the renderer runs: "compiled" or "eager"."""
        return self._renderer.mode

    @property
    def device(self) -> str:
        """Where the renderer runs: "cpu", "cuda" or "mps"."""
        return self._renderer.device.type

    @property
    def batch_limit(self) -> int:
        """How many blocks the next batch may have."""
        return batch_limit(self.capacity_streams, fixed=self._fixed_batch, memory_limit=self._memory_limit)

    async def warm_up(self, progress: Callable[[str, float], None]) -> None:
        """Open or build the kernels, prepare all chords and measure the speed; `progress` may be called in a thread."""
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
        block = int(self._clock.now()) // 240 * 240 + 60
        specs = [StreamSpec(seed=seed) for seed in range(FIRST_BATCH)]
        # The first call composes and fills the reverb's history; the second is what a running stream costs.
        self._renderer.render([(spec, block) for spec in specs])
        rendered = self._renderer.render([(spec, block + 1) for spec in specs])
        self.capacity_streams = len(specs) / max(rendered.render_s, 1e-6)
        self._metrics.capacity.set(self.capacity_streams)
        self._metrics.realtime_factor.set(self.capacity_streams)

    async def run(self) -> None:
        """Take jobs until `drain`; raises what the bus raises at its opening."""
        try:
            async with self._opened():
                if not self._stop.is_set():
                    self.state = "ready"
                    await self.announce()
                while batch := await self._next_batch():
                    await self._work(batch)
        finally:
            # Also where it failed: a drain would wait for ever, and the process with it.
            self._finished.set()

    async def drain(self) -> None:
        """Finish the batch in work, give the rest back, take nothing new; returns when that is done."""
        if self.state != "draining":
            was_running = self.state == "ready"
            self.state = "draining"
            self._stop.set()
            await self.announce()
            if not was_running:
                self._finished.set()
        await self._finished.wait()

    def close(self) -> None:
        """Let the render thread go, and give up a warm-up that is under way."""
        self._renderer.close()
        self._thread.shutdown(wait=False)

    # --- presence -----------------------------------------------------------------------------------------------

    async def presence(self) -> None:
        """Say once a second, and whenever an edge calls the roll, what this worker can do; runs until cancelled."""
        called = asyncio.Event()
        roll_call: Subscription = await self._bus.subscribe(subjects.ROLL_CALL, lambda _message: called.set())
        try:
            while True:
                await self.announce()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INTERVAL_S):
                        await called.wait()
                called.clear()
        finally:
            await roll_call.close()

    async def announce(self) -> None:
        """Say now what this worker can do."""
        presence = Presence(
            instance=self._instance,
            revision=self.revision,
            sound_version=SOUND_VERSION,
            state=self.state,
            capacity_streams=self.capacity_streams,
            mode=self._renderer.mode,
            device=self._renderer.device.type,
        )
        # Whoever listens when the bus is back hears the next one.
        with contextlib.suppress(BusError):
            await self._bus.publish(subjects.PRESENCE, presence.encode())

    # --- fetching -----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        for lane in subjects.LANES:
            source = await self._bus.jobs(
                subjects.render_consumer(self.revision, lane),
                subjects.render_filter(self.revision, lane),
                ack_wait_s=ACK_WAIT_S,
            )
            self._lanes.append(_LaneState(lane, source))
        heart = asyncio.create_task(self._report_progress(), name="in-progress")
        try:
            yield
        finally:
            await self._published()
            for lane_state in self._lanes:
                await lane_state.source.close()
                if lane_state.fetch is not None:
                    # A closed source ends its fetch; what it still brought is given back below.
                    with contextlib.suppress(asyncio.CancelledError, BusError):
                        await lane_state.fetch
                for held in lane_state.held:
                    self._metrics.returned.inc()
                    await self._settle(held, held.job.give_back)
                lane_state.held.clear()
            heart.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heart

    async def _next_batch(self) -> list[_Held]:
        """Jobs for one batch: those that press, then `now`. Waits while there are none; empty when the worker stops."""
        limit = self.batch_limit
        while not self._stop.is_set():
            for lane in self._lanes:
                if lane.fetch is not None and lane.fetch.done():
                    ended, lane.fetch = lane.fetch, None
                    # Raises what the bus raised, where it did.
                    ended.result()
            batch = choose([lane.held for lane in self._lanes], limit, pressing=self._presses)
            for lane in self._lanes:
                # Fetch while the batch renders; but take no more than one batch, others may be idle.
                if lane.fetch is None and len(lane.held) < limit:
                    lane.fetch = asyncio.create_task(
                        self._fetch(lane, limit - len(lane.held)), name=f"fetch-{lane.name}"
                    )
            if batch:
                return batch
            stopping = asyncio.create_task(self._stop.wait())
            fetches = [lane.fetch for lane in self._lanes if lane.fetch is not None]
            await asyncio.wait([stopping, *fetches], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        return []

    def _presses(self, held: _Held) -> bool:
        return presses(held.request.block, self._clock.now())

    async def _fetch(self, lane: _LaneState, jobs: int) -> None:
        # Kept at once, so that they are reported as in progress while a batch renders.
        self._keep(lane, await lane.source.fetch(jobs, FETCH_WAIT_S))

    def _keep(self, lane: _LaneState, jobs: Iterable[Job]) -> None:
        now = self._clock.now()
        for job in jobs:
            try:
                request = RenderJob.decode(job.data)
            except ContractError as error:
                self._metrics.malformed.inc()
                self._complain("job cannot be read", str(error))
                self._later(job.drop())
                continue
            held = _Held(job, lane.name, request, now)
            self._in_hand.add(held)
            lane.held.append(held)

    async def _report_progress(self) -> None:
        while True:
            await self._sleep(IN_PROGRESS_S)
            for held in list(self._in_hand):
                try:
                    await held.job.in_progress()
                except BusError:
                    break
                except Exception as error:  # noqa: BLE001 - without this task all jobs in hand would go to others too
                    self._complain("progress not reported", f"{type(error).__name__}: {error}")

    # --- rendering ----------------------------------------------------------------------------------------------

    async def _work(self, batch: list[_Held]) -> None:
        wanted = [held for held in batch if await self._is_wanted(held)]
        if not wanted:
            return
        try:
            await self._render(wanted)
        except torch.OutOfMemoryError as caught:
            self._metrics.out_of_memory.inc()
            self._memory_limit = max(1, len(wanted) // 2)
            self._fitted_s = self._clock.now()
            _log.warning("out of device memory, batch halved", blocks=self._memory_limit, error=str(caught)[:200])
            # Its traceback holds what the batch had already taken of the memory that the halves need.
            error: Exception = caught.with_traceback(None)
            parts = [wanted[: len(wanted) // 2], wanted[len(wanted) // 2 :]]
        except Exception as caught:  # noqa: BLE001 - whatever a stream breaks must not break its neighbours
            error = caught
            # One of them is at fault; alone, the others come through.
            parts = [[held] for held in wanted]
        else:
            self._give_memory_back()
            return
        if len(wanted) == 1:
            await self._failed(wanted[0], error)
            return
        for part in parts:
            await self._work(part)

    def _give_memory_back(self) -> None:
        """Let batches grow again some time after one did not fit: what filled the memory may be gone."""
        if self._memory_limit < MAX_BATCH and self._clock.now() - self._fitted_s >= MEMORY_RETRY_S:
            self._memory_limit = min(MAX_BATCH, 2 * self._memory_limit)
            self._fitted_s = self._clock.now()

    async def _is_wanted(self, held: _Held) -> bool:
        """Whether it is worth rendering; settles it when it is not."""
        request, stream = held.request, held.request.spec.stream_id
        verdict = judge(request.block, held.job.deliveries, self._clock.now())
        if verdict is Verdict.LATE:
            self._metrics.late.inc()
            await self._settle(held, held.job.drop)
            return False
        if held.job.deliveries == 1:
            return True
        self._metrics.redelivered.inc()
        if verdict is Verdict.EXHAUSTED:
            await self._failed(held, RuntimeError(f"delivered {held.job.deliveries} times without an end"))
            return False
        if await self._bus.failures(subjects.POISON_BUCKET, stream) >= MAX_FAILURES:
            await self._poisoned(held)
            return False
        return True

    async def _render(self, batch: list[_Held]) -> None:
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
        self._measured(len(batch), rendered)
        # One batch at a time: where the network is slower than the renderer, the renderer waits.
        await self._published()
        self._publishing = asyncio.create_task(self._publish_batch(batch, rendered, chunk), name="publish")

    async def _published(self) -> None:
        """Wait until the batch that is being published has been."""
        if self._publishing is not None:
            await self._publishing
            self._publishing = None

    async def _publish_batch(self, batch: list[_Held], rendered: RenderedBatch, chunk: PooledChunk) -> None:
        try:
            for row, held in enumerate(batch):
                if row in rendered.silenced:
                    self._metrics.silenced.inc()
                    _log.error(
                        "sound is no number, silenced", stream=held.request.spec.stream_id, block=held.request.block
                    )
                try:
                    await self._publish(held, rendered, row)
                except Exception as error:  # noqa: BLE001 - whatever is wrong with one block, the others are sent
                    await self._failed(held, error)
        finally:
            chunk.release()

    async def _publish(self, held: _Held, rendered: RenderedBatch, row: int) -> None:
        request = held.request
        stream = request.spec.stream_id
        block = Block(
            stream_hash=stream_hash(stream),
            revision=self.revision,
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
            # Not acked: it comes back when the bus does, to whoever is there.
            self._metrics.unsent.inc()
            self._in_hand.discard(held)
            self._complain("block not sent", str(error))
            return
        now = self._clock.now()
        if traces.active is not None:
            traces.active.add("publish", stream, request.block, began_s, now)
        self._metrics.blocks.labels(lane=held.lane).inc()
        self._metrics.latency.observe(max(0.0, now - held.fetched_s))
        self._metrics.lead.observe(max(0.0, due_s(first_tick(request.block)) - now))
        await self._settle(held, held.job.ack)

    async def _failed(self, held: _Held, error: BaseException) -> None:
        """Count a failure of the stream and let it be tried again, at most MAX_FAILURES times in all."""
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
            await self._poisoned(held)
        else:
            await self._settle(held, held.job.give_back)

    async def _poisoned(self, held: _Held) -> None:
        self._metrics.poisoned.inc()
        self._complain("stream refused after repeated failures", held.request.spec.stream_id)
        await self._settle(held, held.job.drop)

    async def _settle(self, held: _Held, how: Callable[[], Awaitable[None]]) -> None:
        self._in_hand.discard(held)
        # Lost with the connection: the job comes back, and its block is rendered twice at worst.
        with contextlib.suppress(BusError):
            await how()

    def _measured(self, blocks: int, rendered: RenderedBatch) -> None:
        self._metrics.batch_seconds.observe(rendered.render_s)
        self._metrics.batch_blocks.observe(blocks)
        self._metrics.history_seconds.inc(rendered.history)
        if blocks >= min(MEASURE_BLOCKS, self._fixed_batch or MEASURE_BLOCKS):
            self.capacity_streams = follow_speed(self.capacity_streams, blocks, rendered.render_s)
            self._metrics.capacity.set(self.capacity_streams)
            self._metrics.realtime_factor.set(self.capacity_streams)
        self._metrics.batch_limit.set(self.batch_limit)
        if self._renderer.device.type == "cuda":
            self._metrics.gpu_memory_mb.set(torch.cuda.memory_allocated(self._renderer.device) / 2**20)
        elif self._renderer.device.type == "mps":
            self._metrics.gpu_memory_mb.set(torch.mps.current_allocated_memory() / 2**20)

    def _complain(self, event: str, detail: str) -> None:
        held_back = self._limiter.admit(event)
        if held_back is not None:
            _log.warning(event, detail=detail, repeats=held_back)

    def _later(self, call: Awaitable[None]) -> None:
        async def settle() -> None:
            with contextlib.suppress(BusError):
                await call

        task = asyncio.create_task(settle())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
