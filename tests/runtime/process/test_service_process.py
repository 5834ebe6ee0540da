from __future__ import annotations

import asyncio
import gc
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from services.contract import subjects
from services.contract.scrape import ScrapeAnswer
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.clock import unix_s
from services.runtime.gc_config import RealTimeGCConfig
from services.runtime.http.internal import InternalServer, PortInUseError
from services.runtime.memory_monitor import MemoryMonitor
from services.runtime.process import service_process
from services.runtime.process.service_process import ServiceProcess
from services.runtime.settings import Settings
from tests.support.waiting import until

SETTINGS = Settings(instance="test-1", metrics_port=0)


class Service:
    """A process with a drain that counts, and a client of its internal port."""

    def __init__(self, broker: MemoryBroker | None = None, settings: Settings = SETTINGS, **options: Any) -> None:
        self.broker = MemoryBroker() if broker is None else broker
        self.process = ServiceProcess(settings, "test", bus=MemoryBus(self.broker), **options)
        self.drains = 0

    async def drain(self) -> None:
        self.drains += 1

    @asynccontextmanager
    async def started(self) -> AsyncIterator[httpx.AsyncClient]:
        try:
            await self.process.start(drain=self.drain)
            base_url = f"http://127.0.0.1:{self.process.internal_port}"
            async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
                yield http
        finally:
            await self.process.stop()


async def test_the_internal_port_answers_before_there_is_a_bus() -> None:
    broker = MemoryBroker()
    broker.go_away()
    service = Service(broker, conditions=("kernels", "bus"))
    async with service.started() as http:
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["failing"]) == (503, ["kernels", "bus"])
        assert ready.json()["conditions"]["bus"]["detail"] == "not reported yet"
        assert (await http.get("/healthz")).status_code == 200
        assert "auralis_build_info{python=" in (await http.get("/metrics")).text
        assert (await http.post("/drain")).json() == {"draining": True, "done": True}
    assert service.drains == 1


async def test_ready_says_how_the_bus_stands_from_connect_on() -> None:
    broker = MemoryBroker()
    broker.go_away()
    service = Service(broker, conditions=("bus",))
    health = service.process.health
    async with service.started() as http:
        connecting = service.process.connect()
        await until(lambda: "not connected" in http_detail(health.report()))
        assert (await http.get("/readyz")).status_code == 503
        assert not connecting.done()
        broker.come_back()
        await connecting
        await until(lambda: health.ready)
        assert http_detail((await http.get("/readyz")).json()) == "connected"
        broker.go_away()
        await until(lambda: not health.ready)
        assert (await http.get("/readyz")).status_code == 503


async def test_ready_names_a_clock_that_differs_from_the_buss_and_stays_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(conditions=("bus",))
    health = service.process.health
    bus_s = 0.0
    monkeypatch.setattr(service.process.bus, "unix_s", lambda: unix_s(service.process.clock) + bus_s)
    async with service.started():
        await service.process.connect()

        def detail() -> str | None:
            clocks = health.condition("clocks")
            return None if clocks is None else clocks.detail

        await until(lambda: detail() == "")
        bus_s = -120.0
        await until(lambda: detail() == "120.0 s ahead of the bus's clock")
        bus_s = 7.0
        await until(lambda: detail() == "7.0 s behind the bus's clock")
        assert health.ready


def http_detail(report: dict[str, Any]) -> str:
    return str(report["conditions"]["bus"]["detail"])


async def test_scrapes_are_answered_when_the_bus_comes() -> None:
    broker = MemoryBroker()
    broker.go_away()
    service = Service(broker)
    async with service.started():
        connecting = service.process.connect()
        broker.come_back()
        await connecting
        asker = MemoryBus(broker)
        await asker.connect()
        answers = [ScrapeAnswer.decode(each.data) async for each in asker.gather(subjects.SCRAPE, b"", wait_s=0.1)]
        await asker.close()
    ((name, instance),) = [(answer.service, answer.instance) for answer in answers]
    assert (name, instance) == ("test", "test-1")
    assert b"auralis_clock_offset_seconds" in answers[0].exposition
    (clock_s,) = re.findall(rb"\nauralis_clock_seconds (\S+)", answers[0].exposition)
    assert float(clock_s) == pytest.approx(time.time(), abs=60)


async def test_a_service_with_a_port_of_its_own_has_no_internal_port() -> None:
    service = Service()
    await service.process.start()
    assert service.process.internal_port is None
    await service.process.stop()


async def test_a_taken_port_ends_the_start_or_is_a_warning() -> None:
    first = Service()
    async with first.started():
        settings = Settings(instance="test-2", metrics_port=first.process.internal_port or 0)
        second = Service(settings=settings)
        with pytest.raises(PortInUseError, match="METRICS_PORT"):
            await second.process.start(drain=second.drain)
        await second.process.stop()
        third = Service(settings=settings)
        with capture_logs() as logged:
            await third.process.start(drain=third.drain, port_required=False)
        assert third.process.internal_port is None
        assert [entry["event"] for entry in logged] == ["no internal port"]
        await third.process.stop()


async def test_switched_off_metrics_are_404_on_the_port_and_still_answer_telemetry() -> None:
    service = Service(settings=Settings(instance="test-1", metrics_port=0, metrics_enabled=False))
    async with service.started() as http:
        assert (await http.get("/metrics")).status_code == 404
        assert b"auralis_build_info" in service.process.exposition()


async def test_collection_is_tuned_from_the_start_and_memory_is_watched_from_settle_on() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    service = Service()
    async with service.started():
        assert gc.get_threshold() != before
        assert gc.get_freeze_count() == frozen
        assert not monitors()
        service.process.settle()
        assert gc.get_freeze_count() > frozen
        assert len(monitors()) == 1
    assert gc.get_threshold() == before
    assert not monitors()


def monitors() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "memory-monitor"]


async def test_a_second_stop_does_nothing() -> None:
    service = Service()
    async with service.started():
        service.process.connect()
        await service.process.stop()
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"connect", "watch-bus"})


async def test_parts_start_and_stop_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def note(owner: Any, name: str, text: str) -> None:
        original = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            order.append(text)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    note(RealTimeGCConfig, "configure", "collection tuned")
    note(RealTimeGCConfig, "freeze", "collection frozen")
    note(RealTimeGCConfig, "restore", "collection restored")
    note(service_process, "open_traces", "traces opened")
    note(service_process, "close_traces", "traces closed")
    note(InternalServer, "start", "port opened")
    note(InternalServer, "stop", "port closed")
    note(service_process, "answer_scrapes", "scrapes answered")
    note(MemoryBus, "connect", "bus connected")
    note(MemoryBus, "close", "bus closed")
    note(MemoryMonitor, "start", "memory watched")
    note(MemoryMonitor, "stop", "memory not watched")
    service = Service(traced=True)
    async with service.started():
        await service.process.connect()
        service.process.settle()
        assert order == [
            "collection tuned", "traces opened", "port opened", "scrapes answered", "bus connected",
            "collection frozen", "memory watched",
        ]  # fmt: skip
        order.clear()
    assert order == ["bus closed", "port closed", "memory not watched", "traces closed", "collection restored"]
