from __future__ import annotations

import asyncio

import pytest

from services.contract import subjects
from services.contract.scrape import MAX_BYTES, ScrapeAnswer
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.process.scrape_answers import MAX_PENDING, answer_scrapes
from tests.support.waiting import until


async def connected(broker: MemoryBroker) -> MemoryBus:
    bus = MemoryBus(broker)
    await bus.connect()
    return bus


async def scrape(bus: MemoryBus) -> list[ScrapeAnswer]:
    return [ScrapeAnswer.decode(message.data) async for message in bus.gather(subjects.SCRAPE, b"", wait_s=0.05)]


async def test_every_instance_answers_with_its_own_exposition() -> None:
    broker = MemoryBroker()
    asking = await connected(broker)
    for number in range(3):
        bus = await connected(broker)
        text = b"metric %d\n" % number
        await answer_scrapes(bus, service="edge", instance=f"edge-{number}", exposition=lambda text=text: text)  # type: ignore[misc]
    answers = sorted(await scrape(asking), key=lambda answer: answer.instance)
    assert answers == [ScrapeAnswer("edge", f"edge-{number}", b"metric %d\n" % number) for number in range(3)]


async def test_the_exposition_is_taken_anew_for_each_question() -> None:
    broker = MemoryBroker()
    bus = await connected(broker)
    count = 0

    def exposition() -> bytes:
        nonlocal count
        count += 1
        return b"%d" % count

    subscription = await answer_scrapes(bus, service="edge", instance="e", exposition=exposition)
    assert [answer.exposition for answer in await scrape(bus)] == [b"1"]
    assert [answer.exposition for answer in await scrape(bus)] == [b"2"]
    await subscription.close()
    assert await scrape(bus) == []


async def test_a_broken_exposition_answers_nothing_and_the_next_question_is_answered() -> None:
    broker = MemoryBroker()
    bus = await connected(broker)
    broken = True

    def exposition() -> bytes:
        if broken:
            raise ZeroDivisionError
        return b"fine"

    await answer_scrapes(bus, service="edge", instance="e", exposition=exposition)
    assert await scrape(bus) == []
    broken = False
    assert [answer.exposition for answer in await scrape(bus)] == [b"fine"]


async def test_an_exposition_that_no_server_would_take_is_not_sent() -> None:
    broker = MemoryBroker()
    bus = await connected(broker)
    await answer_scrapes(bus, service="edge", instance="e", exposition=lambda: bytes(MAX_BYTES))
    assert await scrape(bus) == []


async def test_a_flood_of_questions_is_answered_up_to_a_bound() -> None:
    broker = MemoryBroker()
    bus = await connected(broker)
    answered = 0
    dropped: list[None] = []

    def exposition() -> bytes:
        nonlocal answered
        answered += 1
        return b""

    await answer_scrapes(
        bus, service="edge", instance="e", exposition=exposition, on_overflow=lambda: dropped.append(None)
    )
    for _ in range(20):
        await bus.publish(subjects.SCRAPE, b"", reply="_INBOX.telemetry.a.1")
    await bus.publish(subjects.SCRAPE, b"no reply wanted")
    await until(lambda: answered + len(dropped) == 20)
    assert answered == MAX_PENDING
    assert len(dropped) == 20 - MAX_PENDING


@pytest.mark.parametrize("away", [True])
async def test_a_bus_that_goes_away_before_the_answer_is_no_error(away: bool) -> None:  # noqa: FBT001 - a parameter
    broker = MemoryBroker()
    bus = await connected(broker)

    def exposition() -> bytes:
        if away:
            broker.go_away()
        return b""

    await answer_scrapes(bus, service="edge", instance="e", exposition=exposition)
    await bus.publish(subjects.SCRAPE, b"", reply="_INBOX.telemetry.a.1")
    await until(lambda: not bus.connected)
    # A failed answer would be an error of its task, which is done in the next turn of the loop.
    await asyncio.sleep(0)
