from __future__ import annotations

import asyncio

import pytest

from services.contract.timebase import CHUNK_BYTES
from services.edge.listener.steering import PATIENCE_S
from tests.edge.fanout.world import settle, world
from tests.edge.support import LIVE

# --- readiness -------------------------------------------------------------------------------------------------------


async def test_an_edge_may_wait_for_its_first_renderer_before_it_is_ready_and_never_again() -> None:
    async with world(wait_for_renderers_s=60) as edge:
        await edge.tick(10)
        assert edge.health.failing == ("renderers",)
        await edge.announce(state="warming")
        await edge.tick(10)
        assert not edge.health.ready
        await edge.announce()
        await edge.tick(10)
        assert edge.health.ready
        # The renderers are gone: by now there is music to loop, and no listener is sent away.
        edge.clock.now_s += 30
        await edge.tick(10)
        assert edge.hub.streams.presences.ready(edge.clock.now_s) == []
        assert edge.health.ready


async def test_an_edge_waits_for_renderers_no_longer_than_its_setting_says() -> None:
    async with world(wait_for_renderers_s=2) as edge:
        await edge.tick(15)
        assert not edge.health.ready
        await edge.tick(15)
        assert edge.health.ready


async def test_an_edge_waits_for_no_renderer_by_default() -> None:
    async with world() as edge:
        assert edge.health.ready


async def test_an_edge_that_loses_the_bus_stays_ready_for_as_long_as_a_restart_of_it_takes() -> None:
    async with world() as edge:
        await edge.tick(10)
        edge.broker.go_away()
        await edge.tick(10)
        assert edge.health.ready
        condition = edge.health.condition("bus")
        assert condition is not None
        assert condition.detail == "not connected to NATS for 1 s"
        edge.clock.now_s += 15
        await edge.tick(10)
        assert edge.health.failing == ("bus",)
        edge.broker.come_back()
        await edge.tick(10)
        assert edge.health.ready
        # The time away before does not count any more.
        edge.broker.go_away()
        await edge.tick(10)
        assert edge.health.ready


# --- connections -----------------------------------------------------------------------------------------------------


async def test_places_are_counted_from_admission_to_release() -> None:
    async with world(max_connections=2) as edge:
        assert edge.hub.admit("a") is None
        assert edge.hub.admit("a") is None
        refusal = edge.hub.admit("a")
        assert refusal is not None
        assert (refusal.status, refusal.retry_after_s) == (503, 5)
        edge.hub.release("a")
        assert edge.hub.admit("b") is None
        assert edge.metric("auralis_listeners") == 2


async def test_client_numbers_are_used_again_the_lowest_first() -> None:
    async with world() as edge:
        connections = [edge.listen()[0] for _ in range(60)]
        assert [connection.number for connection in connections] == list(range(60))
        for number in (7, 3, 55):
            edge.hub.disconnect(connections[number])
        assert [edge.listen()[0].number for _ in range(4)] == [3, 7, 55, 60]
        await edge.tick(10)
        series = [
            sample.labels["client_id"]
            for family in edge.metrics.registry.collect()
            if family.name == "buffer_depth_chunks"
            for sample in family.samples
        ]
        assert len(series) == 50


async def test_a_broadcast_reaches_all_connections_and_none_that_has_gone() -> None:
    async with world() as edge:
        (first, gone_transport), (_, transport) = edge.listen(), edge.listen()
        edge.hub.disconnect(first)
        await edge.server.broadcast_chunk(bytes(CHUNK_BYTES))
        assert gone_transport.chunks == []
        assert transport.chunks == [LIVE]


# --- changes of stream that are held back ----------------------------------------------------------------------------


async def test_a_held_back_change_goes_on_without_waiting_for_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as edge:
        alarms = Alarms(monkeypatch)
        await edge.announce()
        connection, _ = edge.listen(events=True)
        await settle()
        await edge.render(0, 1, 2)
        edge.say(connection, "update", bpm=100)
        edge.say(connection, "update", bpm=110)
        assert [bpm(stream_id) for stream_id in connection.listener.stream_ids] == [70, 100]
        ((delay_s, wake),) = alarms.set
        assert delay_s == pytest.approx(PATIENCE_S)
        edge.clock.forward(PATIENCE_S + 0.001)
        wake()
        assert [bpm(stream_id) for stream_id in connection.listener.stream_ids] == [70, 110]
        assert len(alarms.set) == 1


async def test_a_listener_that_stops_with_a_change_held_back_sets_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """It did once, again and again without a pause, until the client had answered the close."""
    async with world() as edge:
        alarms = Alarms(monkeypatch)
        await edge.announce()
        connection, transport = edge.listen(events=True)
        await settle()
        await edge.render(0, 1, 2)
        edge.say(connection, "update", bpm=100)
        edge.say(connection, "update", bpm=110)
        edge.say(connection, "stop")
        assert transport.closed is not None
        assert connection.alarm is None
        assert len(alarms.set) == 1


class Alarms:
    """Records the timers that are set in place of setting them.

    Attributes:
        set: (delay in seconds, callback).
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set: list[tuple[float, object]] = []
        loop = asyncio.get_running_loop()
        real = loop.call_later

        def call_later(delay_s: float, callback: object, *args: object) -> asyncio.TimerHandle:
            if not args and getattr(callback, "__name__", "") == "wake":
                self.set.append((delay_s, callback))
                return real(1e6, lambda: None)
            return real(delay_s, callback, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "call_later", call_later)


def bpm(stream_id: str) -> int:
    return int(stream_id.split("-")[2])
