"""Random messages and clients that never read: neighbours notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket

import psutil
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contract.websocket import CloseCode
from tests.edge.playing import (
    connect,
    hear,
    hear_audio,
    playing,
    say,
    unbroken,
)
from tests.edge.support import UPGRADE
from tests.support.waiting import until

KNOWN = {int(code) for code in CloseCode} | {1002, 1003, 1007}
"""Close codes that a client may get; the last three are those of RFC 6455 for bad frames, types and text."""


@pytest.mark.parametrize("plain", [False, True], ids=["own", "plain"])
async def test_listeners_that_never_read_cost_bounded_memory_and_disturb_no_other(plain: bool) -> None:  # noqa: FBT001 - a parameter
    count = 20

    start = json.dumps({"type": "control", "action": "start", "params": {}}).encode()
    frame = b"\x81" + bytes((0x80 | len(start),)) + b"\0\0\0\0" + start
    async with playing(plain=plain) as (edge, _, _), connect(edge) as good:
        await say(good, "start")
        await hear_audio(good, 12)
        before = psutil.Process(os.getpid()).memory_info().rss
        sockets = []
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", edge.port))
            client.sendall(UPGRADE)
            sockets.append(client)
        await until(lambda: edge.metric("auralis_listeners") == count + 1)
        for client in sockets:
            client.sendall(frame)
        heard = await hear_audio(good, 60)
        assert unbroken(heard)
        assert min(message["buffer_depth"] for message in heard) >= 1
        # Keeping 6 s of JSON would cost 1.4 MB for each listener.
        assert (psutil.Process(os.getpid()).memory_info().rss - before) / count < 900_000
        for client in sockets:
            client.close()


words = st.sampled_from(
    ["control", "report", "start", "update", "stop", "params", "type", "action", "key", "bpm", "intensity", "resume",
     "chunk_id", "events", "seed", "preset", "mode", "C", "H", "drift", "", "\u0000", "\ud7ff"]
)  # fmt: skip


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | words | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)


bodies = st.fixed_dictionaries(
    {"type": words | st.just("control")},
    optional={"action": words, "params": st.dictionaries(words, values, max_size=5), "chunk_id": values,
              "buffer_ms": values, "underruns": values, "jitter_ms": values},
)  # fmt: skip


messages = bodies.map(json.dumps) | values.map(json.dumps) | st.text(max_size=60) | st.binary(max_size=80)


async def check_survival(plain: bool, batches: list[list[str | bytes]]) -> None:  # noqa: FBT001 - passed on
    async with playing(plain=plain) as (edge, _, _), connect(edge) as good:
        await say(good, "start")
        await hear_audio(good, 12)
        for batch in batches:
            async with connect(edge) as ws:
                with contextlib.suppress(websockets.ConnectionClosed):
                    for message in batch:
                        await ws.send(message)
                    await ws.send('{"type":"control","action":"stop"}')
                    async with asyncio.timeout(5):
                        while True:
                            await ws.recv()
                assert ws.close_code in KNOWN, (ws.close_code, batch)
        await until(lambda: edge.metric("auralis_listeners") == 1)
        assert edge.metric("websocket_send_errors_total", error_type="exception") == 0
        # The first listener still gets audio.
        assert (await hear(good))["type"] == "audio"
        assert len(edge.service.hub.streams.by_id) <= edge.service.settings.edge.max_streams


@pytest.mark.parametrize("plain", [False, True], ids=["own", "plain"])
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(messages, min_size=1, max_size=20), min_size=3, max_size=10))
def test_no_message_breaks_a_connection_or_its_neighbours(plain: bool, batches: list[list[str | bytes]]) -> None:  # noqa: FBT001 - a parameter
    asyncio.run(check_survival(plain, batches))


@pytest.mark.long
@pytest.mark.timeout(900)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(messages, min_size=40, max_size=60), min_size=20, max_size=25))
def test_a_hundred_thousand_messages_break_nothing(batches: list[list[str | bytes]]) -> None:
    asyncio.run(check_survival(plain=False, batches=batches))
