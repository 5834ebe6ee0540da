"""The hub with a clock that stands still and connections that only listen: ticks are called by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.contract import subjects
from services.contract.spec import StreamSpec
from services.contract.timebase import tick_at
from services.edge.fanout import streams as module
from services.edge.fanout.connection import Connection
from services.edge.fanout.hub import Hub
from services.edge.listener.payloads import Format, Payload
from services.edge.listener.settings import ListenerSettings
from services.edge.listener.tiers import TierLimits
from services.edge.metrics import EdgeMetrics
from services.edge.stream.demand import LEAD_S, URGENT_REASK_S
from services.edge.streaming_server import StreamingServer
from services.runtime.bus import BusError
from services.runtime.bus.limits import BusLimits
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.health import Health
from services.runtime.metrics import PrometheusMetrics
from services.runtime.settings import EdgeSettings
from tests.edge.support import NOW_S, SPEC, StillClock, block, presence


class Ear:
    """A connection's transport that keeps what it is sent."""

    raw_socket = None

    def __init__(self) -> None:
        self.payloads: list[Payload] = []
        self.closed: tuple[int, str] | None = None
        self.backlog = 0
        self.wants_writable = False
        self.on_stall: Callable[[], None] = lambda: None

    async def stall(self, backlog: int) -> None:
        self.backlog = backlog
        self.on_stall()
        await settle()

    def send(self, payload: Payload) -> None:
        self.payloads.append(payload)

    def send_all(self, payloads: Sequence[Payload]) -> None:
        self.payloads.extend(payloads)

    def backlog_bytes(self) -> int:
        return self.backlog

    def round_trip_s(self) -> float:
        return 0.0

    def notify_when_writable(self) -> None:
        self.wants_writable = True

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    @property
    def chunks(self) -> list[int]:
        return [payload.chunk_id for payload in self.payloads if payload.chunk_id >= 0]

    def events(self, kind: str) -> list[dict[str, Any]]:
        bodies = [json.loads(payload.data) for payload in self.payloads if payload.chunk_id < 0]
        return [body for body in bodies if body["type"] == kind]


class World:
    """A hub, and a bus on which the test itself is the renderer."""

    def __init__(self, broker: MemoryBroker, **settings: Any) -> None:
        self.clock = StillClock()
        self.broker = broker
        self.bus = MemoryBus(broker)
        self.other = MemoryBus(broker)
        self.metrics = PrometheusMetrics()
        self.health = Health()
        listeners = ListenerSettings(
            tiers=TierLimits.clamped("normal", min_capacity_ms=200, max_capacity_ms=3000),
            chunks_per_s=50,
            secret=b"s",
            fill_chunks=25,
            fill_chunks_per_s=1000,
        )
        self.hub = Hub(
            replace(EdgeSettings(), **settings),
            listeners,
            bus=self.bus,
            clock=self.clock,
            metrics=EdgeMetrics(self.metrics),
            health=self.health,
            instance="edge-1",
            server=StreamingServer(self.clock),
        )

    def listen(self, spec: StreamSpec = SPEC, *, events: bool = False) -> tuple[Connection, Ear]:
        connection = self.hub.connect(format_=Format.JSON, events=events, address="a")
        ear = Ear()
        ear.on_stall = lambda: self.hub.stalled(connection)
        connection.transport = ear
        self.say(connection, "start", **spec.to_params())
        return connection, ear

    def say(self, connection: Connection, action: str, **params: object) -> None:
        self.hub.receive(connection, json.dumps({"type": "control", "action": action, "params": params}))

    async def render(self, *offsets: int, spec: StreamSpec = SPEC) -> None:
        for offset in offsets:
            number = int(self.clock.now_s) + offset
            await self.other.publish(subjects.audio(spec.stream_id), block(number, spec).encode())
        await settle()

    async def here(self, **changes: object) -> None:
        await self.other.publish(subjects.PRESENCE, presence(**changes).encode())
        await settle()

    async def tick(self, count: int = 1) -> None:
        for _ in range(count):
            live = tick_at(self.clock.now_s) + 1
            self.clock.now_s = live / 10 + 0.0001
            self.hub.tick(live)
        await settle()

    def asks(self) -> list[str]:
        return self.broker.queue.message_ids

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def world(broker: MemoryBroker | None = None, **settings: Any) -> AsyncIterator[World]:
    made = World(broker or MemoryBroker(), **settings)
    await made.other.connect()
    # The test moves time; the loop of ticks would move it too.
    never: Callable[[], Awaitable[None]] = asyncio.Event().wait  # type: ignore[assignment]
    made.hub._run_ticks = never  # type: ignore[method-assign, assignment]
    await made.hub.start()
    await settle()
    try:
        yield made
    finally:
        await made.hub.stop()
        await made.bus.close()
        await made.other.close()


