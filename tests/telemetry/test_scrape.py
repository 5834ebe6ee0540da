import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from services.contract import subjects
from services.contract.scrape import ScrapeAnswer
from services.runtime.bus import Message
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.metrics import PrometheusMetrics
from services.runtime.process.scrape_answers import answer_scrapes
from services.telemetry import scrape
from services.telemetry.fleet.fleet import Fleet
from services.telemetry.metrics import TelemetryMetrics
from services.telemetry.scrape import Scraper
from tests.support.metrics import sample_value
from tests.support.waiting import until


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Fixture:
    """Telemetry and a bus that it shares with instances."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.bus = MemoryBus(self.broker)
        self.fleet = Fleet()
        self.clock = Clock()
        self.metrics = TelemetryMetrics(PrometheusMetrics(CollectorRegistry()))
        self.questions = 0
        self.scraper = Scraper(
            self.bus,
            self.fleet,
            metrics=self.metrics,
            own=lambda: ScrapeAnswer("telemetry", "t1", b"own 1\n"),
            clock=self.clock,
        )

    async def connect(self) -> None:
        await self.bus.connect()
        counting = MemoryBus(self.broker)
        await counting.connect()

        def count(_message: Message) -> None:
            self.questions += 1

        await counting.subscribe(subjects.SCRAPE, count)

    async def add(self, instance: str, exposition: Callable[[], bytes] = lambda: b"x 1\n") -> MemoryBus:
        bus = MemoryBus(self.broker)
        await bus.connect()
        await answer_scrapes(bus, service="edge", instance=instance, exposition=exposition)
        return bus

    def names(self) -> list[str]:
        report = self.fleet.report(self.clock.now_s, generated_at=0.0, bus_connected=True)
        return [row.instance for row in report.instances if row.up]

    def counted(self, result: str) -> float:
        return sample_value(self.metrics.answers, result=result)


@pytest.fixture
async def telemetry(monkeypatch: pytest.MonkeyPatch) -> Fixture:
    monkeypatch.setattr(scrape, "WAIT_S", 0.1)
    fixture = Fixture()
    await fixture.connect()
    return fixture


async def test_all_instances_on_the_bus_are_found_and_telemetry_itself(telemetry: Fixture) -> None:
    await telemetry.add("e1")
    await telemetry.add("e2")
    await telemetry.scraper.refresh()
    assert telemetry.names() == ["e1", "e2", "t1"]
    assert telemetry.counted("taken") == 2
    assert sample_value(telemetry.metrics.instances, fleet_service="edge", state="up") == 2


async def test_concurrent_scrapers_share_one_scrape_and_so_do_all_within_a_second(telemetry: Fixture) -> None:
    await telemetry.add("e1")
    await asyncio.gather(*(telemetry.scraper.refresh() for _ in range(20)))
    telemetry.clock.now_s += 0.9
    await telemetry.scraper.refresh()
    assert telemetry.questions == 1
    telemetry.clock.now_s += 0.2
    await telemetry.scraper.refresh()
    assert telemetry.questions == 2


async def test_a_scrape_ends_when_all_known_instances_have_answered(
    telemetry: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await telemetry.add("e1")
    await telemetry.scraper.refresh()
    monkeypatch.setattr(scrape, "WAIT_S", 60.0)
    await asyncio.wait_for(telemetry.scraper.refresh(max_age_s=0), 10)
    # A new instance that answers as quickly is not missed.
    await telemetry.add("e2")
    await asyncio.wait_for(telemetry.scraper.refresh(max_age_s=0), 10)
    assert telemetry.names() == ["e1", "e2", "t1"]


async def test_a_missing_answer_is_counted_and_the_instance_becomes_silent(
    telemetry: Fixture,
) -> None:
    bus = await telemetry.add("e1")
    await telemetry.scraper.refresh()
    await bus.close()
    telemetry.clock.now_s += 5.0
    await telemetry.scraper.refresh()
    assert sample_value(telemetry.metrics.missing) == 1
    assert telemetry.names() == ["e1", "t1"]
    telemetry.clock.now_s += 10.0
    await telemetry.scraper.refresh()
    assert telemetry.names() == ["t1"]
    assert sample_value(telemetry.metrics.instances, fleet_service="edge", state="silent") == 1


async def test_the_second_answer_of_an_instance_is_counted_and_ignored(telemetry: Fixture) -> None:
    await telemetry.add("e1", lambda: b"x 1\n")
    await telemetry.add("e1", lambda: b"x 2\n")
    await telemetry.scraper.refresh()
    assert telemetry.counted("repeated") == 1
    assert b" 1\n" in telemetry.fleet.merged(telemetry.clock.now_s)


async def test_malformed_answers_are_counted_and_hide_no_other_instance(telemetry: Fixture) -> None:
    bus = await telemetry.add("broken", lambda: b"this is no exposition\n")

    def answer(message: Message) -> None:
        task = asyncio.get_running_loop().create_task(bus.publish(message.reply, b"\x00 no answer at all"))
        task.add_done_callback(lambda _: None)

    await bus.subscribe(subjects.SCRAPE, answer)
    await telemetry.add("good")
    await telemetry.scraper.refresh()
    assert telemetry.names() == ["good", "t1"]
    assert telemetry.counted("malformed") == 2


async def test_telemetrys_own_answer_over_the_bus_is_not_a_repeat(telemetry: Fixture) -> None:
    await answer_scrapes(telemetry.bus, service="telemetry", instance="t1", exposition=lambda: b"own 2\n")
    await telemetry.scraper.refresh()
    assert telemetry.counted("repeated") == 0
    assert b'own{service="telemetry",instance="t1"} 1' in telemetry.fleet.merged(telemetry.clock.now_s)


async def test_without_a_bus_telemetry_knows_itself_and_waits_for_no_answer(telemetry: Fixture) -> None:
    telemetry.broker.go_away()
    await asyncio.wait_for(telemetry.scraper.refresh(), 5)
    assert telemetry.names() == ["t1"]


async def test_scrapes_repeat_by_themselves(telemetry: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "EVERY_S", 0.02)
    telemetry.clock.now_s = 0.0
    running = asyncio.create_task(telemetry.scraper.run())

    def asked_three_times() -> bool:
        telemetry.clock.now_s += 1.0
        return telemetry.questions >= 3

    try:
        await until(asked_three_times)
    finally:
        running.cancel()


@pytest.mark.parametrize("dies_after_s", [0.1, 2.5, 4.9])
async def test_an_instance_that_dies_is_shown_as_silent_within_fifteen_seconds(
    telemetry: Fixture, dies_after_s: float
) -> None:
    bus = await telemetry.add("e1")
    await telemetry.scraper.refresh(max_age_s=0)
    died_s = telemetry.clock.now_s + dies_after_s
    await bus.close()
    while "e1" in telemetry.names():
        # A round of `run`: five seconds, and up to one of waiting for answers.
        telemetry.clock.now_s += scrape.EVERY_S + 1.0
        await telemetry.scraper.refresh(max_age_s=0)
    assert telemetry.clock.now_s - died_s <= 15
