"""The whole edge: a real uvicorn on a free port, a bus in memory, and a renderer that answers with known sounds."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import httpx
import jwt
import pytest
import pytest_asyncio
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol

from services.contract import subjects
from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES, tick_at
from services.contract.websocket import JSON_V1, PCM_V1, AudioFrame
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.settings import BufferSettings, Settings
from tests.edge.support import SPEC, Edge, TinyRenderer, block, pcm_of, presence, running_edge
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("server", ["own", "plain"])
START = {"type": "control", "action": "start", "params": {"key": "C", "bpm": 70, "intensity": 0.5}}
KEY = "a shared secret of thirty-two bytes"
SECRET = "signs resume tokens"  # noqa: S105 - of these tests only


@contextlib.asynccontextmanager
async def renderer(broker: MemoryBroker, **options: Any) -> AsyncIterator[TinyRenderer]:
    tiny = TinyRenderer(broker, **options)
    await tiny.start()
    try:
        yield tiny
    finally:
        await tiny.stop()


@contextlib.asynccontextmanager
async def playing(**options: Any) -> AsyncIterator[tuple[Edge, TinyRenderer, MemoryBroker]]:
    """An edge and a renderer."""
    broker = MemoryBroker()
    async with renderer(broker) as tiny, running_edge(broker, **options) as edge:
        await until(lambda: edge.service.hub.status()["renderers"] == 1)
        yield edge, tiny, broker


@dataclass
class Fleet:
    """What tests share that change nothing: two edges on one bus, and a renderer.

    Attributes:
        edge: with its own protocols, as `python -m services.edge` runs it.
        plain: as `uvicorn services.main:app` runs it.
    """

    edge: Edge
    plain: Edge
    tiny: TinyRenderer
    broker: MemoryBroker

    def named(self, name: str) -> Edge:
        return self.plain if name == "plain" else self.edge


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet() -> AsyncIterator[Fleet]:
    async with playing(secret=SECRET) as (edge, tiny, broker), running_edge(broker, plain=True, secret=SECRET) as plain:
        await until(lambda: plain.service.hub.status()["renderers"] == 1)
        yield Fleet(edge, plain, tiny, broker)


def connect(edge: Edge, protocol: str | None = None, **options: Any) -> Any:
    if protocol:
        options["subprotocols"] = [Subprotocol(protocol)]
    return websockets.connect(edge.ws, **{"compression": None, "max_size": None, **options})


async def say(ws: ClientConnection, action: str, **params: object) -> None:
    await ws.send(json.dumps({"type": "control", "action": action, "params": params}))


async def hear(ws: ClientConnection) -> dict[str, Any]:
    """The next message; of a binary one its fields."""
    data = await asyncio.wait_for(ws.recv(), 5)
    if isinstance(data, str):
        message: dict[str, Any] = json.loads(data)
        if message["type"] == "audio":
            message["pcm"] = base64.b64decode(message["data"])
        return message
    frame = AudioFrame.decode(data)
    return {
        "type": "audio",
        "chunk_id": frame.chunk_id,
        "buffer_depth": frame.buffer_depth,
        "current_tier": frame.current_tier,
        "timestamp": frame.timestamp,
        "pcm": bytes(frame.payload),
    }


async def hear_audio(ws: ClientConnection, count: int) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    while len(heard) < count:
        message = await hear(ws)
        if message["type"] == "audio":
            heard.append(message)
    return heard


async def hear_event(ws: ClientConnection, kind: str, **fields: object) -> dict[str, Any]:
    while True:
        message = await hear(ws)
        if message["type"] == kind and all(message.get(name) == value for name, value in fields.items()):
            return message


async def closed(ws: ClientConnection) -> tuple[int, str]:
    """Read to the end; the close code and reason."""
    async with asyncio.timeout(8):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await ws.recv()
    return ws.close_code or 0, ws.close_reason or ""


def unbroken(messages: list[dict[str, Any]]) -> bool:
    return all(after["chunk_id"] == before["chunk_id"] + 1 for before, after in pairwise(messages))


def rendered(chunk_id: int, spec: StreamSpec = SPEC, revision: str = "r1") -> bytes:
    start = chunk_id % 10 * CHUNK_BYTES
    return pcm_of(spec.stream_id, chunk_id // 10, revision)[start : start + CHUNK_BYTES]


# --- listening -------------------------------------------------------------------------------------------------------


@BOTH
async def test_the_guides_client_hears_unbroken_music_and_nothing_else(server: str, fleet: Fleet) -> None:
    async with connect(fleet.named(server), compression="deflate") as ws:
        await ws.send(json.dumps(START))
        messages = [await hear(ws) for _ in range(25)]
        assert {message["type"] for message in messages} == {"audio"}
        assert unbroken(messages)
        depths = [message["buffer_depth"] for message in messages]
        assert depths[:3] == [1, 2, 3]
        assert depths[-8:] == [10] * 8
        assert min(depths) >= 1
        assert {message["current_tier"] for message in messages} == {"normal"}
        assert all(message["pcm"] == rendered(message["chunk_id"]) for message in messages)
        assert max(abs(time.time() - message["timestamp"]) for message in messages[-1:]) < 0.5
        await say(ws, "stop")
        assert await closed(ws) == (1000, "stopped")


@BOTH
@pytest.mark.parametrize("protocol", [JSON_V1, PCM_V1])
async def test_a_client_with_a_subprotocol_is_greeted_and_hears_the_same(
    protocol: str, server: str, fleet: Fleet
) -> None:
    async with connect(fleet.named(server), protocol) as ws:
        assert ws.subprotocol == protocol
        await say(ws, "start")
        greeting = await hear(ws)
        assert greeting["type"] == "hello"
        messages = await hear_audio(ws, 15)
        assert messages[0]["chunk_id"] == greeting["chunk_id"]
        assert unbroken(messages)
        assert all(message["pcm"] == rendered(message["chunk_id"]) for message in messages)


async def test_an_unknown_subprotocol_is_not_taken(fleet: Fleet) -> None:
    async with connect(fleet.edge, "chat.v1") as ws:
        assert ws.subprotocol is None


async def test_ten_listeners_share_one_stream_one_rendering_and_one_encoding(fleet: Fleet) -> None:
    edge, spec = fleet.edge, StreamSpec(seed=10)
    encoded = edge.metric("chunk_encoding_duration_seconds_count")
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(connect(edge)) for _ in range(10)]
        for ws in sockets:
            await say(ws, "start", seed=10)
        heard = await asyncio.gather(*(hear_audio(ws, 25) for ws in sockets))
        assert all(unbroken(messages) for messages in heard)
        assert min(message["buffer_depth"] for messages in heard for message in messages) >= 1
        distinct = {message["chunk_id"] for messages in heard for message in messages}
        assert edge.metric("chunk_encoding_duration_seconds_count") - encoded <= len(distinct) + 1
        blocks = [number for _, stream_id, number, _ in fleet.tiny.jobs if stream_id == spec.stream_id]
        assert len(blocks) == len(set(blocks))
        assert edge.metric("auralis_listeners") == 10
        assert edge.metric("active_websocket_connections") == 10


async def test_sound_comes_at_once_and_a_new_stream_within_half_a_second(fleet: Fleet) -> None:
    async with connect(fleet.edge) as first:
        started = time.perf_counter()
        await say(first, "start", seed=11)
        await hear_audio(first, 1)
        new_s = time.perf_counter() - started
        started = time.perf_counter()
        async with connect(fleet.edge) as second:
            await say(second, "start", seed=11)
            await hear_audio(second, 1)
        running_s = time.perf_counter() - started
        assert new_s < 0.5
        assert running_s < 0.25


async def test_two_edges_play_the_same_and_renderers_are_asked_once(fleet: Fleet) -> None:
    spec = StreamSpec(seed=12)
    async with connect(fleet.edge) as first, connect(fleet.plain) as second:
        await say(first, "start", seed=12)
        await hear_audio(first, 5)
        await say(second, "start", seed=12)
        ours, theirs = await asyncio.gather(hear_audio(first, 25), hear_audio(second, 25))
    left = {message["chunk_id"]: message["pcm"] for message in ours}
    right = {message["chunk_id"]: message["pcm"] for message in theirs}
    assert len(left.keys() & right.keys()) > 15
    assert all(left[tick] == right[tick] for tick in left.keys() & right.keys())
    # The second edge found in the history what the first had asked for.
    blocks = [number for _, stream_id, number, _ in fleet.tiny.jobs if stream_id == spec.stream_id]
    assert len(blocks) == len(set(blocks))


async def test_a_stream_nobody_hears_is_not_rendered_and_is_soon_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.fanout.streams.LINGER_S", 0.5)
    async with playing() as (edge, tiny, _):
        async with connect(edge) as ws:
            await say(ws, "start")
            await hear_audio(ws, 3)
        await until(lambda: not edge.service.hub.now_playing())
        count = len(tiny.jobs)
        await until(lambda: not edge.service.hub.streams.by_id)
        assert len(tiny.jobs) == count
        assert not any(edge.service.hub.streams.timelines.values())


# --- steering and coming back ----------------------------------------------------------------------------------------


async def test_a_change_is_spliced_in_within_three_tenths_of_a_second(fleet: Fleet) -> None:
    edge = fleet.edge
    async with connect(edge, PCM_V1) as ws:
        await say(ws, "start")
        await hear_audio(ws, 15)
        changed = time.perf_counter()
        await say(ws, "update", intensity=0.9)
        splice = await hear_event(ws, "splice")
        (first,) = await hear_audio(ws, 1)
        # When its sound begins: the chunk's due time, as the edge's clock has it.
        heard_s = time.perf_counter() - changed + (first["chunk_id"] / 10 - edge.service.hub.clock.now())
        assert heard_s < 0.3
        new = StreamSpec(intensity_steps=18)
        assert splice["stream_id"] == new.stream_id
        assert first["chunk_id"] == splice["chunk_id"]
        messages = [first, *await hear_audio(ws, 15)]
        assert unbroken(messages)
        assert all(message["pcm"] == rendered(message["chunk_id"], new) for message in messages)


async def test_a_plain_client_hears_a_change_from_its_next_chunk_on_without_a_gap(fleet: Fleet) -> None:
    async with connect(fleet.edge) as ws:
        await say(ws, "start")
        before = await hear_audio(ws, 15)
        await say(ws, "update", key="F#")
        after = await hear_audio(ws, 10)
        assert unbroken([*before, *after])
        new = StreamSpec(key="F#")
        kinds = [
            "old" if m["pcm"] == rendered(m["chunk_id"]) else "new" if m["pcm"] == rendered(m["chunk_id"], new) else "x"
            for m in after
        ]
        assert "".join(kind[0] for kind in kinds).lstrip("o").startswith("xnnn")


async def test_dragging_a_slider_leaves_one_stream_and_the_last_value(fleet: Fleet) -> None:
    hub = fleet.edge.service.hub
    async with connect(fleet.edge, JSON_V1) as ws:
        await say(ws, "start", seed=13)
        await hear_audio(ws, 10)
        for step in range(21):
            await say(ws, "update", intensity=step / 20)
            await asyncio.sleep(0.03)  # the pace of a slider that is dragged
        await hear_event(ws, "splice", stream_id=StreamSpec(intensity_steps=20, seed=13).stream_id)
        heard = [stream["stream"] for stream in hub.now_playing() if stream["stream"]["seed"] == 13]
        assert [stream["intensity"] for stream in heard] == [1.0]


async def test_a_drained_edges_listener_goes_on_at_another_without_gap_or_repeat() -> None:
    async with playing(secret=SECRET, drain_s=0.3) as (one, _, broker), running_edge(broker, secret=SECRET) as other:
        async with connect(one, PCM_V1) as ws:
            await say(ws, "start")
            heard = await hear_audio(ws, 15)
            draining = asyncio.create_task(one.service.drain())
            while True:
                message = await hear(ws)
                if message["type"] == "status":
                    break
                heard += [message] if message["type"] == "audio" else []
            assert message["state"] == "draining"
            code, reason = await closed(ws)
            assert (code, reason) == (1012, message["resume"])
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with connect(one):
                    pass
            assert refused.value.response.status_code == 503
            async with httpx.AsyncClient() as http:
                ready = await http.get(f"{one.http}/readyz")
            assert (ready.status_code, ready.json()["failing"]) == (503, ["accepting"])
            await draining
        async with connect(other, PCM_V1) as ws:
            await say(ws, "start", resume=message["resume"])
            assert (await hear(ws))["recovered"] is True
            heard += await hear_audio(ws, 15)
        assert unbroken(heard)
        assert all(message["pcm"] == rendered(message["chunk_id"]) for message in heard)
        assert other.metric("auralis_resumes_total", recovered="true") == 1


@BOTH
async def test_a_broken_connection_is_resumed_from_the_chunk_that_the_client_lacks(server: str, fleet: Fleet) -> None:
    edge = fleet.named(server)
    async with connect(edge, JSON_V1) as ws:
        await say(ws, "start")
        greeting = await hear_event(ws, "hello")
        heard = await hear_audio(ws, 12)
        ws.transport.abort()
    async with connect(edge, JSON_V1) as ws:
        await say(ws, "start", resume=greeting["resume"], chunk_id=heard[-1]["chunk_id"] + 1)
        assert (await hear(ws))["recovered"] is True
        heard += await hear_audio(ws, 12)
    assert unbroken(heard)


async def test_a_drain_without_listeners_is_over_at_once_and_twice_is_once() -> None:
    async with playing(drain_s=30) as (edge, _, _):
        started = time.perf_counter()
        await asyncio.gather(edge.service.drain(), edge.service.drain())
        assert time.perf_counter() - started < 2


# --- when things break -----------------------------------------------------------------------------------------------


async def test_the_music_goes_on_without_a_bus_and_comes_back_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.stream.demand.LEAD_S", 2.5)
    async with playing() as (edge, _, broker), connect(edge, JSON_V1) as ws:
        await say(ws, "start")
        await hear_audio(ws, 5)
        heard: list[dict[str, Any]] = []
        states: list[str] = []
        broker.go_away()
        began = time.perf_counter()
        while "playing" not in states:
            message = await hear(ws)
            if message["type"] == "audio":
                heard.append(message)
            elif message["type"] == "status":
                states.append(message["state"])
                if message["state"] == "degraded":
                    assert edge.service.hub.now_playing()[0]["state"] == "degraded"
                    bus = edge.service.health.condition("bus")
                    assert bus is not None
                    assert bus.detail.startswith("not connected to NATS for ")
                    assert edge.service.health.ready, "for a while: its listeners have loops"
                    broker.come_back()
            assert time.perf_counter() - began < 15
        assert states == ["degraded", "playing"]
        assert unbroken(heard)
        assert min(message["buffer_depth"] for message in heard) >= 1
        assert all(any(message["pcm"]) for message in heard)


async def test_without_a_renderer_a_listener_is_told_to_wait_and_then_hears() -> None:
    broker = MemoryBroker()
    async with running_edge(broker) as edge, connect(edge, JSON_V1) as ws:
        await say(ws, "start")
        assert (await hear_event(ws, "status"))["state"] == "warming"
        async with renderer(broker):
            assert (await hear_event(ws, "status"))["state"] == "playing"
            assert unbroken(await hear_audio(ws, 15))


async def test_without_nats_the_edge_starts_says_so_and_lets_listeners_wait() -> None:
    async with running_edge(None) as edge, connect(edge, JSON_V1) as ws:
        async with httpx.AsyncClient() as http:
            ready = await http.get(f"{edge.http}/readyz")
            assert ready.status_code == 503
            assert ready.json()["conditions"]["bus"] == {"ok": False, "detail": "not connected to NATS"}
            assert (await http.get(f"{edge.http}/healthz")).status_code == 200
        await say(ws, "start")
        assert (await hear_event(ws, "status"))["state"] == "warming"


async def test_a_rolling_upgrade_is_one_crossfade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.stream.demand.LEAD_S", 3.5)
    async with playing() as (edge, _, broker), connect(edge) as ws:
        await say(ws, "start")
        heard = await hear_audio(ws, 12)
        async with renderer(broker, revision="r2", sound_version=2) as new:
            # So much capacity that every stream moves.
            new.presence = replace(new.presence, capacity_streams=1e9)
            heard += await hear_audio(ws, 50)
        assert unbroken(heard)
        kinds = "".join(
            "1"
            if m["pcm"] == rendered(m["chunk_id"])
            else "2"
            if m["pcm"] == rendered(m["chunk_id"], SPEC, "r2")
            else "x"
            for m in heard
        )
        assert kinds.strip("12") == "x", kinds
        assert kinds.startswith("1")
        assert kinds.endswith("2")
        assert heard[kinds.index("x")]["chunk_id"] % 10 == 0


async def test_renderers_that_are_announced_and_never_render_are_not_heard() -> None:
    async with (
        playing() as (edge, _, broker),
        connect(edge) as ws,
        renderer(broker, revision="r2", sound_version=2) as new,
    ):
        await say(ws, "start")
        heard = await hear_audio(ws, 12)
        new.presence = replace(new.presence, capacity_streams=1e9)
        new.silent = True
        heard += await hear_audio(ws, 70)
        assert unbroken(heard)
        assert [m["chunk_id"] for m in heard if m["pcm"] != rendered(m["chunk_id"])] == []


async def test_blocks_and_presences_that_cannot_be_read_are_counted_and_skipped(fleet: Fleet) -> None:
    edge = fleet.edge
    async with connect(edge) as ws:
        await say(ws, "start")
        await hear_audio(ws, 5)
        stranger = MemoryBus(fleet.broker)
        await stranger.connect()
        good = block(int(time.time()) + 3).encode()
        for data in (b"", good[:100], b"AURB\x02" + good[5:], good + b"x", b"\x00" * 200):
            await stranger.publish(subjects.audio(SPEC.stream_id), data)
        await stranger.publish(subjects.PRESENCE, b'{"v":9}')
        await stranger.publish(subjects.PRESENCE, b"nonsense")
        assert unbroken(await hear_audio(ws, 15))
        assert edge.metric("auralis_blocks_total", result="invalid") == 5
        assert edge.metric("auralis_bus_messages_skipped_total", kind="presence") == 2
        await stranger.close()


async def test_one_listeners_failure_is_not_the_others(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    edge = fleet.edge
    before = edge.metric("websocket_send_errors_total", error_type="exception")
    async with connect(edge) as good, connect(edge) as bad:
        await say(good, "start")
        await hear_audio(good, 12)
        await say(bad, "start", seed=15)
        await hear_audio(bad, 12)
        connections = edge.service.hub.connections
        (victim,) = [one for one in connections if one.listener.spec == StreamSpec(seed=15)]

        def broken(*_: object) -> None:
            raise RuntimeError("a planted fault")

        edge.service.hub.crowd.isolate(victim)
        monkeypatch.setattr(victim.listener, "pump", broken)
        # Unconfigured, the log would paint a traceback with everything in it, which takes longer than a buffer lasts.
        log = Mock()
        monkeypatch.setattr("services.edge.fanout.delivery._rare_log", log)
        assert unbroken(await hear_audio(good, 10))
        assert (await closed(bad))[0] == 1011
        assert edge.metric("websocket_send_errors_total", error_type="exception") == before + 1
        log.exception.assert_called_once()


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["own", "plain"])
async def test_a_full_edge_answers_503_before_the_upgrade(plain: bool) -> None:  # noqa: FBT001 - a parameter
    async with playing(plain=plain, max_connections=1) as (edge, _, _):
        async with connect(edge):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with connect(edge):
                    pass
            response = refused.value.response
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "5"
            assert response.body == b"all 1 places are taken; try again later\n"
        await until(lambda: edge.service.hub.listeners == 0)
        async with connect(edge) as ws:
            await say(ws, "start")
            assert len(await hear_audio(ws, 2)) == 2
        assert edge.metric("auralis_refusals_total", reason="connections") == 1


async def test_one_address_has_only_so_many_places() -> None:
    async with playing(max_per_ip=1, trusted_proxies=("127.0.0.1/32",)) as (edge, _, _), connect(edge):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(edge):
                pass
        assert refused.value.response.status_code == 429
        async with connect(edge, additional_headers={"X-Forwarded-For": "198.51.100.7"}):
            pass


async def test_a_page_from_elsewhere_may_not_connect() -> None:
    async with playing(allowed_origins=("https://radio.example",)) as (edge, _, _):
        async with connect(edge, origin="https://radio.example"):
            pass
        async with connect(edge, origin=edge.http):
            pass
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(edge, origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403


@BOTH
@pytest.mark.parametrize(("message", "code"), [("nonsense", 4400), ("x" * 5000, 1009), (b"\x00" * 5000, 1009)])
async def test_bad_input_ends_only_the_connection_it_came_from(
    message: str | bytes, code: int, server: str, fleet: Fleet
) -> None:
    async with connect(fleet.named(server)) as good, connect(fleet.named(server)) as bad:
        await say(good, "start")
        heard = await hear_audio(good, 5)
        await bad.send(message)
        assert (await closed(bad))[0] == code
        assert unbroken([*heard, *await hear_audio(good, 10)])


async def test_a_flood_of_messages_is_closed_with_4429(fleet: Fleet) -> None:
    async with connect(fleet.edge) as ws:
        with contextlib.suppress(websockets.ConnectionClosed):
            for _ in range(300):
                await say(ws, "update", bpm=70)
        assert (await closed(ws))[0] == 4429


async def test_a_token_is_asked_for_where_a_key_is_set() -> None:
    good = jwt.encode({"exp": time.time() + 60, "aud": "radio"}, KEY)
    old = jwt.encode({"exp": time.time() - 60, "aud": "radio"}, KEY)
    async with playing(jwt_key=KEY, jwt_audience="radio") as (edge, _, _):
        for url in (edge.ws, f"{edge.ws}?token={old}", f"{edge.ws}?token=nonsense"):
            async with websockets.connect(url) as ws:
                assert (await closed(ws))[0] == 4401
        async with websockets.connect(f"{edge.ws}?token={good}") as ws:
            await say(ws, "start")
            assert len(await hear_audio(ws, 1)) == 1
        async with connect(edge, additional_headers={"Authorization": f"Bearer {good}"}) as ws:
            await say(ws, "start")
            assert len(await hear_audio(ws, 1)) == 1
        assert edge.metric("auralis_refusals_total", reason="token") == 3


async def test_a_token_can_limit_its_bearer_to_some_streams() -> None:
    limited = jwt.encode({"exp": time.time() + 60, "aud": "radio", "streams": ["c-dorian-*", "*-drift-7"]}, KEY)
    broken = jwt.encode({"exp": time.time() + 60, "aud": "radio", "streams": "c-dorian-*"}, KEY)
    async with playing(jwt_key=KEY, jwt_audience="radio") as (edge, _, _):
        async with websockets.connect(f"{edge.ws}?token={broken}") as ws:
            assert (await closed(ws))[0] == 4401
        async with websockets.connect(f"{edge.ws}?token={limited}") as ws:
            await say(ws, "start", key="F#")
            error = await hear(ws)
            assert (error["type"], error["code"]) == ("error", 4401)
            assert error["message"] == "the token does not allow this stream; choose another"
            assert (await closed(ws))[0] == 4401
        async with websockets.connect(f"{edge.ws}?token={limited}") as ws:
            await say(ws, "start", key="C", mode="dorian")
            before = await hear_audio(ws, 12)
            await say(ws, "update", key="F#")
            assert (await hear_event(ws, "error"))["code"] == 4401
            # What it may hear goes on, and what else it may hear can be had.
            await say(ws, "update", key="F#", seed=7)
            after = await hear_audio(ws, 12)
            assert unbroken([*before, *after][-12:])
            new = StreamSpec(key="F#", seed=7)
            assert after[-1]["pcm"] == rendered(after[-1]["chunk_id"], new)
        async with httpx.AsyncClient(base_url=edge.http) as http:
            for path in ("/stream.mp3?key=F%23", "/record?key=F%23"):
                answer = await http.get(f"{path}&token={limited}")
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_more_streams_than_there_is_room_for_are_refused_with_1013() -> None:
    async with playing(max_streams=1) as (edge, _, _):
        async with connect(edge) as first, connect(edge) as second:
            await say(first, "start")
            heard = await hear_audio(first, 12)
            await say(second, "start", key="G")
            assert (await hear(second))["code"] == 1013
            assert (await closed(second))[0] == 1013
            # A change that does not fit is an error, and what plays goes on.
            await say(first, "update", key="G")
            assert (await hear_event(first, "error"))["code"] == 1013
            assert (await hear_audio(first, 1))[0]["chunk_id"] > heard[-1]["chunk_id"]
        # One that nobody hears any more makes place at once.
        async with connect(edge) as third:
            await say(third, "start", key="G")
            assert len(await hear_audio(third, 2)) == 2


async def test_when_renderers_are_late_new_streams_are_refused_and_old_ones_play_on() -> None:
    async with playing() as (edge, _, _), connect(edge) as first, connect(edge) as second:
        await say(first, "start")
        await hear_audio(first, 12)
        now_s = edge.service.hub.clock.now()
        for _ in range(20):
            edge.service.hub.streams.load.missed(now_s)
        await say(second, "start", key="G")
        assert (await hear(second))["type"] == "error"
        assert (await closed(second))[0] == 1013
        assert unbroken(await hear_audio(first, 5))
        async with connect(edge) as third:
            await say(third, "start")
            assert len(await hear_audio(third, 2)) == 2
        assert edge.metric("auralis_refusals_total", reason="overload") == 1


async def test_a_stream_that_cannot_be_rendered_is_refused_with_an_error(fleet: Fleet) -> None:
    spec = StreamSpec(key="G", seed=14)
    async with connect(fleet.edge) as ws:
        for _ in range(3):
            fleet.broker.count(subjects.POISON_BUCKET, spec.stream_id, 300)
        await say(ws, "start", key="G", seed=14)
        message = await hear(ws)
        assert (message["type"], message["code"]) == ("error", 1008)
        assert (await closed(ws))[0] == 1008
        assert all(stream_id != spec.stream_id for _, stream_id, _, _ in fleet.tiny.jobs)


async def test_a_reader_that_stops_reading_is_skipped_forward_and_told_and_others_notice_nothing(fleet: Fleet) -> None:
    edge = fleet.edge
    before = edge.metric("auralis_skips_total"), edge.metric("auralis_underruns_total")
    async with connect(edge) as good:
        await say(good, "start")
        heard = await hear_audio(good, 12)
        link = socket.socket()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        link.connect(("127.0.0.1", edge.port))
        link.setblocking(False)  # noqa: FBT003 - the standard library's signature
        async with connect(edge, PCM_V1, sock=link, max_queue=1) as slow:
            await say(slow, "start")
            await hear_audio(slow, 1)
            victim = list(edge.service.hub.connections)[-1]
            assert victim.transport is not None
            most_bytes = 0
            # Until it has been without a chunk to play for three ticks.
            while victim.listener.depth(tick_at(edge.service.hub.clock.now()) - 3) > 0:
                heard += await hear_audio(good, 1)
                most_bytes = max(most_bytes, victim.transport.backlog_bytes())
            # What it did not take was not kept for it.
            assert most_bytes < 700_000
            status = await hear_event(slow, "status", state="skipped")
            (first,) = await hear_audio(slow, 1)
            assert first["chunk_id"] == status["to_chunk_id"]
            assert first["buffer_depth"] == 0
            slow.transport.abort()
        assert unbroken(heard)
        assert min(message["buffer_depth"] for message in heard) >= 1
        await until(lambda: edge.metric("auralis_skips_total") == before[0] + 1)
        assert edge.metric("auralis_underruns_total") == before[1] + 1


async def test_the_initial_tier_and_its_bounds_come_from_the_settings() -> None:
    settings = Settings(port=0, metrics_port=0, buffer=BufferSettings(initial_tier="stable", max_capacity_ms=1200))
    async with playing(settings=settings) as (edge, _, _), connect(edge) as ws:
        await say(ws, "start")
        messages = await hear_audio(ws, 24)
        assert {message["current_tier"] for message in messages} == {"stable"}
        assert messages[-1]["buffer_depth"] == 12


# --- HTTP ------------------------------------------------------------------------------------------------------------


async def test_the_api_tells_what_plays(fleet: Fleet) -> None:
    edge = fleet.edge
    async with connect(edge) as ws, httpx.AsyncClient(base_url=edge.http) as http:
        await say(ws, "start", key="D", mode="lydian")
        await hear_audio(ws, 12)
        heard = (await http.get("/api/streams")).json()["streams"]
        (stream,) = [one for one in heard if one["stream_id"] == "d-lydian-70-50-drift-0"]
        assert stream["stream"] == {
            "key": "D", "mode": "lydian", "bpm": 70, "intensity": 0.5, "preset": "drift", "seed": 0,
        }  # fmt: skip
        assert stream["listeners"] == 1
        assert stream["state"] == "playing"
        assert stream["chord"] in ("Am9", "Fmaj7")
        assert stream["section"] == int(time.time()) // 240
        assert 1 <= stream["bar"] <= 70
        assert stream["loudness_dbfs"] == pytest.approx(-15.4, abs=0.1)
        status = (await http.get("/api/status")).json()
        assert (status["listeners"] >= 1, status["max_listeners"], status["streams"] >= 1) == (True, 50, True)
        assert status["ready"] is True
        options = (await http.get("/api/options")).json()
        assert options["bpm"] == [40, 180]


async def test_who_only_looks_whether_it_is_there_gets_the_headers(fleet: Fleet) -> None:
    async with httpx.AsyncClient(base_url=fleet.edge.http) as http:
        for path in ("/", "/player.js", "/api/status", "/api/streams", "/api/options", "/healthz", "/readyz"):
            whole, head = await http.get(path), await http.head(path)
            assert (head.status_code, head.headers["content-type"]) == (200, whole.headers["content-type"])
            assert head.content == b""
        assert (await http.post("/")).status_code == 405


async def test_the_player_is_served_with_a_strict_policy(fleet: Fleet) -> None:
    async with httpx.AsyncClient(base_url=fleet.edge.http) as http:
        page = await http.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for name, kind in (
            ("player.js", "text/javascript"),
            ("worklet.js", "text/javascript"),
            ("player.css", "text/css"),
        ):
            answer = await http.get(f"/{name}")
            assert answer.headers["content-type"].startswith(kind)
            assert f'"/{name}"' in page.text or f'"{name}"' in page.text or name == "worklet.js"
        assert (await http.get("/ws")).status_code == 426
        assert (await http.get("/nothing")).status_code == 404


async def test_the_internal_port_has_the_metrics_and_the_drain() -> None:
    async with playing() as (edge, _, _), connect(edge) as ws:
        await say(ws, "start")
        await hear_audio(ws, 12)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{edge.service.internal_port}") as http:
            await until(
                lambda: edge.service.metrics.registry.get_sample_value("buffer_depth_chunks", {"client_id": "client_0"})
            )
            text = (await http.get("/metrics")).text
            for name in (
                "buffer_depth_chunks", "chunk_delivery_jitter_ms", "active_websocket_connections",
                "buffer_underruns_total", "websocket_send_errors_total", "chunk_encoding_duration_seconds",
                "memory_usage_mb", "gc_collections_total", "auralis_listeners", "auralis_tick_lateness_seconds",
                "auralis_render_demand_streams", "auralis_loudness_min_dbfs",
            ):  # fmt: skip
                assert f"# TYPE {name.removesuffix('_total')}" in text, name
            assert (await http.get("/readyz")).status_code == 200
            assert (await http.post("/drain")).json()["done"] is True
            assert (await http.get("/readyz")).status_code == 503
        assert (await closed(ws))[0] == 1012


async def test_a_listeners_series_go_with_it(fleet: Fleet) -> None:
    hub, registry = fleet.edge.service.hub, fleet.edge.service.metrics.registry

    def depth() -> float | None:
        return registry.get_sample_value("buffer_depth_chunks", {"client_id": "client_0"})

    await until(lambda: not hub.connections)
    async with connect(fleet.edge) as ws:
        await say(ws, "start")
        await hear_audio(ws, 12)
        await until(lambda: depth() is not None)
    await until(lambda: not hub.connections)
    assert depth() is None
    async with connect(fleet.edge):
        await until(lambda: hub.connections)
        assert next(iter(hub.connections)).number == 0


async def test_a_second_edge_with_the_same_internal_port_starts_without_one() -> None:
    async with playing() as (edge, _, broker):
        settings = Settings(port=0, metrics_port=edge.service.internal_port or 0)
        async with running_edge(broker, settings=settings) as other, connect(other) as ws:
            assert other.service.internal_port is None
            await until(lambda: other.service.hub.status()["renderers"] == 1)
            await say(ws, "start")
            assert len(await hear_audio(ws, 2)) == 2


async def test_two_renderers_of_which_one_only_warms_up_are_one() -> None:
    async with playing() as (edge, _, broker):
        bus = MemoryBus(broker)
        await bus.connect()
        await bus.publish(
            subjects.PRESENCE, presence(instance="w2", revision="r2", sound_version=9, state="warming").encode()
        )
        await until(lambda: edge.service.hub.status()["warming"])
        async with connect(edge) as ws:
            await say(ws, "start")
            assert all(m["pcm"] == rendered(m["chunk_id"]) for m in await hear_audio(ws, 12))
        await bus.close()