async def test_the_first_blocks_are_asked_for_at_once_and_sent_as_soon_as_they_come() -> None:
    async with world() as edge:
        await edge.here()
        _, ear = edge.listen()
        await settle()
        now = int(NOW_S)
        # As edges that have asked for them all along would be asking by now.
        asked = int(LEAD_S / URGENT_REASK_S), int((LEAD_S - 1) / URGENT_REASK_S)
        assert edge.asks()[:2] == [f"r1.now.{SPEC.stream_id}.{now + index}.{asked[index]}" for index in (0, 1)]
        assert ear.payloads == []
        # No tick has passed, and yet there is sound.
        await edge.render(0, 1)
        assert ear.chunks == [*range(now * 10, now * 10 + 10)]


async def test_what_jetstream_kept_is_played_without_asking() -> None:
    async with world() as edge:
        await edge.here()
        for offset in range(-3, 5):
            await edge.other.publish(subjects.audio(SPEC.stream_id), block(int(NOW_S) + offset).encode())
        _, ear = edge.listen()
        await settle()
        assert len(ear.chunks) == 10
        assert edge.asks() == []


async def test_listeners_of_one_stream_get_the_very_same_payload() -> None:
    async with world() as edge:
        await edge.here()
        ears = [edge.listen()[1] for _ in range(5)]
        await settle()
        await edge.render(0, 1, 2)
        await edge.tick(3)
        assert len({id(ear.payloads[-1]) for ear in ears}) == 1
        assert len(ears[0].chunks) == 13


async def test_no_renderer_means_no_asking_until_one_says_it_is_there() -> None:
    async with world() as edge:
        edge.listen()
        await settle()
        await edge.tick(10)
        assert edge.asks() == []
        await edge.here(state="warming")
        assert edge.asks() == []
        await edge.here()
        assert edge.asks()


async def test_an_edge_may_wait_for_its_first_renderer_before_it_is_ready_and_never_again() -> None:
    async with world(wait_for_renderers_s=60) as edge:
        await edge.tick(10)
        assert edge.health.failing == ("renderers",)
        await edge.here(state="warming")
        await edge.tick(10)
        assert not edge.health.ready
        await edge.here()
        await edge.tick(10)
        assert edge.health.ready
        # They are gone: there is music to loop by now, and nobody is sent away.
        edge.clock.now_s += 30
        await edge.tick(10)
        assert edge.hub.streams.presences.ready(edge.clock.now_s) == []
        assert edge.health.ready


async def test_an_edge_waits_for_renderers_no_longer_than_it_is_told() -> None:
    async with world(wait_for_renderers_s=2) as edge:
        await edge.tick(15)
        assert not edge.health.ready
        await edge.tick(15)
        assert edge.health.ready


async def test_an_edge_that_is_told_nothing_waits_for_no_renderer() -> None:
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
        # From anew: what it was before counts no more.
        edge.broker.go_away()
        await edge.tick(10)
        assert edge.health.ready


async def test_asks_beyond_the_queue_are_dropped_counted_and_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_QUEUE", 2)
    async with world() as edge:
        await edge.here()
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
        await edge.here()
        edge.listen()
        await settle()
        assert edge.metric("auralis_asks_total", lane="now", result="full") >= 1


async def test_a_lost_bus_is_counted_and_the_tick_goes_on() -> None:
    async with world() as edge:
        await edge.here()
        _, ear = edge.listen()
        await settle()
        await edge.render(0, 1, 2, 3, 4)
        edge.broker.go_away()
        await edge.tick(80)
        assert edge.metric("auralis_asks_total", lane="ahead", result="error") >= 1
        assert ear.chunks == [*range(int(NOW_S) * 10, int(NOW_S) * 10 + 90)]
        assert edge.health.ready, "what it has loops"
        assert edge.metric("auralis_degraded_streams") == 1
        assert edge.metric("auralis_loudness_min_dbfs") == pytest.approx(-15.4, abs=3)


async def test_blocks_that_do_not_come_are_missed_and_make_an_overload_only_where_renderers_are() -> None:
    async with world() as edge:
        await edge.here()
        ears = [edge.listen(StreamSpec(seed=seed))[1] for seed in range(4)]
        await settle()
        for seed in range(4):
            await edge.render(0, 1, spec=StreamSpec(seed=seed))
        for _ in range(6):
            await edge.here()
            await edge.tick(10)
        assert edge.metric("auralis_blocks_missing_total") >= 12
        assert edge.hub.overloaded
        assert edge.metric("auralis_overloaded") == 1
        _, refused = edge.listen(StreamSpec(seed=99))
        assert refused.closed is not None
        assert refused.closed[0] == 1013
        # A stream that plays takes more listeners all the same.
        _, welcome = edge.listen(StreamSpec(seed=0))
        assert welcome.chunks
        assert all(len(ear.chunks) == 70 for ear in ears)


