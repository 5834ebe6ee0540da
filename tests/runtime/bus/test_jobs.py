"""Jobs on both adapters: asked for once, handed out, acked, given back, forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from services.contract import subjects
from services.runtime.bus import BusError, BusFullError
from tests.runtime.bus.conftest import LIMITS, World, fetching, fresh, jobs_of
from tests.support.waiting import until


async def test_an_ask_is_taken_once_however_many_edges_ask(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    revision = fresh("r")
    subject = subjects.render(revision, "now", "s", 7)
    assert await one.ask(subject, b"job", message_id=f"{revision}.1")
    assert not await two.ask(subject, b"job", message_id=f"{revision}.1")
    (job,) = await (await jobs_of(one, revision=revision)).fetch(8, 1.0)
    await job.ack()
    assert not await two.ask(subject, b"job", message_id=f"{revision}.1"), "an id is remembered beyond the job"


async def test_a_job_that_waits_or_is_being_done_cannot_be_asked_for_again(world: World) -> None:
    edge, worker = await world.bus(), await world.bus()
    revision = fresh("r")
    subject = subjects.render(revision, "now", "s", 7)
    assert await edge.ask(subject, b"job", message_id=f"{revision}.0")
    assert not await edge.ask(subject, b"job", message_id=f"{revision}.1")
    (job,) = await (await jobs_of(worker, revision=revision)).fetch(8, 1.0)
    assert not await edge.ask(subject, b"job", message_id=f"{revision}.2")
    assert await edge.ask(subjects.render(revision, "now", "s", 8), b"job", message_id=f"{revision}.next")
    assert await edge.ask(subjects.render(revision, "ahead", "s", 7), b"job", message_id=f"{revision}.ahead")
    await job.ack()
    # Its block was rendered and lost on its way: a refused ask has not used up its id.
    await until(lambda: edge.ask(subject, b"job", message_id=f"{revision}.1"))


async def test_a_burst_of_asks_pipelines_and_every_job_is_delivered_once(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    revision = fresh("r")
    taken = await asyncio.gather(
        *(
            bus.ask(subjects.render(revision, "ahead", "s", number), b"%d" % number, message_id=f"{revision}.{number}")
            for number in range(40)
            for bus in (one, two, one)
        )
    )
    assert sum(taken) == 40
    source = await jobs_of(two, "ahead", revision=revision)
    seen: list[int] = []
    while len(seen) < 40:
        jobs = await source.fetch(16, 1.0)
        assert jobs
        assert len(jobs) <= 16
        seen += [int(job.data) for job in jobs]
        for job in jobs:
            await job.ack()
    assert sorted(seen) == list(range(40))


async def test_a_full_queue_refuses_the_newest_ask_and_takes_asks_again_when_it_has_room(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")

    async def ask(number: int) -> bool:
        subject = subjects.render(revision, "now", "s", number)
        return await bus.ask(subject, b"x" * 500, message_id=f"{revision}.{number}")

    async def fill() -> None:
        for number in range(20, 1000):
            await ask(number)

    for number in range(20):
        assert await ask(number)
    with pytest.raises(BusFullError, match="RENDER is full"):
        await fill()
    source = await jobs_of(bus, revision=revision)
    for job in await source.fetch(5, 1.0):
        await job.ack()
    numbers = itertools.count(2000)

    async def is_taken() -> bool:
        with contextlib.suppress(BusFullError):
            return await ask(next(numbers))
        return False

    await until(is_taken)


async def test_an_ask_outside_the_render_subjects_is_refused(world: World) -> None:
    bus = await world.bus()
    with pytest.raises(BusError):
        await bus.ask("elsewhere.now", b"job", message_id="1")


async def test_a_fetch_takes_what_is_there_at_once_in_the_order_of_asking(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await jobs_of(bus, revision=revision)
    for number in range(5):
        await bus.ask(
            subjects.render(revision, "now", f"s{number}", 7), b"%d" % number, message_id=f"{revision}.{number}"
        )
    began_s = asyncio.get_running_loop().time()
    jobs = await source.fetch(10, 30.0)
    assert asyncio.get_running_loop().time() - began_s < 10.0
    assert [(job.subject, job.data, job.deliveries) for job in jobs] == [
        (subjects.render(revision, "now", f"s{number}", 7), b"%d" % number, 1) for number in range(5)
    ]


async def test_a_fetch_never_takes_more_than_it_asked_for(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await jobs_of(bus, revision=revision)
    for number in range(5):
        await bus.ask(subjects.render(revision, "now", "s", number), b"%d" % number, message_id=f"{revision}.{number}")
    assert [job.data for job in await source.fetch(2, 1.0)] == [b"0", b"1"]
    assert [job.data for job in await source.fetch(2, 0)] == [b"2", b"3"]
    assert [job.data for job in await source.fetch(2, 0)] == [b"4"]


async def test_a_job_says_how_long_its_asker_can_still_wait(world: World) -> None:
    edge, worker = await world.bus(), await world.bus()
    revision = fresh("r")
    source = await jobs_of(worker, revision=revision)
    await edge.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=f"{revision}.7", wait_s=1.0)
    await edge.ask(subjects.render(revision, "now", "s", 8), b"job", message_id=f"{revision}.8")
    told, silent = await source.fetch(8, 1.0)
    assert told.left_s is not None
    assert 0.5 < told.left_s <= 1.0
    assert silent.left_s is None
    # It waits in the queue for so long that its asker gives up, by the bus's own clock.
    await told.give_back(delay_s=1.1)
    (late,) = await source.fetch(1, 3.0)
    assert late.deliveries == 2
    assert late.left_s is not None
    assert -0.8 < late.left_s < 0


async def test_a_job_that_is_given_back_with_a_delay_stays_away_for_it(world: World) -> None:
    edge, worker = await world.bus(), await world.bus()
    revision = fresh("r")
    source = await jobs_of(worker, revision=revision)
    await edge.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(1, 1.0)
    await job.give_back(delay_s=0.4)
    assert not await source.fetch(1, 0.2)
    (again,) = await source.fetch(1, 3.0)
    assert again.deliveries == 2


async def test_a_waiting_fetch_returns_with_the_first_job_and_does_not_wait_for_more(world: World) -> None:
    worker, edge = await world.bus(), await world.bus()
    revision = fresh("r")
    source = await jobs_of(worker, revision=revision)
    fetch = asyncio.create_task(source.fetch(64, 10.0))
    await fetching(source)
    assert not fetch.done()
    began_s = asyncio.get_running_loop().time()
    await edge.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    assert [job.data for job in await fetch] == [b"job"]
    assert asyncio.get_running_loop().time() - began_s < 5.0


async def test_an_empty_fetch_returns_nothing_when_its_time_is_up(world: World) -> None:
    bus = await world.bus()
    source = await jobs_of(bus, revision=fresh("r"))
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    assert not await source.fetch(8, 0)
    assert loop.time() - began_s < 1.5
    began_s = loop.time()
    assert not await source.fetch(8, 0.15)
    assert 0.1 < loop.time() - began_s < 1.5


async def test_two_lanes_have_disjoint_jobs(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    now, ahead = await jobs_of(bus, "now", revision=revision), await jobs_of(bus, "ahead", revision=revision)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"now", message_id=f"{revision}.n")
    await bus.ask(subjects.render(revision, "ahead", "s", 7), b"ahead", message_id=f"{revision}.a")
    assert [job.data for job in await now.fetch(8, 1.0)] == [b"now"]
    assert [job.data for job in await ahead.fetch(8, 1.0)] == [b"ahead"]
    assert not await now.fetch(8, 0)


async def test_a_revision_gets_only_its_own_jobs(world: World) -> None:
    bus = await world.bus()
    old, new = fresh("old"), fresh("new")
    source = await jobs_of(bus, revision=old)
    await bus.ask(subjects.render(new, "now", "s", 7), b"new", message_id=new)
    assert not await source.fetch(8, 0.05)
    assert [job.data for job in await (await jobs_of(bus, revision=new)).fetch(8, 1.0)] == [b"new"]


async def test_two_workers_share_the_jobs_of_one_consumer(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    revision = fresh("r")
    sources = [await jobs_of(bus, revision=revision) for bus in (one, two)]
    for number in range(20):
        await one.ask(subjects.render(revision, "now", "s", number), b"%d" % number, message_id=f"{revision}.{number}")
    seen: list[list[int]] = [[], []]
    for _ in range(5):
        for mine, source in zip(seen, sources, strict=True):
            for job in await source.fetch(2, 0.5):
                mine.append(int(job.data))
                await job.ack()
    assert sorted(seen[0] + seen[1]) == list(range(20))
    assert min(len(mine) for mine in seen) > 0


async def test_a_job_that_is_not_acked_comes_back_after_the_ack_wait_and_says_so(world: World) -> None:
    dying, other = await world.bus(), await world.bus()
    revision = fresh("r")
    loop = asyncio.get_running_loop()
    source = await jobs_of(dying, revision=revision, ack_wait_s=0.2)
    await dying.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    began_s = loop.time()
    assert job.deliveries == 1
    (again,) = await (await jobs_of(other, revision=revision, ack_wait_s=0.2)).fetch(8, 2.0)
    assert 0.1 < loop.time() - began_s < 2.0
    assert (again.data, again.deliveries) == (b"job", 2)
    await again.ack()
    assert not await source.fetch(8, 0.3)


async def test_an_acked_job_does_not_come_back(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await jobs_of(bus, revision=revision, ack_wait_s=0.1)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    await job.ack()
    assert not await source.fetch(8, 0.3)


async def test_a_job_in_progress_does_not_come_back_until_it_is_let_go(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await jobs_of(bus, revision=revision, ack_wait_s=0.25)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    for _ in range(4):
        assert not await source.fetch(8, 0.1)
        await job.in_progress()
    assert [again.deliveries for again in await source.fetch(8, 1.0)] == [2]


async def test_a_job_given_back_comes_at_once(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await jobs_of(bus, revision=revision, ack_wait_s=30.0)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    await job.give_back()
    (again,) = await source.fetch(8, 1.0)
    assert (again.data, again.deliveries) == (b"job", 2)


async def test_a_dropped_job_never_comes_back(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await jobs_of(bus, revision=revision, ack_wait_s=0.1)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    await job.drop()
    assert not await source.fetch(8, 0.3)


async def test_a_job_that_no_worker_takes_expires(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    await bus.ask(subjects.render(revision, "now", "s", 7), b"late", message_id=revision)
    # The server has a clock of its own, so the pause is real.
    await asyncio.sleep(LIMITS.render_max_age_s + 0.3)
    source = await jobs_of(bus, revision=revision)
    assert not await source.fetch(8, 0.05)
    # Its id is free again, so the block can be asked for anew.
    assert await bus.ask(subjects.render(revision, "now", "s", 7), b"late", message_id=revision)


async def test_a_cancelled_fetch_swallows_no_job(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await jobs_of(bus, revision=revision, ack_wait_s=30.0)
    seen: list[int] = []
    for number in range(30):
        fetch = asyncio.create_task(source.fetch(4, 5.0))
        # The pauses are what the test is about: from "before the request leaves" to "as the job arrives".
        await asyncio.sleep(0.0005 * (number % 6))
        ask = asyncio.create_task(
            bus.ask(subjects.render(revision, "now", "s", number), b"%d" % number, message_id=f"{revision}.{number}")
        )
        await asyncio.sleep(0.0004 * (number % 5))
        fetch.cancel()
        await asyncio.wait({fetch})
        if not fetch.cancelled():
            for job in fetch.result():
                seen.append(int(job.data))
                await job.ack()
        await ask
    while len(seen) < 30:
        jobs = await source.fetch(4, 2.0)
        assert jobs, f"lost: {sorted(set(range(30)) - set(seen))}"
        for job in jobs:
            seen.append(int(job.data))
            await job.ack()
    assert sorted(seen) == list(range(30))


async def test_a_worker_can_wait_for_two_lanes_at_once(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    sources = {lane: await jobs_of(bus, lane, revision=revision) for lane in subjects.LANES}
    pending = {asyncio.create_task(source.fetch(8, 10.0)): lane for lane, source in sources.items()}
    for source in sources.values():
        await fetching(source)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"quick", message_id=f"{revision}.1")
    done, _ = await asyncio.wait(pending, timeout=2.0, return_when=asyncio.FIRST_COMPLETED)
    (first,) = done
    assert pending.pop(first) == "now"
    assert [job.data for job in first.result()] == [b"quick"]
    await bus.ask(subjects.render(revision, "ahead", "s", 7), b"later", message_id=f"{revision}.2")
    ((second, lane),) = pending.items()
    assert lane == "ahead"
    assert [job.data for job in await asyncio.wait_for(second, 2.0)] == [b"later"]


async def test_closing_a_source_ends_its_fetch_and_leaves_the_jobs_to_others(world: World) -> None:
    leaving, staying = await world.bus(), await world.bus()
    revision = fresh("r")
    source = await jobs_of(leaving, revision=revision, ack_wait_s=30.0)
    fetch = asyncio.create_task(source.fetch(8, 30.0))
    await fetching(source)
    await source.close()
    await source.close()
    assert not await asyncio.wait_for(fetch, 2.0)
    assert not await source.fetch(8, 5.0)
    await staying.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    other = await jobs_of(staying, revision=revision, ack_wait_s=30.0)
    assert [job.data for job in await other.fetch(8, 2.0)] == [b"job"]
