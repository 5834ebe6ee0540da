"""The start and the end of a synthesis process, around a worker that only notes what it is asked to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.errors import ServiceError
from services.runtime.process.lifecycle import Lifecycle
from services.runtime.process.service_process import ServiceProcess
from services.runtime.settings import Settings
from services.synthesis import service
from services.synthesis.service import run_synthesis
from tests.support.waiting import until

SETTINGS = Settings(instance="s1", metrics_port=0)


class NotingWorker:
    """Notes calls; `warmed` and `finished` let its warm-up and its run return."""

    mode, device, capacity_streams, revision = "eager", "cpu", 12.0, "r1"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.warmed = asyncio.Event()
        self.finished = asyncio.Event()

    async def presence(self) -> None:
        self.calls.append("presence")
        await asyncio.Event().wait()

    async def warm_up(self, progress: Callable[[str, float], None]) -> None:
        self.calls.append("warm up")
        await asyncio.to_thread(progress, "compiling", 0.25)
        await self.warmed.wait()

    async def run(self) -> None:
        self.calls.append("run")
        await self.finished.wait()

    async def drain(self) -> None:
        self.calls.append("drain")
        self.finished.set()

    def close(self) -> None:
        self.calls.append("close")


class Running:
    """A synthesis process and what its /readyz would say."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.worker = NotingWorker()
        self.lifecycle = Lifecycle()
        self.process: ServiceProcess | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self.process is not None and self.process.health.ready

    def detail(self, condition: str) -> str:
        found = None if self.process is None else self.process.health.condition(condition)
        return "" if found is None else found.detail


@asynccontextmanager
async def synthesis(monkeypatch: pytest.MonkeyPatch, broker: MemoryBroker) -> AsyncIterator[Running]:
    running = Running(broker)

    def make_worker(_settings: Settings, process: ServiceProcess, _metrics: Any) -> Any:
        running.process = process
        return running.worker

    monkeypatch.setattr(service, "_make_worker", make_worker)
    running.task = asyncio.create_task(run_synthesis(SETTINGS, running.lifecycle, bus=MemoryBus(broker)))
    yield running
    running.lifecycle.stop("the test is over")
    await asyncio.wait_for(running.task, 5)


async def test_a_worker_is_ready_when_its_kernels_are_and_the_bus_is(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = MemoryBroker()
    broker.go_away()
    async with synthesis(monkeypatch, broker) as running:
        await until(lambda: running.detail("kernels") == "compiling (25%)", 30)
        assert running.detail("bus") == "not connected to NATS"
        running.worker.warmed.set()
        await until(lambda: running.detail("kernels") == "eager, 12 streams")
        assert not running.ready
        assert "run" not in running.worker.calls
        with capture_logs() as logged:
            broker.come_back()
            await until(lambda: running.ready and "run" in running.worker.calls)
        assert [entry["instance"] for entry in logged if entry["event"] == "ready"] == ["s1"]
    assert [call for call in running.worker.calls if call != "presence"] == ["warm up", "run", "drain", "close"]


async def test_a_bus_that_is_there_first_does_not_make_it_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    async with synthesis(monkeypatch, MemoryBroker()) as running:
        await until(lambda: running.detail("kernels") == "compiling (25%)" and running.detail("bus") == "connected", 30)
        assert not running.ready
        assert "presence" in running.worker.calls
        running.worker.warmed.set()
        await until(lambda: running.ready)


async def test_a_stop_while_kernels_are_built_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with synthesis(monkeypatch, MemoryBroker()) as running:
        await until(lambda: "warm up" in running.worker.calls, 30)
    assert [call for call in running.worker.calls if call != "presence"] == ["warm up", "drain", "close"]


async def test_a_worker_that_fails_ends_the_process_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with synthesis(monkeypatch, MemoryBroker()) as running:
        await until(lambda: "warm up" in running.worker.calls, 30)

        async def fail() -> None:
            raise ServiceError("the consumer is gone")

        monkeypatch.setattr(running.worker, "run", fail)
        running.worker.warmed.set()
        assert running.task is not None
        with pytest.raises(ServiceError, match="the consumer is gone"):
            await asyncio.wait_for(asyncio.shield(running.task), 5)
        assert running.worker.calls[-1] == "close"
        running.task = asyncio.create_task(asyncio.sleep(0))