async def test_without_any_renderer_missing_blocks_are_no_overload() -> None:
    async with world() as edge:
        await edge.here()
        for seed in range(4):
            edge.listen(StreamSpec(seed=seed))
        await settle()
        for seed in range(4):
            await edge.render(0, 1, spec=StreamSpec(seed=seed))
        edge.clock.forward(6)
        await edge.tick(60)
        assert edge.metric("auralis_blocks_missing_total") >= 12
        assert not edge.hub.overloaded


async def test_a_stream_lingers_for_whoever_comes_back_and_is_not_asked_for_meanwhile() -> None:
    async with world() as edge:
        await edge.here()
        connection, _ = edge.listen()
        await settle()
        await edge.render(0, 1, 2, 3, 4)
        edge.hub.disconnect(connection)
        edge.hub.disconnect(connection)
        before = edge.asks()
        await edge.tick(20)
        assert edge.asks() == before
        _, ear = edge.listen()
        assert len(ear.chunks) == 10
        assert edge.metric("auralis_streams") == 1


async def test_a_stream_is_forgotten_twelve_seconds_after_its_last_listener() -> None:
    async with world() as edge:
        await edge.here()
        connection, _ = edge.listen()
        await settle()
        edge.hub.disconnect(connection)
        await edge.tick(115)
        assert edge.hub.ring_of(SPEC.stream_id) is not None
        await edge.tick(20)
        assert edge.hub.ring_of(SPEC.stream_id) is None
        # Nobody takes its blocks any more.
        assert subjects.audio(SPEC.stream_id) not in edge.broker.subscribed


async def test_the_least_recently_heard_stream_makes_place_for_a_new_one() -> None:
    async with world(max_streams=2) as edge:
        await edge.here()
        first, _ = edge.listen(StreamSpec(seed=1))
        second, _ = edge.listen(StreamSpec(seed=2))
        _, refused = edge.listen(StreamSpec(seed=3))
        assert refused.closed is not None
        edge.hub.disconnect(second)
        edge.clock.forward(0.5)
        edge.hub.disconnect(first)
        _, taken = edge.listen(StreamSpec(seed=3))
        assert taken.closed is None
        assert edge.hub.ring_of(StreamSpec(seed=2).stream_id) is None
        assert edge.hub.ring_of(StreamSpec(seed=1).stream_id) is not None


async def test_a_stream_that_turns_out_unrenderable_is_refused_and_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_UNRENDERABLE", 3)
    async with world() as edge:
        await edge.here()
        _, ear = edge.listen(events=True)
        await settle()
        for _ in range(3):
            edge.broker.count(subjects.POISON_BUCKET, SPEC.stream_id, 300)
        await edge.tick(50)
        assert ear.closed is not None
        assert ear.closed[0] == 1008
        assert ear.events("error")[0]["message"] == "this stream cannot be rendered; choose another"
        _, again = edge.listen()
        assert again.closed is not None
        for seed in range(10):
            edge.hub.streams._unrenderable[f"s{seed}"] = 1e12
            edge.hub.streams._remember_unrenderable(StreamSpec(seed=seed).stream_id, edge.clock.now())
        assert len(edge.hub.streams._unrenderable) == 3


async def test_a_stalled_connection_is_sent_nothing_and_goes_on_when_it_has_room() -> None:
    async with world() as edge:
        await edge.here()
        connection, ear = edge.listen()
        await settle()
        await edge.render(0, 1, 2, 3, 4)
        await edge.tick(2)
        await ear.stall(300_000)
        await edge.tick(3)
        assert len(ear.chunks) == 12
        assert ear.wants_writable
        ear.backlog = 1000
        edge.hub.on_writable(connection)
        assert len(ear.chunks) == 15


async def test_a_token_is_renewed_for_one_who_stays_with_his_cohort() -> None:
    async with world() as edge:
        await edge.here()
        connection, ear = edge.listen(events=True)
        await settle()
        for _ in range(39):
            await edge.render(0, 1, 2, 3, 4)
            await edge.tick(10)
        greeting, renewed = ear.events("hello")
        assert renewed["resume"] != greeting["resume"]
        assert renewed["chunk_id"] in ear.chunks
        assert connection.cohort is not None
        assert ear.chunks == list(range(ear.chunks[0], ear.chunks[-1] + 1))


