from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.contract import subjects
from services.contract.spec import StreamSpec
from services.edge.fanout import ask_queue, stream_opener
from services.edge.stream.demand import LEAD_S, URGENT_REASK_S
from services.runtime.bus import BusError
from services.runtime.bus.limits import BusLimits
from services.runtime.bus.memory import MemoryBroker
from tests.edge.fanout.world import settle, world
from tests.edge.support import NOW_S, SPEC, block

# --- asking ----------------------------------------------------------------------------------------------------------


async def test_the_first_blocks_are_asked_for_without_delay_and_sent_as_soon_as_they_arrive() -> None:
    async with world() as edge:
        await edge.announce()
        _, transport = edge.listen()
        await settle()
        now = int(NOW_S)
        # With the attempts of edges that have asked for these blocks all along.
        asked = int(LEAD_S / URGENT_REASK_S), int((LEAD_S - 1) / URGENT_REASK_S)
        assert edge.asks()[:2] == [f"r1.now.{SPEC.stream_id}.{now + index}.{asked[index]}" for index in (0, 1)]
        assert transport.payloads == []
        # No tick has passed, and yet there is sound.
        await edge.render(0, 1)
        assert transport.chunks == [*range(now * 10, now * 10 + 10)]


async def test_blocks_that_jetstream_kept_are_played_without_asking() -> None:
    async with world() as edge:
        await edge.announce()
        for offset in range(-3, 5):
            await edge.other.publish(subjects.audio(SPEC.stream_id), block(int(NOW_S) + offset).encode())
        _, transport = edge.listen()
        await settle()
        assert len(transport.chunks) == 10
        assert edge.asks() == []


async def test_nothing_is_asked_before_a_renderer_is_ready() -> None:
    async with world() as edge:
        edge.listen()
        await settle()
        await edge.tick(10)
        assert edge.asks() == []
        await edge.announce(state="warming")
        assert edge.asks() == []
        await edge.announce()
        assert edge.asks()


async def test_asks_beyond_the_queue_are_dropped_counted_and_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_queue, "QUEUE_ASKS", 2)
    async with world() as edge:
        await edge.announce()
        started = asyncio.Event()

        async def slow(*_: object, **__: object) -> bool:
            await started.wait()
            return True

        edge.bus.ask = slow  # type: ignore[method-assign]
        for seed in range(6):
            edge.listen(StreamSpec(seed=seed))
        await settle()

        def count(result: str) -> float:
            return sum(edge.metric("auralis_asks_total", lane=lane, result=result) for lane in subjects.LANES)

        assert count("dropped") > 0
        started.set()
        await settle()
        before = count("accepted")
        for _ in range(20):
            await edge.tick()
        assert count("accepted") > before


async def test_a_full_render_queue_is_counted() -> None:
    async with world(MemoryBroker(BusLimits(render_max_bytes=100))) as edge:
        await edge.announce()
        edge.listen()
        await settle()
        assert edge.metric("auralis_asks_total", lane="now", result="full") >= 1


async def test_a_lost_bus_is_counted_and_the_music_goes_on() -> None:
    async with world() as edge:
        await edge.announce()
        _, transport = edge.listen()
        await settle()
        await edge.render(0, 1, 2, 3, 4)
        edge.broker.go_away()
        await edge.tick(80)
        assert edge.metric("auralis_asks_total", lane="ahead", result="error") >= 1
        assert transport.chunks == [*range(int(NOW_S) * 10, int(NOW_S) * 10 + 90)]
        assert edge.health.ready, "what it has loops"
        assert edge.metric("auralis_degraded_streams") == 1
        assert edge.metric("auralis_loudness_min_dbfs") == pytest.approx(-15.4, abs=3)


# --- overload --------------------------------------------------------------------------------------------------------


async def test_missing_blocks_of_ready_renderers_are_an_overload() -> None:
    async with world() as edge:
        await edge.announce()
        transports = [edge.listen(StreamSpec(seed=seed))[1] for seed in range(4)]
        await settle()
        for seed in range(4):
            await edge.render(0, 1, spec=StreamSpec(seed=seed))
        for _ in range(6):
            await edge.announce()
            await edge.tick(10)
        assert edge.metric("auralis_blocks_missing_total") >= 12
        assert edge.hub.status()["overloaded"]
        assert edge.metric("auralis_overloaded") == 1
        _, refused = edge.listen(StreamSpec(seed=99))
        assert refused.closed is not None
        assert refused.closed[0] == 1013
        # A stream that plays takes more listeners all the same.
        _, accepted = edge.listen(StreamSpec(seed=0))
        assert accepted.chunks
        assert all(len(transport.chunks) == 70 for transport in transports)


