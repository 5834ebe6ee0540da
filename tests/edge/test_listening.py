"""What clients hear of streams, alone and together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import pytest

from services.contract.spec import StreamSpec
from services.contract.websocket import JSON_V1, PCM_V1
from services.runtime.settings import BufferSettings, Settings
from tests.edge.playing import (
    BOTH,
    Fleet,
    closed,
    connect,
    hear,
    hear_audio,
    playing,
    rendered,
    say,
    unbroken,
)
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


START = {"type": "control", "action": "start", "params": {"key": "C", "bpm": 70, "intensity": 0.5}}


@BOTH
async def test_the_client_of_the_guide_hears_continuous_music_and_nothing_else(server: str, fleet: Fleet) -> None:
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


async def test_an_unknown_subprotocol_is_not_chosen(fleet: Fleet) -> None:
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


async def test_the_first_chunk_of_a_new_stream_takes_half_a_second_at_most_and_of_a_playing_one_less(
    fleet: Fleet,
) -> None:
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
    # The second edge found in the history the blocks that the first had asked for.
    blocks = [number for _, stream_id, number, _ in fleet.tiny.jobs if stream_id == spec.stream_id]
    assert len(blocks) == len(set(blocks))


async def test_a_stream_without_listeners_is_not_rendered_and_soon_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_the_initial_tier_and_its_bounds_come_from_the_settings() -> None:
    settings = Settings(port=0, metrics_port=0, buffer=BufferSettings(initial_tier="stable", max_capacity_ms=1200))
    async with playing(settings=settings) as (edge, _, _), connect(edge) as ws:
        await say(ws, "start")
        messages = await hear_audio(ws, 24)
        assert {message["current_tier"] for message in messages} == {"stable"}
        assert messages[-1]["buffer_depth"] == 12
