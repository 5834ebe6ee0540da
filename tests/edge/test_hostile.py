"""Connections that never read, never finish, or say what nobody should: over real sockets, on both write paths."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator

import psutil
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contract.websocket import CloseCode
from services.edge.wire import http_protocol, kernel_buffer, websocket_protocol
from tests.edge.support import UPGRADE, Edge
from tests.edge.test_edge import connect, hear, hear_audio, playing, say, unbroken
from tests.support.waiting import until

KNOWN = {int(code) for code in CloseCode} | {1002, 1003, 1007}
"""What a client may be closed with; the last three are the protocol's own."""


async def test_a_request_that_never_ends_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_WITHIN_S", 0.4)
    async with playing() as (edge, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET /ws HTTP/1.1\r\nHost: a\r\n")
        for index in range(8):
            await asyncio.sleep(0.1)
            # One header every moment, for ever: a slowloris.
            with contextlib.suppress(ConnectionError):
                writer.write(f"X-{index}: a\r\n".encode())
                await writer.drain()
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("plain", [False, True], ids=["own", "plain"])
async def test_listeners_that_never_read_cost_a_bounded_amount_and_disturb_nobody(plain: bool) -> None:  # noqa: FBT001 - a parameter
    count = 20

    start = json.dumps({"type": "control", "action": "start", "params": {}}).encode()
    frame = b"\x81" + bytes((0x80 | len(start),)) + b"\0\0\0\0" + start
    async with playing(plain=plain) as (edge, _, _), connect(edge) as good:
        await say(good, "start")
        await hear_audio(good, 12)
        before = psutil.Process(os.getpid()).memory_info().rss
        links = []
        for _ in range(count):
            link = socket.socket()
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.connect(("127.0.0.1", edge.port))
            link.sendall(UPGRADE)
            links.append(link)
        await until(lambda: edge.metric("auralis_listeners") == count + 1)
        for link in links:
            link.sendall(frame)
        heard = await hear_audio(good, 60)
        assert unbroken(heard)
        assert min(message["buffer_depth"] for message in heard) >= 1
        # 6 s of JSON would be 1.4 MB each if it were kept for them.
        assert (psutil.Process(os.getpid()).memory_info().rss - before) / count < 900_000
        for link in links:
            link.close()


@pytest.mark.parametrize("beginning", [b"GET /ws HTTP/1.1\r\nHo", b"\r\n"], ids=["part", "blank"])
async def test_a_second_request_that_never_ends_is_dropped_too(
    monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_WITHIN_S", 0.4)
    async with playing() as (edge, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await reader.readuntil(b"}")
            # The time between two requests is the server's own to limit.
            await asyncio.sleep(0.6)
        writer.write(beginning)
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("before", ["", "GET /stream.mp3 HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["alone", "behind another"])
@pytest.mark.parametrize(
    ("head", "more"),
    [("GET /", "a" * 600), ("GET / HTTP/1.1\r\nHost: a\r\n", "A: b\r\n" * 100)],
    ids=["line", "headers"],
)
async def test_a_request_that_grows_without_end_is_not_kept(before: str, head: str, more: str) -> None:
    async with playing() as (edge, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write((before + head).encode())
        reading = asyncio.create_task(reader.read())
        sent_bytes = 0
        with contextlib.suppress(ConnectionError):
            while not reading.done():
                writer.write(more.encode())
                await writer.drain()
                sent_bytes += len(more)
                assert sent_bytes < 10_000_000
        # A reset may overtake the answer.
        with contextlib.suppress(ConnectionError):
            assert b" 400 " in await reading
        writer.close()
        await until(lambda: edge.metric("auralis_listeners") == 0)


def small_link(edge: Edge) -> socket.socket:
    """A connection of somebody who is not going to read."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.connect(("127.0.0.1", edge.port))
    return link


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame; its mask is nothing."""
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    return bytes((0x80 * fin | opcode,)) + size + bytes(4) + payload


def sockets_of(edge: Edge) -> int:
    """What the edge has open for others."""
    connections = psutil.Process().net_connections("tcp")
    return sum(1 for each in connections if each.laddr.port == edge.port and each.status == "ESTABLISHED")


@contextlib.asynccontextmanager
async def unread(edge: Edge, count: int) -> AsyncIterator[list[socket.socket]]:
    """Listeners who read nothing, until the edge has something that it cannot send them."""
    links = [small_link(edge) for _ in range(count)]
    try:
        for link in links:
            link.sendall(UPGRADE)
        await until(lambda: edge.metric("auralis_listeners") == count)
        for link in links:
            link.sendall(masked(1, b'{"type":"control","action":"start"}'))
        hub = edge.service.hub

        def stalled() -> int:
            return sum(1 for each in hub.connections if each.transport is not None and each.transport.backlog_bytes())

        await until(lambda: stalled() == count, 10)
        yield links
    finally:
        for link in links:
            link.close()


@pytest.mark.parametrize("goodbye", [masked(8, b"\x03\xe8"), masked(1, bytes(5000))], ids=["close", "too big"])
async def test_who_is_closed_and_takes_nothing_is_dropped_after_a_while(
    monkeypatch: pytest.MonkeyPatch, goodbye: bytes
) -> None:
    monkeypatch.setattr(websocket_protocol, "CLOSE_WITHIN_S", 0.3)
    monkeypatch.setattr(kernel_buffer, "NOTSENT_LOWAT_BYTES", 4096)
    async with playing() as (edge, _, _), unread(edge, 3) as links:
        for link in links:
            link.sendall(goodbye)
        # They hold no place any more, and must hold neither a socket nor what it did not take.
        await until(lambda: edge.metric("auralis_listeners") == 0)
        await until(lambda: sockets_of(edge) == 0, 3)


async def test_a_server_stops_although_somebody_who_has_left_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_buffer, "NOTSENT_LOWAT_BYTES", 4096)
    async with contextlib.AsyncExitStack() as clients, playing() as (edge, _, _):
        (link,) = await clients.enter_async_context(unread(edge, 1))
        link.sendall(masked(8, b"\x03\xe8"))
        await until(lambda: edge.metric("auralis_listeners") == 0)


@pytest.mark.parametrize(
    "flood",
    [masked(9, bytes(125)) * 50, masked(10) * 50, masked(0, fin=False) * 50],
    ids=["pings", "pongs", "fragments"],
)
async def test_frames_that_are_no_messages_are_limited_like_messages(flood: bytes) -> None:
    async with playing() as (edge, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(masked(1, b'{"type":', fin=False))
        writer.write(flood)
        # Time in which the edge would close the connection; nothing tells from outside that it has read the flood.
        await asyncio.sleep(0.1)
        assert edge.metric("auralis_listeners") == 1
        writer.write(flood + flood)
        async with asyncio.timeout(2):
            answer = await reader.read()
        assert answer[answer.rindex(b"\x88") + 2 :].startswith((4429).to_bytes(2))
        await until(lambda: edge.metric("auralis_listeners") == 0)
        writer.close()


async def test_requests_may_wait_behind_each_other_and_not_without_number() -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    async with playing() as (edge, _, _):
        for count, answered in ((1 + http_protocol.MAX_PIPELINED, True), (2000, False)):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(request * count)
            answers = b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(1.5):
                    while part := await reader.read(65536):
                        answers += part
            assert (answers.count(b" 200 OK") == count) is answered
            assert (b" 400 Bad Request" in answers) is not answered
            writer.close()


async def test_text_that_is_no_text_is_closed_with_1007_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with playing() as (edge, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(masked(1, b"\xff\xfe"))
        async with asyncio.timeout(2):
            assert await reader.read() == b"\x88\x02\x03\xef"
        writer.close()
        assert "Traceback" not in caplog.text


async def test_an_http_listener_who_never_reads_is_dropped_and_a_slow_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_protocol, "STALLED_S", 0.5)
    monkeypatch.setattr(kernel_buffer, "NOTSENT_LOWAT_BYTES", 4096)
    async with playing() as (edge, _, _):
        never, slow = small_link(edge), small_link(edge)
        for link in (never, slow):
            link.sendall(b"GET /stream.mp3 HTTP/1.1\r\nHost: a\r\n\r\n")
            link.settimeout(0)
        await until(lambda: edge.metric("auralis_listeners") == 2)
        async with asyncio.timeout(12):
            while edge.metric("auralis_listeners") == 2:
                # A little slower than it is played.
                await asyncio.sleep(0.2)
                assert await asyncio.get_running_loop().sock_recv(slow, 4096)
        assert sockets_of(edge) == 1
        for link in (never, slow):
            link.close()


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


async def survive(plain: bool, batches: list[list[str | bytes]]) -> None:  # noqa: FBT001 - passed on
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
        # The listener that was there all the time still hears.
        assert (await hear(good))["type"] == "audio"
        assert len(edge.service.hub.streams.by_id) <= edge.service.settings.edge.max_streams


@pytest.mark.parametrize("plain", [False, True], ids=["own", "plain"])
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(messages, min_size=1, max_size=20), min_size=3, max_size=10))
def test_no_message_breaks_a_connection_or_its_neighbours(plain: bool, batches: list[list[str | bytes]]) -> None:  # noqa: FBT001 - a parameter
    asyncio.run(survive(plain, batches))


@pytest.mark.long
@pytest.mark.timeout(900)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(messages, min_size=40, max_size=60), min_size=20, max_size=25))
def test_a_hundred_thousand_messages_break_nothing(batches: list[list[str | bytes]]) -> None:
    asyncio.run(survive(plain=False, batches=batches))