async def test_who_was_left_out_of_a_beat_that_took_too_long_is_the_first_of_the_next() -> None:
    async with world() as edge:
        await edge.here()
        connections, ears = zip(*(edge.listen() for _ in range(4)), strict=True)
        await settle()
        await edge.render(0, 1, 2, 3, 4)
        await edge.tick()
        live = tick_at(edge.clock.now_s)
        before = [len(ear.chunks) for ear in ears]
        for connection, ear in zip(connections, ears, strict=True):
            # Writing takes its time, as it does for thousands.
            connection.send_all = lambda payloads, ear=ear: (ear.payloads.extend(payloads), edge.clock.forward(0.02))
            edge.hub._take_out(connection)
        got = []
        for step in (1, 2, 3, 4):
            edge.clock.now_s = (live + step) / 10 + 0.0001
            edge.hub._begin_tick(live + step)
            edge.hub._beat(live + step, 0, edge.clock.now_s + 0.01)
            got.append([len(ear.chunks) - count for ear, count in zip(ears, before, strict=True)])
        # One finds back to its cohort at each tick; nobody lacks anything in the end.
        assert got == [[1, 0, 0, 0], [2, 2, 0, 0], [3, 3, 3, 0], [4, 4, 4, 4]]


async def test_a_waiting_backlog_raises_the_tier() -> None:
    async with world() as edge:
        await edge.here()
        connection, ear = edge.listen()
        await settle()
        for _ in range(8):
            await edge.render(0, 1, 2, 3, 4)
            await ear.stall(300_000 if edge.clock.now() - NOW_S > 3 else 0)
            await edge.tick(10)
        assert connection.listener.tiers.tier in ("stable", "defensive")


async def test_a_subscription_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real_sleep = asyncio.sleep

    async def no_sleep(_: float) -> None:
        await real_sleep(0)

    monkeypatch.setattr(module.asyncio, "sleep", no_sleep)
    async with world() as edge:
        await edge.here()
        subscribe, tries = edge.bus.subscribe, 0

        async def fails_twice(subject: str, callback: Any) -> Any:
            nonlocal tries
            tries += 1
            if tries <= 2:
                raise BusError("a planted fault")
            return await subscribe(subject, callback)

        edge.bus.subscribe = fails_twice  # type: ignore[method-assign]
        _, ear = edge.listen()
        await settle()
        await edge.render(0, 1)
        assert tries == 3
        assert ear.chunks


async def test_a_drain_spreads_its_closes_and_takes_nobody_new() -> None:
    async with world(drain_s=0.5) as edge:
        await edge.here()
        pairs = [edge.listen(StreamSpec(seed=seed), events=True) for seed in range(5)]
        await settle()
        draining = asyncio.create_task(edge.hub.drain(settle_s=0.01))
        await asyncio.sleep(0.1)
        closed = sum(ear.closed is not None for _, ear in pairs)
        assert 1 <= closed < 5
        refusal = edge.hub.admit("b")
        assert refusal is not None
        assert refusal.status == 503
        while any(ear.closed is None for _, ear in pairs):
            await asyncio.sleep(0.01)
        for connection, _ in pairs:
            edge.hub.disconnect(connection)
        await draining
        assert {ear.closed[0] for _, ear in pairs if ear.closed} == {1012}
        assert edge.metric("auralis_closes_total", code="1012") == 5


async def test_an_edge_that_is_always_late_still_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as made:
        ticks = turns = 0

        def slow(_tick: int) -> None:
            nonlocal ticks
            ticks += 1
            made.clock.forward(0.3)
            if ticks == 20:
                # Ends the loop of ticks, which would otherwise hang this test where it never yields.
                raise asyncio.CancelledError

        monkeypatch.setattr(made.hub, "_begin_tick", slow)
        late = asyncio.create_task(Hub._run_ticks(made.hub))
        await asyncio.sleep(0)
        made.clock.forward(0.3)
        while not late.done():
            turns += ticks > 0
            await asyncio.sleep(0)
        assert ticks == 20
        assert turns >= 19


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


async def test_slots_are_used_again_the_lowest_first() -> None:
    async with world() as edge:
        connections = [edge.listen()[0] for _ in range(60)]
        assert [connection.slot for connection in connections] == list(range(60))
        for number in (7, 3, 55):
            edge.hub.disconnect(connections[number])
        assert [edge.listen()[0].slot for _ in range(4)] == [3, 7, 55, 60]
        await edge.tick(10)
        series = [
            sample.labels["client_id"]
            for family in edge.metrics.registry.collect()
            if family.name == "buffer_depth_chunks"
            for sample in family.samples
        ]
        assert len(series) == 50
