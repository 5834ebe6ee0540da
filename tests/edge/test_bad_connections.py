"""Listeners behind bad connections, and a crowd that moves: minutes in all, so among the long tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from typing import Any

import pytest
import websockets

from services.client import Client
from services.contract.websocket import TIERS
from services.runtime.bus.nats import NatsBus
from services.runtime.settings import NatsSettings
from tests.edge.playing import hear, hear_audio, hear_event, playing, rendered, say, unbroken
from tests.edge.support import TinyRenderer
from tests.edge.test_process import edge_process
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.nats import NatsServer
from tests.support.waiting import until

pytestmark = pytest.mark.long


def through(connection: FaultProxy, **options: Any) -> Any:
    return websockets.connect(
        f"ws://127.0.0.1:{connection.port}/ws", **{"compression": None, "max_size": None, "max_queue": 2, **options}
    )


async def test_a_connection_of_low_rate_raises_the_tier_and_then_no_buffer_runs_empty() -> None:
    async with playing() as (edge, _, _), fault_proxy(edge.port) as connection, through(connection) as ws:
        await say(ws, "start")
        await hear_audio(ws, 15)
        connection.bytes_per_s = 130_000
        began = time.perf_counter()
        heard: list[dict[str, Any]] = []
        while time.perf_counter() - began < 9:
            heard += await hear_audio(ws, 1)
        connection.bytes_per_s = None
        heard = await hear_audio(ws, 60)
        assert heard[-1]["current_tier"] == "defensive"
        assert heard[-1]["buffer_depth"] == 25
        # The low rate again, for as long as the deeper buffer lasts.
        connection.bytes_per_s = 130_000
        later = await hear_audio(ws, 30)
        assert min(message["buffer_depth"] for message in later) >= 1
        assert unbroken(later)


async def test_a_connection_with_a_delay_of_20_ms_loses_no_chunk() -> None:
    async with playing() as (edge, _, _), fault_proxy(edge.port) as connection, through(connection) as ws:
        connection.delay_s = 0.02
        await say(ws, "start")
        assert unbroken(await hear_audio(ws, 100))


async def test_stalls_raise_the_tier_and_a_long_quiet_time_lowers_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.edge.listener.tiers.QUIET_S", 2.0)
    monkeypatch.setattr("services.edge.listener.tiers.MAX_QUIET_S", 4.0)
    async with playing() as (edge, _, _), fault_proxy(edge.port, seed=5) as connection:
        url = f"ws://127.0.0.1:{connection.port}/ws"
        async with Client(url, format="pcm", report_every_s=0.25) as client:
            tiers: list[str] = []

            async def hear_for(seconds: float) -> None:
                end = time.perf_counter() + seconds
                async for chunk in client:
                    tiers.append(chunk.tier)
                    if time.perf_counter() > end:
                        return

            chance = random.Random(5)

            async def stall_again_and_again() -> None:
                while True:
                    connection.stalled = True
                    await asyncio.sleep(1.9 + 0.3 * chance.random())  # the stall that is tested
                    connection.stalled = False
                    await asyncio.sleep(0.6 + 0.3 * chance.random())  # the pause between two stalls

            await hear_for(2)
            assert set(tiers) == {"normal"}
            # Each stall is longer than the first buffer of a second lasts, and shorter than the deepest one does.
            stalling = asyncio.create_task(stall_again_and_again())
            await hear_for(25)
            raised = max(tiers, key=TIERS.index)
            assert TIERS.index(raised) > TIERS.index("normal")
            underruns = client.arrivals.underruns
            await hear_for(10)
            stalling.cancel()
            connection.stalled = False
            assert client.arrivals.underruns == underruns
            await hear_for(40)
            assert client.arrivals.underruns == underruns
            assert TIERS.index(tiers[-1]) < TIERS.index(raised)


async def test_a_cut_of_five_seconds_is_resumed_without_a_gap() -> None:
    async with playing() as (edge, _, _), fault_proxy(edge.port) as connection:
        async with through(connection, subprotocols=["auralis.json.v1"]) as ws:
            await say(ws, "start")
            greeting = await hear_event(ws, "hello")
            heard = await hear_audio(ws, 30)
            connection.cut()
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    message = await hear(ws)
                    heard += [message] if message["type"] == "audio" else []
        await asyncio.sleep(5)  # the time away that is tested
        async with through(connection, subprotocols=["auralis.json.v1"]) as ws:
            await say(ws, "start", resume=greeting["resume"], chunk_id=heard[-1]["chunk_id"] + 1)
            assert (await hear_event(ws, "hello"))["recovered"] is True
            heard += await hear_audio(ws, 60)
        assert unbroken(heard)
        assert all(message["pcm"] == rendered(message["chunk_id"]) for message in heard)


async def test_a_connection_that_stalls_for_six_seconds_goes_on_at_the_live_tick() -> None:
    async with (
        playing() as (edge, _, _),
        fault_proxy(edge.port) as connection,
        through(connection, subprotocols=["auralis.json.v1"]) as ws,
    ):
        await say(ws, "start")
        await hear_audio(ws, 30)
        connection.stalled = True
        await asyncio.sleep(6)  # the stall that is tested
        connection.stalled = False
        await hear_event(ws, "status", state="skipped")
        heard = await hear_audio(ws, 30)
        assert unbroken(heard)
        assert heard[0]["buffer_depth"] == 0
        assert abs(heard[-1]["chunk_id"] - edge.service.hub.clock.now() * 10) < 30


async def test_a_crowd_moves_to_a_second_edge_and_no_listener_loses_a_chunk(nats_server: NatsServer) -> None:
    count, url = 500, nats_server.url
    bus = NatsBus(NatsSettings(url=url), name="renderer")
    tiny = TinyRenderer(bus)
    await tiny.start()
    shared = {"NATS_URL": url, "AURALIS_SECRET": "one-secret-for-both-of-the-edges", "WS_MAX_CONNECTIONS": "1000"}
    try:
        async with edge_process(AURALIS_DRAIN_SECONDS="15", **shared) as one, edge_process(**shared) as other:
            heard: list[list[int]] = [[] for _ in range(count)]
            moved: list[bool] = []
            # One process is five hundred clients here, so only some of them connect at a time.
            gate = asyncio.Semaphore(40)

            async def listener(number: int) -> None:
                token, url = "", one.ws
                while len(heard[number]) < 250:
                    protocols = [websockets.Subprotocol("auralis.opus.v1")]
                    async with gate:
                        ws = await websockets.connect(url, subprotocols=protocols, compression=None, open_timeout=60)
                    async with ws:
                        params = {"resume": token, "chunk_id": heard[number][-1] + 1} if token else {}
                        await ws.send(json.dumps({"type": "control", "action": "start", "params": params}))
                        with contextlib.suppress(websockets.ConnectionClosed):
                            while len(heard[number]) < 250:
                                data = await ws.recv()
                                if isinstance(data, bytes):
                                    heard[number].append(int.from_bytes(data[4:12], "little"))
                                    continue
                                body = json.loads(data)
                                token = body.get("resume", token)
                                if body["type"] == "hello" and body["recovered"] is not None:
                                    moved.append(body["recovered"])
                    url = other.ws

            listeners = [asyncio.create_task(listener(number)) for number in range(count)]
            await until(lambda: min(len(chunks) for chunks in heard) >= 30, 60)
            one.process.terminate()
            async with asyncio.timeout(90):
                await asyncio.gather(*listeners)
            assert await asyncio.wait_for(one.process.wait(), 30) == 0
            assert moved == [True] * count
            for chunks in heard:
                assert chunks == list(range(chunks[0], chunks[0] + len(chunks)))
    finally:
        await tiny.stop()
