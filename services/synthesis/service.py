"""A synthesis process (shell): its parts, put together from the settings, started and stopped in order.

Torch is imported in a thread: that takes seconds, in which probes are answered and the bus is connected to.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.runtime.bus import Bus
from services.runtime.errors import ServiceError
from services.runtime.observability.logging import get_logger
from services.runtime.process.lifecycle import Lifecycle
from services.runtime.process.service_process import ServiceProcess
from services.runtime.settings import Settings
from services.synthesis.metrics import SynthesisMetrics

if TYPE_CHECKING:
    from services.synthesis.worker import Worker

SERVICE: Final = "synthesis"

_log = get_logger(__name__)


async def run_synthesis(settings: Settings, lifecycle: Lifecycle, *, bus: Bus | None = None) -> None:
    """Render until `lifecycle` stops.

    Args:
        settings: from the environment.
        lifecycle: its drain finishes the batch that is being rendered; then this returns.
        bus: None: NATS, as the settings say.

    Raises:
        PortInUseError: METRICS_PORT is taken.
        ServiceError: the device asked for is not there, or traces are switched on and OpenTelemetry is not installed.
    """
    process = ServiceProcess(settings, SERVICE, conditions=("kernels", "bus"), traced=True, bus=bus)
    metrics = SynthesisMetrics(process.metrics)
    stopping = asyncio.create_task(lifecycle.stopping.wait(), name="stopping")
    presence: asyncio.Task[None] | None = None
    worker: Worker | None = None
    try:
        await process.start(drain=lifecycle.drain)
        connecting = process.connect()
        _log_progress("importing torch", 0.0)
        process.health.set("kernels", ok=False, detail="importing torch")
        await asyncio.to_thread(importlib.import_module, "services.synthesis.worker")
        worker = _make_worker(settings, process, metrics)
        lifecycle.on_drain(worker.drain)
        presence = asyncio.create_task(worker.presence(), name="presence")
        if not await _done_before(stopping, asyncio.create_task(_warm_up(worker, process), name="warm-up")):
            return
        # Not before: memory that torch and the kernels take is not a leak.
        process.settle()
        process.health.set("kernels", ok=True, detail=f"{worker.mode}, {worker.capacity_streams:.0f} streams")
        if not await _done_before(stopping, connecting):
            return
        _log.info(
            "ready",
            service=SERVICE,
            instance=process.instance,
            metrics_port=process.internal_port,
            mode=worker.mode,
            device=worker.device,
            capacity_streams=round(worker.capacity_streams),
            revision=worker.revision,
        )
        # A drain makes it return; any other end is an error to report.
        await asyncio.create_task(worker.run(), name="worker")
        await stopping
    finally:
        for task in (stopping, presence):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        await process.stop()
        if worker is not None:
            worker.close()


def _make_worker(settings: Settings, process: ServiceProcess, metrics: SynthesisMetrics) -> Worker:
    from services.synthesis.device_selector import AutoDeviceSelector, DeviceError  # noqa: PLC0415 - imports torch
    from services.synthesis.render.device_limits import default_batch_size  # noqa: PLC0415 - as above
    from services.synthesis.render.renderer import Renderer  # noqa: PLC0415 - as above
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
    return Worker(
        process.bus, renderer, metrics=metrics, clock=process.clock, instance=process.instance, batch_size=rows
    )


async def _warm_up(worker: Worker, process: ServiceProcess) -> None:
    """Load or compile the kernels; /readyz says how far that is."""
    loop = asyncio.get_running_loop()

    def show(stage: str, fraction: float) -> None:
        _log_progress(stage, fraction)
        process.health.set("kernels", ok=False, detail=f"{stage} ({fraction:.0%})")

    def show_soon(stage: str, fraction: float) -> None:
        # Called in the thread that renders.
        loop.call_soon_threadsafe(show, stage, fraction)

    await worker.warm_up(show_soon)


async def _done_before(stopping: asyncio.Task[bool], task: asyncio.Task[None]) -> bool:
    """Wait for `task`; False, and the task is cancelled, if the service stops first."""
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        return False
    await task
    return True


def _log_progress(stage: str, fraction: float) -> None:
    _log.info("progress", stage=stage, fraction=round(fraction, 3))
