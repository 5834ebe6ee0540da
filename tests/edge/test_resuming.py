"""Listeners that reconnect, here or at another edge."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
import websockets

from services.contract.spec import StreamSpec
from services.contract.websocket import JSON_V1, PCM_V1
from tests.edge.playing import (
    BOTH,
    SECRET,
    Fleet,
    closed,
    connect,
    hear,
    hear_audio,
    hear_event,
    playing,
    rendered,
    say,
    unbroken,
)
from tests.edge.support import SPEC, running_edge

pytestmark = pytest.mark.asyncio(loop_scope="module")


STEERED = StreamSpec("F#", "mixolydian", 120, 20, "cathedral", 2**32 - 1, 20, 0, level_steps=(0, 1, 2, 3, 4, 5, 15))
"""A stream whose address is too long for a close frame."""


@pytest.mark.parametrize("spec", [SPEC, STEERED], ids=["plain", "steered"])
async def test_a_listener_of_a_drained_edge_resumes_at_another_without_gap_or_repeat(spec: StreamSpec) -> None:
    async with playing(secret=SECRET, drain_s=0.3) as (one, _, broker), running_edge(broker, secret=SECRET) as other:
        async with connect(one, PCM_V1) as ws:
            await say(ws, "start", **spec.to_request())
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
            await say(ws, "start", **spec.to_request(), resume=message["resume"])
            assert (await hear(ws))["recovered"] is True
            heard += await hear_audio(ws, 15)
        assert unbroken(heard)
        assert all(message["pcm"] == rendered(message["chunk_id"], spec) for message in heard)
        assert other.metric("auralis_resumes_total", recovered="true") == 1


@BOTH
async def test_a_lost_connection_is_resumed_at_the_first_chunk_that_the_client_lacks(server: str, fleet: Fleet) -> None:
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


async def test_a_drain_without_listeners_ends_immediately_and_may_be_repeated() -> None:
    async with playing(drain_s=30) as (edge, _, _):
        started = time.perf_counter()
        await asyncio.gather(edge.service.drain(), edge.service.drain())
        assert time.perf_counter() - started < 2
