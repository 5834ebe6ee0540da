"""Two workers share one real queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract import subjects
from services.contract.job import RenderJob
from services.contract.spec import StreamSpec
from services.contract.subjects import LANES
from services.runtime.bus.nats import NatsBus
from services.runtime.clock import SystemClock
from services.runtime.metrics import PrometheusMetrics
from services.runtime.settings import NatsSettings
from services.synthesis.metrics import SynthesisMetrics
from services.synthesis.render.batch import RenderedBatch
from services.synthesis.worker import Worker
from tests.support.metrics import sample_value
from tests.support.nats import NatsServer
from tests.support.waiting import until
from tests.synthesis.test_worker import FakeRenderer

REVISION = "s1-share"
SECONDS = 2
BLOCK_S = 0.002


class _BusyRenderer(FakeRenderer):
    """Takes as long as it says."""

    def render(self, jobs: Sequence[tuple[StreamSpec, int]], out: NDArray[np.int16] | None = None) -> RenderedBatch:
        time.sleep(BLOCK_S * len(jobs))  # the time that a batch takes
        return super().render(jobs, out)


@pytest.mark.parametrize("streams", [12, 200])
async def test_two_workers_share_what_is_asked_for_evenly(nats_server: NatsServer, streams: int) -> None:
    settings, clock = NatsSettings(url=nats_server.url), SystemClock()
    edge, *buses = (NatsBus(settings, name=name) for name in ("edge", "worker-0", "worker-1"))
    await edge.connect()
    workers: list[Worker] = []
    counts: list[SynthesisMetrics] = []
    running: list[asyncio.Task[None]] = []
    for number, bus in enumerate(buses):
        await bus.connect()
        metrics = SynthesisMetrics(PrometheusMetrics())
        renderer = _BusyRenderer(seconds_per_block=BLOCK_S)
        worker = Worker(bus, renderer, metrics=metrics, clock=clock, instance=f"worker-{number}", revision=REVISION)
        workers.append(worker)
        counts.append(metrics)
        running.append(asyncio.create_task(worker.run()))
    try:
        specs = [StreamSpec(seed=seed) for seed in range(streams)]
        first_block = int(clock.now()) + 5
        for block in range(first_block, first_block + SECONDS):
            for spec in specs:
                job = RenderJob(spec, block, 0)
                subject = subjects.render(REVISION, "ahead", spec.stream_id, block)
                await edge.ask(subject, job.encode(), message_id=f"{spec.stream_id}.{block}")
                # Asked for evenly over a second, as edges do.
                await asyncio.sleep(1.0 / streams)

        def blocks(metrics: SynthesisMetrics) -> float:
            return sum(sample_value(metrics.blocks, lane=lane) for lane in LANES)

        await until(lambda: sum(map(blocks, counts)) >= streams * SECONDS)
        shares = [blocks(metrics) for metrics in counts]
        assert sum(shares) == streams * SECONDS, "rendered twice"
        assert min(shares) >= 0.35 * sum(shares), shares
    finally:
        for worker, task in zip(workers, running, strict=True):
            await worker.drain()
            await task
            worker.close()
        for bus in (edge, *buses):
            await bus.close()
