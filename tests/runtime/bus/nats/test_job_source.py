"""Jobs from a real server: late ones, unfetched ones, and a consumer that is gone."""

from __future__ import annotations

import asyncio

from nats.aio.client import Client

from services.contract import subjects
from services.runtime.bus.limits import BusLimits
from tests.runtime.bus.conftest import fetching, fresh
from tests.runtime.bus.nats.conftest import BLOCK, Fleet, api
from tests.support.metrics import sample_value
from tests.support.nats import NatsServer
from tests.support.waiting import until


async def test_a_consumer_that_vanishes_under_a_waiting_fetch_is_made_again(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"))
    waiting = asyncio.create_task(source.fetch(8, 10.0))
    await fetching(source)
    assert (await api(admin, "CONSUMER.DELETE.RENDER.now-r"))["success"]
    assert await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    assert [job.data for job in await asyncio.wait_for(waiting, 5)] == [b"job"]


async def test_consumers_of_a_revision_that_no_worker_runs_vanish_by_themselves(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-old", subjects.render_filter("old", "now"), ack_wait_s=1.5)
    await source.fetch(1, 0)
    config = (await api(admin, "CONSUMER.INFO.RENDER.now-old"))["config"]
    assert config["inactive_threshold"] == 60_000_000_000
    assert config["ack_wait"] == 1_500_000_000
    assert config["max_deliver"] == -1
    assert config["max_ack_pending"] >= 1000


async def test_a_job_that_arrived_and_was_not_fetched_is_given_back_when_the_worker_closes(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    leaving, staying = fleet.bus(nats_server.url), fleet.bus(nats_server.url)
    await leaving.connect()
    await staying.connect()
    source = await leaving.jobs("now-r", subjects.render_filter("r", "now"), ack_wait_s=30.0)
    fetch = asyncio.create_task(source.fetch(8, 30.0))
    await fetching(source)
    fetch.cancel()
    await asyncio.wait({fetch})
    # The pull request is still at the server, so the job comes to us although no caller waits for it.
    await staying.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    await until(lambda: bool(source._arrived))  # type: ignore[attr-defined]
    await leaving.close()
    other = await staying.jobs("now-r", subjects.render_filter("r", "now"), ack_wait_s=30.0)
    (job,) = await other.fetch(8, 2.0)
    assert (job.data, job.deliveries) == (b"job", 2)


async def test_late_jobs_beyond_the_bound_are_given_back_and_counted(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url, limits=BusLimits(late_jobs=2))
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"), ack_wait_s=30.0)
    fetch = asyncio.create_task(source.fetch(64, 30.0))
    await fetching(source)
    fetch.cancel()
    await asyncio.wait({fetch})
    # One pull request for 64 jobs waits at the server; 6 jobs are there before the next fetch.
    await asyncio.gather(
        *(
            bus.ask(subjects.render("r", "now", "s", number), b"%d" % number, message_id=str(number))
            for number in range(6)
        )
    )
    # Each job that the source has no capacity for is given back at once, and delivered again and again.
    await until(lambda: sample_value(bus._messaging.metrics.dropped, policy="late_jobs") >= 4)
    assert len(source._arrived) <= 2  # type: ignore[attr-defined]
    seen: set[bytes] = set()
    async with asyncio.timeout(5):
        while len(seen) < 6:
            for job in await source.fetch(64, 1.0):
                seen.add(job.data)
                await job.ack()
    assert seen == {b"%d" % number for number in range(6)}


async def test_a_job_that_waited_longer_than_its_ack_wait_is_not_handed_out_twice(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"), ack_wait_s=0.2)
    fetch = asyncio.create_task(source.fetch(8, 30.0))
    await fetching(source)
    fetch.cancel()
    await asyncio.wait({fetch})
    await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    await until(lambda: bool(source._arrived))  # type: ignore[attr-defined]
    # Longer than the ack wait, by the server's own clock.
    await asyncio.sleep(0.3)
    jobs = await source.fetch(8, 2.0)
    assert [(job.data, job.deliveries) for job in jobs] == [(b"job", 2)]
    await jobs[0].ack()
    assert not await source.fetch(8, 0.3)


async def test_two_hundred_streams_asked_in_one_burst_are_delivered_within_a_second(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    edge, worker = fleet.bus(nats_server.url), fleet.bus(nats_server.url)
    await edge.connect()
    await worker.connect()
    revision = fresh("r")
    source = await worker.jobs(f"now-{revision}", subjects.render_filter(revision, "now"))
    heard: set[str] = set()
    await edge.subscribe("auralis.audio.*", lambda message: heard.add(message.subject))
    names = [f"s{number}" for number in range(200)]

    async def work() -> None:
        while len(heard) < len(names):
            for job in await source.fetch(64, 0.2):
                await worker.publish(subjects.audio(job.data.decode()), BLOCK)
                await job.ack()
            await asyncio.sleep(0)

    working = asyncio.create_task(work())
    async with asyncio.timeout(10):  # a second where the machine is idle
        taken = await asyncio.gather(
            *(
                edge.ask(subjects.render(revision, "now", name, 7), name.encode(), message_id=f"{revision}.{name}")
                for name in names
            )
        )
        await working
    assert all(taken)
    assert len(heard) == 200