async def test_missing_blocks_without_a_renderer_are_no_overload() -> None:
    async with world() as edge:
        await edge.announce()
        for seed in range(4):
            edge.listen(StreamSpec(seed=seed))
        await settle()
        for seed in range(4):
            await edge.render(0, 1, spec=StreamSpec(seed=seed))
        edge.clock.forward(6)
        await edge.tick(60)
        assert edge.metric("auralis_blocks_missing_total") >= 12
        assert not edge.hub.status()["overloaded"]


# --- opening and forgetting ------------------------------------------------------------------------------------------


async def test_a_stream_is_kept_for_a_listener_that_comes_back_and_not_asked_for_meanwhile() -> None:
    async with world() as edge:
        await edge.announce()
        connection, _ = edge.listen()
        await settle()
        await edge.render(0, 1, 2, 3, 4)
        edge.hub.disconnect(connection)
        edge.hub.disconnect(connection)
        before = edge.asks()
        await edge.tick(20)
        assert edge.asks() == before
        _, transport = edge.listen()
        assert len(transport.chunks) == 10
        assert edge.metric("auralis_streams") == 1


async def test_a_stream_is_forgotten_twelve_seconds_after_its_last_listener() -> None:
    async with world() as edge:
        await edge.announce()
        connection, _ = edge.listen()
        await settle()
        edge.hub.disconnect(connection)
        await edge.tick(115)
        assert edge.hub.ring_of(SPEC.stream_id) is not None
        await edge.tick(20)
        assert edge.hub.ring_of(SPEC.stream_id) is None
        # Its blocks are not subscribed to any more.
        assert subjects.audio(SPEC.stream_id) not in edge.broker.subscribed


async def test_the_stream_that_was_left_longest_ago_makes_way_for_a_new_one() -> None:
    async with world(max_streams=2) as edge:
        await edge.announce()
        first, _ = edge.listen(StreamSpec(seed=1))
        second, _ = edge.listen(StreamSpec(seed=2))
        _, refused = edge.listen(StreamSpec(seed=3))
        assert refused.closed is not None
        edge.hub.disconnect(second)
        edge.clock.forward(0.5)
        edge.hub.disconnect(first)
        _, accepted = edge.listen(StreamSpec(seed=3))
        assert accepted.closed is None
        assert edge.hub.ring_of(StreamSpec(seed=2).stream_id) is None
        assert edge.hub.ring_of(StreamSpec(seed=1).stream_id) is not None


async def test_an_unrenderable_stream_is_refused_and_remembered() -> None:
    async with world() as edge:
        await edge.announce()
        _, transport = edge.listen(events=True)
        await settle()
        for _ in range(3):
            edge.broker.count(subjects.POISON_BUCKET, SPEC.stream_id, 300)
        await edge.tick(50)
        assert transport.closed is not None
        assert transport.closed[0] == 1008
        assert transport.events("error")[0]["message"] == "this stream cannot be rendered; choose another"
        _, again = edge.listen()
        assert again.closed is not None
        edge.clock.forward(stream_opener.UNRENDERABLE_S + 1)
        _, much_later = edge.listen()
        assert much_later.closed is None


async def test_the_oldest_of_too_many_unrenderable_streams_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_opener, "MAX_UNRENDERABLE", 2)
    async with world() as edge:
        await edge.announce()
        specs = [StreamSpec(seed=seed) for seed in range(3)]
        for spec in specs:
            for _ in range(3):
                edge.broker.count(subjects.POISON_BUCKET, spec.stream_id, 300)
            _, transport = edge.listen(spec)
            await settle()
            assert transport.closed is not None
        now_s = edge.clock.now()
        opener = edge.hub.streams._opener
        assert [opener.is_unrenderable(spec.stream_id, now_s) for spec in specs] == [False, True, True]


async def test_a_subscription_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_opener, "RETRY_S", 0.0)
    async with world() as edge:
        await edge.announce()
        subscribe, tries = edge.bus.subscribe, 0

        async def fails_twice(subject: str, callback: Any) -> Any:
            nonlocal tries
            tries += 1
            if tries <= 2:
                raise BusError("a planted fault")
            return await subscribe(subject, callback)

        edge.bus.subscribe = fails_twice  # type: ignore[method-assign]
        _, transport = edge.listen()
        await settle()
        await edge.render(0, 1)
        assert tries == 3
        assert transport.chunks


async def test_a_subscription_that_is_made_after_its_stream_was_forgotten_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(max_streams=1) as edge:
        await edge.announce()
        subscribe, go_on = edge.bus.subscribe, asyncio.Event()

        async def slow(subject: str, callback: Any) -> Any:
            await go_on.wait()
            return await subscribe(subject, callback)

        monkeypatch.setattr(edge.bus, "subscribe", slow)
        connection, _ = edge.listen()
        await settle()
        edge.hub.disconnect(connection)
        edge.listen(StreamSpec(seed=2))
        assert edge.hub.ring_of(SPEC.stream_id) is None
        go_on.set()
        await settle()
        assert subjects.audio(SPEC.stream_id) not in edge.broker.subscribed
