"""The bus, renderers, messages or a listener fail: the music goes on."""

from __future__ import annotations

import socket
import time
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from services.contract import subjects
from services.contract.spec import StreamSpec
from services.contract.timebase import tick_at
from services.contract.websocket import JSON_V1, PCM_V1
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from tests.edge.playing import (
    Fleet,
    closed,
    connect,
    hear,
    hear_audio,
    hear_event,
    playing,
    renderer,
    say,
    unbroken,
)
from tests.edge.support import SPEC, block, running_edge
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
                    assert edge.service.health.ready, (
                        "an edge without NATS stays ready for a while, because its listeners hear loops"
                    )
                    broker.come_back()
            assert time.perf_counter() - began < 15
        assert states == ["degraded", "playing"]
        assert unbroken(heard)
        assert min(message["buffer_depth"] for message in heard) >= 1
        assert all(any(message["pcm"]) for message in heard)


async def test_without_a_renderer_a_listener_is_warming_until_one_starts() -> None:
    broker = MemoryBroker()
    async with running_edge(broker) as edge, connect(edge, JSON_V1) as ws:
        await say(ws, "start")
        assert (await hear_event(ws, "status"))["state"] == "warming"
        async with renderer(broker):
            assert (await hear_event(ws, "status"))["state"] == "playing"
            assert unbroken(await hear_audio(ws, 15))


async def test_without_nats_the_edge_starts_unready_and_listeners_wait() -> None:
    async with running_edge(None) as edge, connect(edge, JSON_V1) as ws:
        async with httpx.AsyncClient() as http:
            ready = await http.get(f"{edge.http}/readyz")
            assert ready.status_code == 503
            assert ready.json()["conditions"]["bus"] == {"ok": False, "detail": "not connected to NATS"}
            assert (await http.get(f"{edge.http}/healthz")).status_code == 200
        await say(ws, "start")
        assert (await hear_event(ws, "status"))["state"] == "warming"


async def test_unreadable_blocks_and_presences_are_counted_and_skipped(fleet: Fleet) -> None:
    edge = fleet.edge
    async with connect(edge) as ws:
        await say(ws, "start")
        await hear_audio(ws, 5)
        other = MemoryBus(fleet.broker)
        await other.connect()
        good = block(int(time.time()) + 3).encode()
        for data in (b"", good[:100], b"AURB\x02" + good[5:], good + b"x", b"\x00" * 200):
            await other.publish(subjects.audio(SPEC.stream_id), data)
        await other.publish(subjects.PRESENCE, b'{"v":9}')
        await other.publish(subjects.PRESENCE, b"nonsense")
        assert unbroken(await hear_audio(ws, 15))
        assert edge.metric("auralis_blocks_total", result="invalid") == 5
        assert edge.metric("auralis_bus_messages_skipped_total", kind="presence") == 2
        await other.close()


async def test_a_failing_listener_is_closed_and_the_others_hear_on(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def test_a_client_that_stops_reading_skips_ahead_and_others_notice_nothing(fleet: Fleet) -> None:
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
            # Chunks that it did not take were not kept.
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
