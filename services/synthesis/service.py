"""The synthesis process (shell): internal port, bus and worker, started and stopped in order.

Torch is imported in a thread: it takes seconds, in which probes are answered and the bus is connected to.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.runtime.bus.nats import NatsBus
from services.runtime.clock import SystemClock
from services.runtime.gc_config import RealTimeGCConfig
from services.runtime.health import Health
from services.runtime.http.internal import InternalServer
from services.runtime.instance import instance_name
from services.runtime.lifecycle import Lifecycle, ServiceError
from services.runtime.memory_monitor import MemoryMonitor
from services.runtime.metrics import BusMetrics, PrometheusMetrics
from services.runtime.observability.logging import get_logger
from services.runtime.observability.scrape import answer_scrapes
from services.runtime.observability.traces import close_traces, open_traces
from services.runtime.settings import Settings
from services.synthesis.metrics import SynthesisMetrics

if TYPE_CHECKING:
    from services.synthesis.worker import Worker

SERVICE: Final = "synthesis"

_log = get_logger(__name__)


async def run_synthesis(settings: Settings, lifecycle: Lifecycle) -> None:
    """Render until `lifecycle` stops.

    Raises:
        PortInUseError: METRICS_PORT is taken.
        ServiceError: the device asked for is not there.
    """
    instance = instance_name(settings, SERVICE)
    clock = SystemClock()
    metrics = PrometheusMetrics()
    metrics.describe_process(service=SERVICE, clock_offset_s=lambda: clock.offset_s)
    synthesis_metrics = SynthesisMetrics(metrics)
    gc_config = RealTimeGCConfig(metrics)
    gc_config.configure()
    open_traces(settings, service=SERVICE, instance=instance)
    memory = MemoryMonitor(metrics=metrics)
    health = Health("kernels", "bus")
    bus = NatsBus(settings.nats, name=instance, metrics=BusMetrics(metrics))
    internal = InternalServer(
        settings.internal_host,
        settings.metrics_port,
        health=health,
        exposition=metrics.exposition if settings.metrics_enabled else None,
        drain=lifecycle.drain,
    )
    await internal.start()
    scrapes = await answer_scrapes(bus, service=SERVICE, instance=instance, exposition=metrics.exposition)
    connecting = asyncio.create_task(bus.connect(), name="connect")
    stopping = asyncio.create_task(lifecycle.stopping.wait(), name="stopping")
    background: list[asyncio.Task[None]] = [connecting]
    worker: Worker | None = None
    try:
        _report("importing torch", 0.0)
        health.set("kernels", ok=False, detail="importing torch")
        await asyncio.to_thread(importlib.import_module, "services.synthesis.worker")
        worker = _make_worker(settings, bus, synthesis_metrics, clock, instance)
        lifecycle.on_drain(worker.drain)
        background.append(asyncio.create_task(worker.presence(), name="presence"))
        background.append(asyncio.create_task(_watch_bus(bus, health), name="watch-bus"))
        loop = asyncio.get_running_loop()

        def progress(stage: str, fraction: float) -> None:
            loop.call_soon_threadsafe(_report, stage, fraction)
            loop.call_soon_threadsafe(lambda: health.set("kernels", ok=False, detail=f"{stage} ({fraction:.0%})"))

        warming = asyncio.create_task(worker.warm_up(progress), name="warm-up")
        if not await _first(warming, stopping):
            return
        gc_config.freeze()
        # Not before: what torch and the kernels take is no growth.
        memory.start()
        health.set("kernels", ok=True, detail=f"{worker.mode}, {worker.capacity_streams:.0f} streams")
        if not await _first(connecting, stopping):
            return
        _log.info(
            "ready",
            service=SERVICE,
            instance=instance,
            metrics_port=internal.port,
            mode=worker.mode,
            device=worker.device,
            capacity_streams=round(worker.capacity_streams),
            revision=worker.revision,
        )
        running = asyncio.create_task(worker.run(), name="worker")
        # The drain makes the worker return; what ends it otherwise is an error to be told.
        await running
        if not lifecycle.stopping.is_set():
            await lifecycle.stopping.wait()
    finally:
        for task in (*background, stopping):
            task.cancel()
        for task in (*background, stopping):
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        await asyncio.to_thread(memory.stop)
        await asyncio.to_thread(close_traces)
        await scrapes.close()
        await bus.close()
        await internal.stop()
        if worker is not None:
            worker.close()


def _make_worker(
    settings: Settings, bus: NatsBus, metrics: SynthesisMetrics, clock: SystemClock, instance: str
) -> Worker:
    from services.synthesis.device_selector import AutoDeviceSelector, DeviceError  # noqa: PLC0415 - imports torch
    from services.synthesis.render.renderer import Renderer, default_batch_size  # noqa: PLC0415 - as above
    from services.synthesis.worker import Worker  # noqa: PLC0415 - as above

    try:
        device = AutoDeviceSelector(settings.synthesis.device).select_device()
    except DeviceError as error:
        raise ServiceError(str(error)) from error
    rows = settings.synthesis.batch_size
    renderer = Renderer(
        device,
        batch_size=None if rows is None else min(rows, default_batch_size(device)),
        enable_compile=settings.synthesis.enable_compile,
        kernel_cache=Path(settings.synthesis.kernel_cache).expanduser() if settings.synthesis.kernel_cache else None,
    )
    return Worker(bus, renderer, metrics=metrics, clock=clock, instance=instance, batch_size=rows)


async def _first(task: asyncio.Task[None], stopping: asyncio.Task[bool]) -> bool:
    """Wait for `task`; False when the service stops before."""
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        return False
    await task
    return True


async def _watch_bus(bus: NatsBus, health: Health) -> None:
    while True:
        health.set("bus", bus.connected, "connected" if bus.connected else "not connected to NATS")
        await asyncio.sleep(0.1)


def _report(stage: str, fraction: float) -> None:
    _log.info("progress", stage=stage, fraction=round(fraction, 3))
