"""Requests that never end and clients that never read, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.runtime.http import http_protocol, kernel_buffer
from tests.edge.playing import (
    playing,
)
from tests.edge.raw_clients import connected_socket, count_sockets
from tests.support.waiting import until


async def test_a_request_that_never_ends_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_WITHIN_S", 0.4)
    async with playing() as (edge, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET /ws HTTP/1.1\r\nHost: a\r\n")
        for index in range(8):
            # The pace of the request: a header now and then, without end.
            await asyncio.sleep(0.1)
            with contextlib.suppress(ConnectionError):
                writer.write(f"X-{index}: a\r\n".encode())
                await writer.drain()
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


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
            # Longer than a request may take: the pause between two requests has another limit.
            await asyncio.sleep(0.6)
        writer.write(beginning)
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("before", ["", "GET /stream.mp3 HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["alone", "behind another"])
@pytest.mark.parametrize(
    ("head", "more", "status"),
    [
        ("GET /", "a" * 600, b"414"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "A: b\r\n" * 100, b"431"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: ", "b" * 600, b"431"),
    ],
    ids=["line", "headers", "header"],
)
async def test_a_request_that_grows_without_end_is_refused(before: str, head: str, more: str, status: bytes) -> None:
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
        # A reset may overtake the answer. Behind an endless one there is none.
        with contextlib.suppress(ConnectionError):
            assert (b"HTTP/1.1 " + status in await reading) is (not before)
        writer.close()
        await until(lambda: edge.metric("auralis_listeners") == 0)


async def test_pipelined_requests_have_a_limit() -> None:
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


async def test_an_http_listener_that_never_reads_is_dropped_and_a_slow_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_protocol, "STALLED_S", 0.5)
    monkeypatch.setattr(kernel_buffer, "NOTSENT_LOWAT_BYTES", 4096)
    async with playing() as (edge, _, _):
        never, slow = connected_socket(edge), connected_socket(edge)
        for client in (never, slow):
            client.sendall(b"GET /stream.mp3 HTTP/1.1\r\nHost: a\r\n\r\n")
            client.settimeout(0)
        await until(lambda: edge.metric("auralis_listeners") == 2)
        async with asyncio.timeout(12):
            while edge.metric("auralis_listeners") == 2:
                # A little slower than the music plays.
                await asyncio.sleep(0.2)
                assert await asyncio.get_running_loop().sock_recv(slow, 4096)
        assert count_sockets(edge) == 1
        for client in (never, slow):
            client.close()
