from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.contract import subjects
from services.contract.block import Block, Chord, stream_hash
from services.contract.job import RenderJob
from services.contract.presence import Presence
from services.contract.spec import MODES, PRESETS, StreamSpec
from services.contract.subjects import Lane
from services.runtime.bus import Bus, BusError, JobSource
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.bus.memory.jobs import MemoryJob
from services.runtime.metrics import PrometheusMetrics
from services.synthesis.batching import FIRST_BATCH, MAX_BATCH, MEMORY_RETRY_S
from services.synthesis.metrics import SynthesisMetrics
from services.synthesis.render.batch import RenderedBatch
from services.synthesis.score.harmony import voicings
from services.synthesis.settling import MAX_FAILURES
from services.synthesis.worker import Worker
from tests.support.metrics import sample_value
from tests.support.waiting import until

REVISION = "s1-test"
NOW_S = 1_700_000_000.0
BLOCK = int(NOW_S) + 5
SPECS = [StreamSpec(seed=seed) for seed in range(100)]


@dataclass
class FakeRenderer:
    """Writes what it was asked for into the samples; fails, stalls and runs out of memory on demand."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    mode: str = "eager"
    eager_reason: str = ""
    seconds_per_block: float = 0.001
    broken: set[int] = field(default_factory=set)
    memory_blocks: int = 10_000
    silent: set[int] = field(default_factory=set)
    batches: list[list[tuple[int, int]]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def warm_up(self, progress: Callable[[str, float], None] | None = None) -> None:
        if progress:
            progress("opening kernels", 0.5)

    def close(self) -> None:
        self.gate.set()

    def render(self, jobs: Sequence[tuple[StreamSpec, int]], out: NDArray[np.int16] | None = None) -> RenderedBatch:
        self.entered.set()
        assert self.gate.wait(10)
        self.batches.append([(spec.seed, block) for spec, block in jobs])
        if len(jobs) > self.memory_blocks:
            raise torch.OutOfMemoryError("the device is full")
        if any(spec.seed in self.broken for spec, _ in jobs):
            raise ValueError("this stream cannot be rendered")
        pcm = np.empty((len(jobs), 10, 4_410, 2), np.int16) if out is None else out[: len(jobs)]
        for row, (spec, block) in enumerate(jobs):
            pcm[row] = (spec.seed + block) % 1_000
        count = len(jobs)
        return RenderedBatch(
            pcm=pcm,
            peak=np.full(count, 0.5, np.float32),
            rms=np.full(count, 0.1, np.float32),
            chords=((Chord(0, "Am9"),),) * count,
            silenced=tuple(row for row, (spec, _) in enumerate(jobs) if spec.seed in self.silent),
            render_s=self.seconds_per_block * count,
            partials=0,
            history=0,
        )


class ManualClock:
    def __init__(self) -> None:
        self.now_s = NOW_S
        self.shift_s = 0.0

    def now(self) -> float:
        return self.now_s

    def jump(self) -> float:
        return 0.0


@dataclass
class World:
    """A broker, an edge's bus, and a worker on a bus of its own."""

    broker: MemoryBroker
    edge: MemoryBus
    worker: Worker
    renderer: FakeRenderer
    metrics: SynthesisMetrics
    clock: ManualClock
    blocks: list[Block]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def ask(
        self,
        spec: StreamSpec,
        block: int = BLOCK,
        lane: Lane = "ahead",
        attempt: int = 0,
        wait_s: float | None = None,
    ) -> None:
        job = RenderJob(spec, block, attempt)
        message_id = subjects.ask_id(lane, spec.stream_id, block, attempt)
        subject = subjects.render(REVISION, lane, spec.stream_id, block)
        await self.edge.ask(subject, job.encode(), message_id=message_id, wait_s=wait_s)

    def start(self) -> None:
        self.tasks.append(asyncio.create_task(self.worker.run()))

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition, 8.0, every_s=0.002)

    async def settled(self, blocks: int) -> None:
        """Wait until `blocks` blocks have arrived and every job is settled."""
        await self.until(lambda: len(self.blocks) >= blocks and not self.worker.jobs_in_hand and not self.broker.queue)

    def count(self, name: str, **labels: str) -> float:
        return sample_value(getattr(self.metrics, name), **labels)

    @property
    def sent(self) -> list[tuple[bytes, int]]:
        return [(block.stream_hash, block.first_tick // 10) for block in self.blocks]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with _world() as world:
        yield world


@asynccontextmanager
async def _world(batch_size: int | None = None, bus_class: type[MemoryBus] = MemoryBus) -> AsyncIterator[World]:
    broker = MemoryBroker()
    edge, bus = MemoryBus(broker), bus_class(broker)
    await edge.connect()
    await bus.connect()
    blocks: list[Block] = []
    renderer, clock = FakeRenderer(), ManualClock()
    metrics = SynthesisMetrics(PrometheusMetrics())
    worker = Worker(
        bus, renderer, metrics=metrics, clock=clock, instance="worker-1", batch_size=batch_size, revision=REVISION
    )
    await edge.subscribe(subjects.AUDIO_SUBJECTS, lambda message: blocks.append(Block.decode(message.data)))
    world = World(broker, edge, worker, renderer, metrics, clock, blocks)
    try:
        yield world
    finally:
        renderer.gate.set()
        await worker.drain()
        for task in world.tasks:
            if not task.done():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        worker.close()
        await bus.close()
        await edge.close()


async def test_a_job_becomes_a_block_on_its_streams_subject(world: World) -> None:
    world.start()
    await world.ask(SPECS[3])
    await world.settled(1)
    block = world.blocks[0]
    assert block.revision == REVISION
    assert block.stream_hash == stream_hash(SPECS[3].stream_id)
    assert block.first_tick == BLOCK * 10
    assert np.frombuffer(block.pcm, "<i2").tolist() == [(3 + BLOCK) % 1_000] * 88_200
    assert block.chords == (Chord(0, "Am9"),)
    assert block.peak == 0.5
    assert world.count("blocks", lane="ahead") == 1
    assert await world.edge.history(subjects.audio(SPECS[3].stream_id))


async def test_jobs_that_wait_are_rendered_together_and_the_urgent_ones_first(world: World) -> None:
    for seed in range(6):
        await world.ask(SPECS[seed])
    for seed in (50, 51):
        await world.ask(SPECS[seed], lane="now")
    world.start()
    await world.settled(8)
    order = [seed for batch in world.renderer.batches for seed, _ in batch]
    assert len(world.renderer.batches) <= 2
    assert order.index(50) < order.index(0)
    assert order.index(51) < order.index(0)
    assert sorted(order) == [0, 1, 2, 3, 4, 5, 50, 51]


async def test_a_fixed_batch_size_is_never_passed() -> None:
    async with _world(batch_size=3) as world:
        for seed in range(10):
            await world.ask(SPECS[seed])
        world.start()
        await world.settled(10)
        assert max(len(batch) for batch in world.renderer.batches) == 3


async def test_the_batch_follows_the_measured_speed(world: World) -> None:
    assert world.worker.batch_limit == FIRST_BATCH
    for milliseconds, low, high in ((1.0, 100, MAX_BATCH), (50.0, 1, 8), (1_000.0, 1, 1)):
        world.renderer.seconds_per_block = milliseconds / 1_000
        await world.worker.warm_up(lambda _stage, _fraction: None)
        assert low <= world.worker.batch_limit <= high
        assert world.worker.capacity_streams == pytest.approx(1_000 / milliseconds)


async def test_fetching_and_progress_go_on_while_a_batch_renders(world: World) -> None:
    world.renderer.gate.clear()
    world.start()
    await world.ask(SPECS[0])
    await asyncio.to_thread(world.renderer.entered.wait, 5)
    await world.ask(SPECS[1])
    # A real pause, longer than the ack wait: without progress reports the bus would redeliver the job.
    await asyncio.sleep(1.3)
    world.renderer.gate.set()
    await world.settled(2)
    assert world.count("redelivered") == 0
    assert [len(batch) for batch in world.renderer.batches] == [1, 1]


async def test_progress_goes_on_being_reported_after_a_surprise(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    in_progress = MemoryJob.in_progress

    async def fail_once(job: MemoryJob) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("an error of no expected kind")
        await in_progress(job)

    monkeypatch.setattr(MemoryJob, "in_progress", fail_once)
    world.renderer.gate.clear()
    world.start()
    await world.ask(SPECS[0])
    await asyncio.to_thread(world.renderer.entered.wait, 5)
    # A real pause, longer than the ack wait: without later reports the bus would redeliver the job.
    await asyncio.sleep(1.3)
    world.renderer.gate.set()
    await world.settled(1)
    assert calls >= 3
    assert world.count("redelivered") == 0


class _FullBus(MemoryBus):
    """Takes no block until its network has capacity."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.capacity = asyncio.Event()

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        if subject.startswith("auralis.audio."):
            await self.capacity.wait()
        await super().publish(subject, data, reply)


async def test_the_next_batch_renders_while_one_is_published_and_no_more_than_that() -> None:
    async with _world(batch_size=2, bus_class=_FullBus) as world:
        bus = world.worker._bus
        assert isinstance(bus, _FullBus)
        for seed in range(8):
            await world.ask(SPECS[seed])
        world.start()
        await world.until(lambda: len(world.renderer.batches) == 2)
        # A real pause, in which a third batch would be rendered if it could be.
        await asyncio.sleep(0.05)
        assert world.blocks == []
        # Rendered batches wait in two buffers: a network that is too slow costs no memory.
        assert len(world.renderer.batches) == 2
        bus.capacity.set()
        await world.settled(8)
        seconds = {np.frombuffer(block.pcm, "<i2")[0] for block in world.blocks}
        assert seconds == {(seed + BLOCK) % 1_000 for seed in range(8)}, "a buffer was used again too soon"


class _FaultyBus(MemoryBus):
    """Raises an unexpected error at one block."""

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        if subject == subjects.audio(SPECS[2].stream_id):
            raise ValueError("no such thing")
        await super().publish(subject, data, reply)


async def test_a_block_that_cannot_be_published_costs_its_neighbours_nothing() -> None:
    async with _world(bus_class=_FaultyBus) as world:
        for seed in range(5):
            await world.ask(SPECS[seed])
        world.start()
        await world.settled(4)
        assert {hash_ for hash_, _ in world.sent} == {stream_hash(SPECS[seed].stream_id) for seed in (0, 1, 3, 4)}
        assert len(world.sent) == 4
        assert world.count("failures") == MAX_FAILURES


async def test_a_job_whose_edge_waits_no_more_goes_back_once_and_is_then_dropped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.synthesis.settling.LATE_BACK_S", 0.02)
    await world.ask(SPECS[0], wait_s=0.0)
    await world.ask(SPECS[1], wait_s=5.0)
    world.start()
    await world.settled(1)
    assert world.count("late") == 2
    assert world.count("failures") == 0
    assert world.sent == [(stream_hash(SPECS[1].stream_id), BLOCK)]


async def test_a_job_that_one_worker_finds_late_is_left_to_another(world: World) -> None:
    await world.ask(SPECS[0], wait_s=0.0)
    world.start()
    await world.until(lambda: world.count("late") == 1)
    await world.worker.drain()
    other = MemoryBus(world.broker)
    await other.connect()
    source = await other.jobs(subjects.render_consumer(REVISION, "ahead"), subjects.render_filter(REVISION, "ahead"))
    (job,) = await source.fetch(1, 3.0)
    assert job.deliveries == 2


@pytest.mark.parametrize("fast_s", [-3600.0, -120.0, -7.0, -1.0, 1.0, 5.0, 7.0, 120.0, 3600.0])
@pytest.mark.parametrize("wait_s", [None, 6.0], ids=["an earlier edge", "this edge"])
async def test_a_worker_whose_clock_is_wrong_renders_what_it_is_asked_for(
    world: World, fast_s: float, wait_s: float | None
) -> None:
    world.clock.now_s += fast_s
    await world.ask(SPECS[0], wait_s=wait_s)
    world.start()
    await world.settled(1)
    assert world.count("late") == 0
    assert world.sent == [(stream_hash(SPECS[0].stream_id), BLOCK)]


async def test_the_lead_is_counted_by_what_the_edge_says(world: World) -> None:
    world.clock.now_s += 3600.0
    await world.ask(SPECS[0], wait_s=4.0)
    world.start()
    await world.settled(1)
    samples = {sample.name: sample.value for family in world.metrics.lead.collect() for sample in family.samples}
    assert samples["auralis_render_lead_seconds_sum"] == pytest.approx(3.0, abs=0.5)


async def test_a_job_that_came_back_is_rendered_alone(world: World) -> None:
    other = MemoryBus(world.broker)
    await other.connect()
    source = await other.jobs(
        subjects.render_consumer(REVISION, "ahead"), subjects.render_filter(REVISION, "ahead"), ack_wait_s=0.05
    )
    await world.ask(SPECS[7])
    assert len(await source.fetch(1, 1.0)) == 1
    # The first worker has died with it; a real pause, longer than its ack wait.
    await other.close()
    await asyncio.sleep(0.06)
    for seed in (1, 2):
        await world.ask(SPECS[seed])
    world.start()
    await world.settled(3)
    assert [(7, BLOCK)] in world.renderer.batches
    assert world.count("redelivered") == 1


async def test_a_stream_that_breaks_the_batch_costs_its_neighbours_nothing(world: World) -> None:
    world.renderer.broken = {4}
    for seed in range(6):
        await world.ask(SPECS[seed])
    world.start()
    await world.settled(5)
    assert {hash_ for hash_, _ in world.sent} == {stream_hash(SPECS[seed].stream_id) for seed in (0, 1, 2, 3, 5)}
    assert world.count("failures") == MAX_FAILURES
    assert world.count("poisoned") == 1
    assert await world.edge.failures(subjects.POISON_BUCKET, SPECS[4].stream_id) == MAX_FAILURES
    assert await world.edge.failures(subjects.POISON_BUCKET, SPECS[3].stream_id) == 0


async def test_a_job_that_kills_workers_is_given_up(world: World) -> None:
    other = MemoryBus(world.broker)
    await other.connect()
    source = await other.jobs(
        subjects.render_consumer(REVISION, "ahead"), subjects.render_filter(REVISION, "ahead"), ack_wait_s=0.02
    )
    await world.ask(SPECS[9])
    for _ in range(4):
        assert len(await source.fetch(1, 1.0)) == 1
        # A real pause, longer than the ack wait.
        await asyncio.sleep(0.03)
    await other.close()
    world.start()
    await world.until(lambda: world.count("poisoned") == 1 and not world.broker.queue)
    assert world.blocks == []
    assert world.renderer.batches == []


async def test_out_of_memory_halves_the_batch_and_loses_nothing(world: World) -> None:
    world.renderer.memory_blocks = 3
    for seed in range(8):
        await world.ask(SPECS[seed])
    world.start()
    await world.settled(8)
    assert len(world.sent) == len(set(world.sent)) == 8
    assert world.count("out_of_memory") >= 1
    assert world.worker.batch_limit <= 3


async def test_the_memory_of_a_failed_batch_is_free_before_its_halves_are_tried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[weakref.ref[FakeRenderer]] = []
    still_taken: list[bool] = []
    render = world.renderer.render

    def fill_memory(jobs: Sequence[tuple[StreamSpec, int]], out: NDArray[np.int16] | None = None) -> RenderedBatch:
        still_taken.append(any(tensor() is not None for tensor in taken))
        tensor = FakeRenderer()
        taken.append(weakref.ref(tensor))
        return render(jobs, out)

    monkeypatch.setattr(world.renderer, "render", fill_memory)
    world.renderer.memory_blocks = 1
    for seed in range(4):
        await world.ask(SPECS[seed])
    world.start()
    await world.settled(4)
    assert len(still_taken) > 4
    assert not any(still_taken)


async def test_batches_grow_again_when_the_memory_has_been_free_for_a_while(world: World) -> None:
    world.renderer.memory_blocks = 2
    for seed in range(8):
        await world.ask(SPECS[seed])
    world.start()
    await world.settled(8)
    small = world.worker.batch_limit
    assert small <= 2
    world.renderer.memory_blocks = 10_000
    await world.ask(SPECS[10])
    await world.settled(9)
    assert world.worker.batch_limit == small
    for minute in range(1, 4):
        world.clock.now_s += MEMORY_RETRY_S
        await world.ask(SPECS[10 + minute], block=int(world.clock.now_s) + 5)
        await world.settled(9 + minute)
    assert world.worker.batch_limit == FIRST_BATCH > 2 * small


async def test_silenced_blocks_are_sent_counted_and_logged_with_their_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, dict[str, object]]] = []
    log = SimpleNamespace(error=lambda event, **fields: logged.append((event, fields)))
    monkeypatch.setattr("services.synthesis.publisher._log", log)
    world.renderer.silent = {2}
    for seed in (1, 2):
        await world.ask(SPECS[seed])
    world.start()
    await world.settled(2)
    assert world.count("silenced") == 1
    assert logged == [("sound is not a number, silenced", {"stream": SPECS[2].stream_id, "block": BLOCK})]


async def test_a_malformed_job_is_dropped_and_counted(world: World) -> None:
    one, other = (subjects.render(REVISION, "ahead", SPECS[0].stream_id, block) for block in (1, 2))
    await world.edge.ask(one, b'{"v":1,"stream":"nonsense"}', message_id="x")
    await world.edge.ask(other, b'{"v":9}', message_id="y")
    await world.ask(SPECS[1])
    world.start()
    await world.settled(1)
    assert world.count("malformed") == 2


class _LossyBus(MemoryBus):
    """Fails to publish the first block."""

    lost = False

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        if subject.startswith("auralis.audio.") and not self.lost:
            self.lost = True
            raise BusError("disconnected")
        await super().publish(subject, data, reply)


async def test_a_block_that_was_not_sent_is_rendered_again() -> None:
    async with _world(bus_class=_LossyBus) as world:
        world.start()
        await world.ask(SPECS[0])
        await world.settled(1)
        assert world.count("unsent") == 1
        assert len(world.renderer.batches) == 2


async def test_a_drain_finishes_the_batch_and_gives_the_rest_back() -> None:
    async with _world(batch_size=2) as world:
        world.renderer.gate.clear()
        for seed in range(5):
            await world.ask(SPECS[seed])
        world.start()
        await asyncio.to_thread(world.renderer.entered.wait, 5)
        # Fetched while the batch renders.
        await until(lambda: world.worker.jobs_in_hand > 2)
        draining = asyncio.create_task(world.worker.drain())
        # A real pause, in which the drain would end if it did not wait for the batch.
        await asyncio.sleep(0.02)
        assert not draining.done()
        world.renderer.gate.set()
        await draining
        assert len(world.blocks) == 2
        assert world.count("returned") >= 1
        # Another worker gets them without waiting for the ack wait.
        other = MemoryBus(world.broker)
        await other.connect()
        source = await other.jobs(
            subjects.render_consumer(REVISION, "ahead"), subjects.render_filter(REVISION, "ahead")
        )
        assert len(await source.fetch(5, 0.3)) == 3
        await other.close()


async def test_a_drain_before_the_start_does_not_wait(world: World) -> None:
    async with asyncio.timeout(1):
        await world.worker.drain()
    assert world.worker.state == "draining"


async def test_a_drain_after_a_failure_returns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(world.worker, "_work", fail)
    running = asyncio.create_task(world.worker.run())
    await world.ask(SPECS[0])
    with pytest.raises(RuntimeError, match="a bug"):
        await running
    async with asyncio.timeout(1):
        await world.worker.drain()


class _SlowBus(MemoryBus):
    """Takes its time to open a lane."""

    async def jobs(self, durable: str, subject_filter: str, *, ack_wait_s: float = 1.0) -> JobSource:
        await asyncio.sleep(0.05)  # long enough for a drain to begin meanwhile
        return await super().jobs(durable, subject_filter, ack_wait_s=ack_wait_s)


async def test_a_worker_that_drains_while_it_opens_never_says_that_it_is_ready() -> None:
    async with _world(bus_class=_SlowBus) as world:
        heard: list[str] = []
        await world.edge.subscribe(subjects.PRESENCE, lambda message: heard.append(Presence.decode(message.data).state))
        running = asyncio.create_task(world.worker.run())
        # A real pause: the worker opens its lanes, and is not done.
        await asyncio.sleep(0.02)
        await world.worker.drain()
        await running
        await world.until(lambda: len(heard) > 0)
        # A real pause, in which a second announcement would arrive.
        await asyncio.sleep(0.02)
        assert heard == ["draining"]


async def test_presence_is_announced_at_the_start_at_every_roll_call_and_when_draining(world: World) -> None:
    heard: list[Presence] = []
    await world.edge.subscribe(subjects.PRESENCE, lambda message: heard.append(Presence.decode(message.data)))
    world.clock.shift_s = 40.0
    presence = asyncio.create_task(world.worker.presence())
    world.tasks.append(presence)
    await world.until(lambda: len(heard) == 1)
    version, clock_s = heard[0].sound_version, NOW_S + 40.0
    assert heard[0] == Presence("worker-1", REVISION, version, "warming", 0.0, "eager", "cpu", clock_s)
    await world.edge.publish(subjects.ROLL_CALL, b"")
    await world.until(lambda: len(heard) == 2)
    world.renderer.seconds_per_block = 0.002
    await world.worker.warm_up(lambda _stage, _fraction: None)
    world.start()
    await world.until(lambda: heard[-1].state == "ready")
    assert heard[-1].capacity_streams == pytest.approx(500)
    await world.worker.drain()
    await world.until(lambda: heard[-1].state == "draining")


async def test_warming_up_tells_its_progress_and_the_mode(world: World) -> None:
    told: list[tuple[str, float]] = []
    world.renderer.eager_reason = "no compiler"
    await world.worker.warm_up(lambda stage, fraction: told.append((stage, fraction)))
    assert told == [("opening kernels", 0.5), ("preparing chords", 1.0)]
    assert voicings.cache_info().currsize >= len(MODES) * len(PRESETS), "a block would wait for voicings"
    assert world.count("mode", mode="eager") == 1
    assert world.count("mode", mode="compiled") == 0


async def test_latency_is_counted_from_fetch_to_publication(world: World) -> None:
    world.renderer.gate.clear()
    world.start()
    await world.ask(SPECS[0])
    await asyncio.to_thread(world.renderer.entered.wait, 5)
    world.clock.now_s += 0.5
    world.renderer.gate.set()
    await world.settled(1)
    samples = {sample.name: sample.value for family in world.metrics.latency.collect() for sample in family.samples}
    assert samples["synthesis_latency_seconds_count"] == 1
    assert samples["synthesis_latency_seconds_sum"] == pytest.approx(0.5)


async def test_a_worker_works_through_the_loss_of_the_bus(world: World) -> None:
    world.start()
    await world.ask(SPECS[0])
    await world.settled(1)
    world.broker.go_away()
    # A real pause, in which the worker's fetches fail.
    await asyncio.sleep(0.05)
    world.broker.come_back()
    await world.ask(SPECS[1])
    await world.settled(2)


async def test_two_workers_share_the_load_and_do_no_job_twice() -> None:
    async with _world(batch_size=4) as world:
        bus: Bus = MemoryBus(world.broker)
        await bus.connect()
        renderer = FakeRenderer()
        second = Worker(
            bus,
            renderer,
            metrics=SynthesisMetrics(PrometheusMetrics()),
            clock=world.clock,
            instance="worker-2",
            batch_size=4,
            revision=REVISION,
        )
        world.start()
        running = asyncio.create_task(second.run())
        for seed in range(80):
            await world.ask(SPECS[seed])
            await asyncio.sleep(0.001)  # the pace of the asks, so that both workers fetch
        await world.settled(80)
        await second.drain()
        await running
        second.close()
        await bus.close()
        done = [sum(len(batch) for batch in each.batches) for each in (world.renderer, renderer)]
        assert sum(done) == 80
        assert min(done) > 15
