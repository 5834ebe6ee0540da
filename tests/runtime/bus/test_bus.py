"""What every bus does, whichever adapter it is."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.contract import subjects
from services.runtime.bus import Bus, BusError, BusFullError, JobSource, Message
from tests.runtime.bus.conftest import LIMITS, World, fresh, stored, until


async def _jobs(bus: Bus, lane: subjects.Lane = "now", *, revision: str, ack_wait_s: float = 5.0) -> JobSource:
    return await bus.jobs(
        subjects.render_consumer(revision, lane), subjects.render_filter(revision, lane), ack_wait_s=ack_wait_s
    )


# --- publish and subscribe -------------------------------------------------------------------------------------------


async def test_a_subscriber_hears_what_another_connection_publishes_in_order(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    heard: list[Message] = []
    await one.subscribe("song.*", heard.append)
    for number in range(5):
        await two.publish("song.a", bytes([number]), reply="answer.here")
    await two.publish("other.a", b"not for us")
    await two.publish("song.b", b"last")
    await until(lambda: len(heard) >= 6)
    assert heard == [*(Message("song.a", bytes([n]), "answer.here") for n in range(5)), Message("song.b", b"last", "")]


async def test_a_message_published_right_after_subscribe_returns_is_heard(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    for number in range(20):
        heard: list[Message] = []
        subscription = await one.subscribe(f"race.{number}", heard.append)
        await two.publish(f"race.{number}", b"x")
        await until(lambda heard=heard: bool(heard))  # type: ignore[misc]
        await subscription.close()


async def test_a_closed_subscription_hears_nothing_more(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    heard: list[Message] = []
    control: list[Message] = []
    subscription = await one.subscribe("song", heard.append)
    await one.subscribe("song", control.append)
    await two.publish("song", b"1")
    await until(lambda: len(control) == 1)
    await subscription.close()
    await subscription.close()
    await two.publish("song", b"2")
    await until(lambda: len(control) == 2)
    assert [message.data for message in heard] == [b"1"]


async def test_a_callback_that_raises_is_counted_and_the_next_message_is_delivered(world: World) -> None:
    bus = await world.bus()
    heard: list[bytes] = []

    def callback(message: Message) -> None:
        if message.data == b"bad":
            raise ValueError("a bad message")
        heard.append(message.data)

    await bus.subscribe("song", callback)
    await bus.publish("song", b"bad")
    await bus.publish("song", b"good")
    await until(lambda: heard == [b"good"])
    assert world.metrics.callback_errors._value.get() == 1


async def test_a_flood_drops_the_oldest_messages_and_counts_them(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    heard: list[int] = []
    await one.subscribe("flood", lambda message: heard.append(int(message.data)))
    flood = 3000
    for number in range(flood):
        await two.publish("flood", b"%d" % number)
    await until(lambda: bool(heard) and heard[-1] == flood - 1)
    assert heard == sorted(heard)
    assert len(heard) < flood
    assert world.dropped("subscription_oldest") == flood - len(heard)


async def test_a_bus_that_is_not_connected_refuses_to_publish_with_a_sentence(world: World) -> None:
    bus = world.make(world.metrics)
    assert not bus.connected
    with pytest.raises(BusError, match="bus is"):
        await bus.publish("song", b"1")
    with pytest.raises(BusError, match="bus is"):
        await bus.ask("auralis.render.r.now.s", b"1", message_id="1")
    assert await bus.history("auralis.audio.s") == ()
    assert await bus.failures("bucket", "key") == 0
    await bus.close()


async def test_a_subscription_made_before_connecting_is_live_afterwards(world: World) -> None:
    bus = world.make(world.metrics)
    world.buses.append(bus)
    heard: list[bytes] = []
    await bus.subscribe("early", lambda message: heard.append(message.data))
    await bus.connect()
    await bus.connect()
    await bus.publish("early", b"bird")
    await until(lambda: heard == [b"bird"])


async def test_closing_twice_is_harmless_and_a_closed_bus_is_not_connected(world: World) -> None:
    bus = await world.bus()
    assert bus.connected
    await bus.close()
    await bus.close()
    assert not bus.connected


# --- gather ----------------------------------------------------------------------------------------------------------


async def test_gather_yields_the_answer_of_everybody_who_listens(world: World) -> None:
    asking = await world.bus()
    tasks: set[asyncio.Task[None]] = set()
    for number in range(3):
        bus = await world.bus()

        def answer(message: Message, bus: Bus = bus, number: int = number) -> None:
            tasks.add(asyncio.ensure_future(bus.publish(message.reply, message.data + b"%d" % number)))

        await bus.subscribe("who", answer)
    answers = [message.data async for message in asking.gather("who", b"here", wait_s=0.3)]
    assert sorted(answers) == [b"here0", b"here1", b"here2"]
    await asyncio.gather(*tasks)


async def test_gather_ends_at_once_when_nobody_listens(world: World) -> None:
    bus = await world.bus()
    began_s = asyncio.get_running_loop().time()
    assert [message async for message in bus.gather("nobody", b"", wait_s=5.0)] == []
    assert asyncio.get_running_loop().time() - began_s < 2.0


async def test_gather_left_early_leaves_nothing_behind(world: World) -> None:
    bus = await world.bus()
    tasks: set[asyncio.Task[None]] = set()
    await bus.subscribe("who", lambda message: tasks.add(asyncio.ensure_future(bus.publish(message.reply, b"me"))))
    async with contextlib.aclosing(bus.gather("who", b"", wait_s=30.0)) as answers:
        async for message in answers:
            assert message.data == b"me"
            break
    await asyncio.gather(*tasks)


async def test_more_answers_than_gather_holds_are_dropped_and_counted(world: World) -> None:
    asking, bus = await world.bus(), await world.bus()
    many = 60

    async def answer(reply: str) -> None:
        for _ in range(many):
            await bus.publish(reply, b"again")

    tasks: set[asyncio.Task[None]] = set()
    await bus.subscribe("who", lambda message: tasks.add(asyncio.ensure_future(answer(message.reply))))
    received = 0
    async for _ in asking.gather("who", b"", wait_s=0.3):
        received += 1
        if received == 1:
            # A reader that is slow once; the loop goes on and the answers pile up.
            await asyncio.sleep(0.1)
    lost = world.dropped("gather_newest" if world.adapter == "nats" else "subscription_oldest")
    assert received < many
    assert received + lost == many
    await asyncio.gather(*tasks)


# --- RENDER ----------------------------------------------------------------------------------------------------------


async def test_an_ask_is_taken_once_however_many_edges_ask(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    revision = fresh("r")
    subject = subjects.render(revision, "now", "s", 7)
    assert await one.ask(subject, b"job", message_id=f"{revision}.1")
    assert not await two.ask(subject, b"job", message_id=f"{revision}.1")
    (job,) = await (await _jobs(one, revision=revision)).fetch(8, 1.0)
    await job.ack()
    assert not await two.ask(subject, b"job", message_id=f"{revision}.1"), "an id is remembered beyond the job"


async def test_a_job_that_waits_or_is_being_done_cannot_be_asked_for_again(world: World) -> None:
    edge, worker = await world.bus(), await world.bus()
    revision = fresh("r")
    subject = subjects.render(revision, "now", "s", 7)
    assert await edge.ask(subject, b"job", message_id=f"{revision}.0")
    assert not await edge.ask(subject, b"job", message_id=f"{revision}.1")
    (job,) = await (await _jobs(worker, revision=revision)).fetch(8, 1.0)
    assert not await edge.ask(subject, b"job", message_id=f"{revision}.2")
    assert await edge.ask(subjects.render(revision, "now", "s", 8), b"job", message_id=f"{revision}.next")
    assert await edge.ask(subjects.render(revision, "ahead", "s", 7), b"job", message_id=f"{revision}.ahead")
    await job.ack()
    async with asyncio.timeout(5):
        # Its block was rendered, and lost on its way: a refused ask has not used up its id.
        while not await edge.ask(subject, b"job", message_id=f"{revision}.1"):
            await asyncio.sleep(0.01)


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
    source = await _jobs(two, "ahead", revision=revision)
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
    source = await _jobs(bus, revision=revision)
    for job in await source.fetch(5, 1.0):
        await job.ack()
    for attempt in range(100):
        with contextlib.suppress(BusFullError):
            assert await ask(2000 + attempt)
            return
        await asyncio.sleep(0.01)
    pytest.fail("the queue took nothing although jobs were done")


async def test_an_ask_outside_the_render_subjects_is_refused(world: World) -> None:
    bus = await world.bus()
    with pytest.raises(BusError):
        await bus.ask("elsewhere.now", b"job", message_id="1")


async def test_a_fetch_takes_what_is_there_at_once_in_the_order_of_asking(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await _jobs(bus, revision=revision)
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
    source = await _jobs(bus, revision=revision)
    for number in range(5):
        await bus.ask(subjects.render(revision, "now", "s", number), b"%d" % number, message_id=f"{revision}.{number}")
    assert [job.data for job in await source.fetch(2, 1.0)] == [b"0", b"1"]
    assert [job.data for job in await source.fetch(2, 0)] == [b"2", b"3"]
    assert [job.data for job in await source.fetch(2, 0)] == [b"4"]


async def test_a_waiting_fetch_returns_with_the_first_job_and_does_not_wait_for_more(world: World) -> None:
    worker, edge = await world.bus(), await world.bus()
    revision = fresh("r")
    source = await _jobs(worker, revision=revision)
    fetch = asyncio.create_task(source.fetch(64, 10.0))
    await asyncio.sleep(0.05)
    assert not fetch.done()
    began_s = asyncio.get_running_loop().time()
    await edge.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    assert [job.data for job in await fetch] == [b"job"]
    assert asyncio.get_running_loop().time() - began_s < 5.0


async def test_an_empty_fetch_returns_nothing_when_its_time_is_up(world: World) -> None:
    bus = await world.bus()
    source = await _jobs(bus, revision=fresh("r"))
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
    now, ahead = await _jobs(bus, "now", revision=revision), await _jobs(bus, "ahead", revision=revision)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"now", message_id=f"{revision}.n")
    await bus.ask(subjects.render(revision, "ahead", "s", 7), b"ahead", message_id=f"{revision}.a")
    assert [job.data for job in await now.fetch(8, 1.0)] == [b"now"]
    assert [job.data for job in await ahead.fetch(8, 1.0)] == [b"ahead"]
    assert not await now.fetch(8, 0)


async def test_a_revision_gets_only_its_own_jobs(world: World) -> None:
    bus = await world.bus()
    old, new = fresh("old"), fresh("new")
    source = await _jobs(bus, revision=old)
    await bus.ask(subjects.render(new, "now", "s", 7), b"new", message_id=new)
    assert not await source.fetch(8, 0.05)
    assert [job.data for job in await (await _jobs(bus, revision=new)).fetch(8, 1.0)] == [b"new"]


async def test_two_workers_share_the_jobs_of_one_consumer(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    revision = fresh("r")
    sources = [await _jobs(bus, revision=revision) for bus in (one, two)]
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
    source = await _jobs(dying, revision=revision, ack_wait_s=0.2)
    await dying.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    began_s = loop.time()
    assert job.deliveries == 1
    (again,) = await (await _jobs(other, revision=revision, ack_wait_s=0.2)).fetch(8, 2.0)
    assert 0.1 < loop.time() - began_s < 2.0
    assert (again.data, again.deliveries) == (b"job", 2)
    await again.ack()
    assert not await source.fetch(8, 0.3)


async def test_an_acked_job_does_not_come_back(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await _jobs(bus, revision=revision, ack_wait_s=0.1)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    await job.ack()
    assert not await source.fetch(8, 0.3)


async def test_a_job_in_progress_does_not_come_back_until_it_is_let_go(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await _jobs(bus, revision=revision, ack_wait_s=0.25)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    for _ in range(4):
        assert not await source.fetch(8, 0.1)
        await job.in_progress()
    assert [again.deliveries for again in await source.fetch(8, 1.0)] == [2]


async def test_a_job_given_back_comes_at_once(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await _jobs(bus, revision=revision, ack_wait_s=30.0)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    await job.give_back()
    (again,) = await source.fetch(8, 1.0)
    assert (again.data, again.deliveries) == (b"job", 2)


async def test_a_dropped_job_never_comes_back(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await _jobs(bus, revision=revision, ack_wait_s=0.1)
    await bus.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await source.fetch(8, 1.0)
    await job.drop()
    assert not await source.fetch(8, 0.3)


async def test_a_job_that_nobody_takes_expires(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    await bus.ask(subjects.render(revision, "now", "s", 7), b"late", message_id=revision)
    await asyncio.sleep(LIMITS.render_max_age_s + 0.3)
    source = await _jobs(bus, revision=revision)
    assert not await source.fetch(8, 0.05)
    # Its id is free again, so the block can be asked for anew.
    assert await bus.ask(subjects.render(revision, "now", "s", 7), b"late", message_id=revision)


async def test_a_cancelled_fetch_swallows_no_job(world: World) -> None:
    bus = await world.bus()
    revision = fresh("r")
    source = await _jobs(bus, revision=revision, ack_wait_s=30.0)
    seen: list[int] = []
    for number in range(30):
        fetch = asyncio.create_task(source.fetch(4, 5.0))
        # From "before the request left" to "just as the job arrives".
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
    sources = {lane: await _jobs(bus, lane, revision=revision) for lane in subjects.LANES}
    pending = {asyncio.create_task(source.fetch(8, 10.0)): lane for lane, source in sources.items()}
    await asyncio.sleep(0.02)
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
    source = await _jobs(leaving, revision=revision, ack_wait_s=30.0)
    fetch = asyncio.create_task(source.fetch(8, 30.0))
    await asyncio.sleep(0.02)
    await source.close()
    await source.close()
    assert not await asyncio.wait_for(fetch, 2.0)
    assert not await source.fetch(8, 5.0)
    await staying.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    other = await _jobs(staying, revision=revision, ack_wait_s=30.0)
    assert [job.data for job in await other.fetch(8, 2.0)] == [b"job"]


# --- AUDIO -----------------------------------------------------------------------------------------------------------


async def test_history_is_the_newest_twenty_blocks_oldest_first(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    subject = subjects.audio(fresh("s"))
    assert not await one.history(subject)
    for number in range(25):
        await one.publish(subject, b"%d" % number)
    await stored(two, subject, b"24")
    kept = await two.history(subject)
    assert [message.data for message in kept] == [b"%d" % number for number in range(5, 25)]
    assert {message.subject for message in kept} == {subject}


@pytest.mark.parametrize("wanted", [1, 3, 20, 100])
async def test_history_gives_the_newest_when_fewer_are_wanted(world: World, wanted: int) -> None:
    bus = await world.bus()
    subject = subjects.audio(fresh("s"))
    for number in range(6):
        await bus.publish(subject, b"%d" % number)
    expected = [b"%d" % number for number in range(6)][-wanted:]
    await stored(bus, subject, b"5")
    assert [message.data for message in await bus.history(subject, max_messages=wanted)] == expected


async def test_history_of_one_stream_does_not_hold_another_ones_blocks(world: World) -> None:
    bus = await world.bus()
    mine, other = subjects.audio(fresh("s")), subjects.audio(fresh("s"))
    await bus.publish(other, b"other")
    await stored(bus, other, b"other")
    assert not await bus.history(mine)
    assert [message.data for message in await bus.history(other)] == [b"other"]
    assert not await bus.history(mine, max_messages=1)
    assert not await bus.history(other, max_messages=0)


async def test_a_block_arrives_whole(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    block = bytes(range(256)) * 690
    subject = subjects.audio(fresh("s"))
    heard: list[bytes] = []
    await one.subscribe(subject, lambda message: heard.append(message.data))
    await two.publish(subject, block)
    await until(lambda: bool(heard))
    assert heard == [block]
    await stored(one, subject, block)
    assert [message.data for message in await one.history(subject)] == [block]


# --- counters --------------------------------------------------------------------------------------------------------


async def test_failures_are_counted_across_connections_and_keys_are_apart(world: World) -> None:
    one, two = await world.bus(), await world.bus()
    key = fresh("c-dorian-70-50-drift-0")
    assert await one.failures("auralis-test", key) == 0
    assert await one.count_failure("auralis-test", key, ttl_s=60) == 1
    assert await two.count_failure("auralis-test", key, ttl_s=60) == 2
    assert await one.failures("auralis-test", key) == 2
    assert await one.failures("auralis-test", key + "1") == 0


async def test_failures_counted_at_the_same_time_are_all_counted(world: World) -> None:
    buses = [await world.bus() for _ in range(4)]
    key = fresh("k")
    counts = await asyncio.gather(*(bus.count_failure("auralis-test", key, ttl_s=60) for bus in buses))
    assert sorted(counts) == [1, 2, 3, 4]


async def test_a_counter_is_forgotten_some_time_after_its_last_change(world: World) -> None:
    bus = await world.bus()
    assert await bus.count_failure("auralis-short", "k", ttl_s=0.6) == 1
    await asyncio.sleep(0.4)
    assert await bus.count_failure("auralis-short", "k", ttl_s=0.6) == 2
    await asyncio.sleep(0.4)
    assert await bus.failures("auralis-short", "k") == 2
    await asyncio.sleep(0.6)
    assert await bus.failures("auralis-short", "k") == 0


# --- a server that comes back empty ----------------------------------------------------------------------------------


async def test_everything_works_again_after_the_server_came_back_empty(world: World) -> None:
    worker, edge = await world.bus(), await world.bus()
    revision = fresh("r")
    audio = subjects.audio(fresh("s"))
    heard: list[bytes] = []
    await edge.subscribe(audio, lambda message: heard.append(message.data))
    source = await _jobs(worker, revision=revision)
    waiting = asyncio.create_task(source.fetch(8, 30.0))
    await worker.count_failure("auralis-test", "k", ttl_s=60)
    reconnected = [asyncio.Event(), asyncio.Event()]
    worker.on_reconnect(reconnected[0].set)
    edge.on_reconnect(reconnected[1].set)

    await world.restart_empty()
    async with asyncio.timeout(10):
        for event in reconnected:
            await event.wait()

    assert worker.connected
    assert edge.connected
    assert await edge.ask(subjects.render(revision, "now", "s", 7), b"job", message_id=revision)
    (job,) = await asyncio.wait_for(waiting, 5.0)
    await worker.publish(audio, b"block")
    await job.ack()
    await until(lambda: heard == [b"block"])
    await stored(edge, audio, b"block")
    assert [message.data for message in await edge.history(audio)] == [b"block"]
    assert await edge.failures("auralis-test", "k") == 0
    assert await edge.count_failure("auralis-test", "k", ttl_s=60) == 1
    assert world.metrics.reconnects._value.get() == 2
