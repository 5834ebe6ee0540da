"""What every bus does, whichever adapter it is."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.contract import subjects
from services.runtime.bus import Bus, BusError, Message
from tests.runtime.bus.conftest import World, fresh, jobs_of, stored
from tests.support.waiting import until

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


async def test_gather_yields_the_answers_of_all_subscribers(world: World) -> None:
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


async def test_gather_ends_at_once_without_a_subscriber(world: World) -> None:
    bus = await world.bus()
    began_s = asyncio.get_running_loop().time()
    assert [message async for message in bus.gather("unheard", b"", wait_s=5.0)] == []
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
            # The pause is what the test is about: a reader that is slow once, while answers pile up.
            await asyncio.sleep(0.1)
    lost = world.dropped("gather_newest" if world.adapter == "nats" else "subscription_oldest")
    assert received < many
    assert received + lost == many
    await asyncio.gather(*tasks)


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
    # The server has a clock of its own, so the pauses are real.
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
    source = await jobs_of(worker, revision=revision)
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
