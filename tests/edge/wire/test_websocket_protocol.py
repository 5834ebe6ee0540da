"""Peers that flood, send no text or never read, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.edge.wire import websocket_protocol
from services.runtime.http import kernel_buffer
from tests.edge.playing import (
    playing,
)
from tests.edge.raw_clients import clients_that_never_read, count_sockets, masked
from tests.edge.support import UPGRADE
from tests.support.waiting import until


@pytest.mark.parametrize("goodbye", [masked(8, b"\x03\xe8"), masked(1, bytes(5000))], ids=["close", "too big"])
async def test_a_closed_peer_that_never_reads_is_dropped(monkeypatch: pytest.MonkeyPatch, goodbye: bytes) -> None:
    monkeypatch.setattr(websocket_protocol, "CLOSE_WITHIN_S", 0.3)
    monkeypatch.setattr(kernel_buffer, "NOTSENT_LOWAT_BYTES", 4096)
    async with playing() as (edge, _, _), clients_that_never_read(edge, 3) as sockets:
        for client in sockets:
            client.sendall(goodbye)
        # The listener is forgotten first; then the socket and its unsent bytes must go too.
        await until(lambda: edge.metric("auralis_listeners") == 0)
        await until(lambda: count_sockets(edge) == 0, 3)


async def test_a_server_stops_although_a_closed_peer_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_buffer, "NOTSENT_LOWAT_BYTES", 4096)
    async with asyncio.timeout(15), contextlib.AsyncExitStack() as clients, playing() as (edge, _, _):
        (client,) = await clients.enter_async_context(clients_that_never_read(edge, 1))
        client.sendall(masked(8, b"\x03\xe8"))
        await until(lambda: edge.metric("auralis_listeners") == 0)


@pytest.mark.parametrize(
    "flood",
    [masked(9, bytes(125)) * 50, masked(10) * 50, masked(0, fin=False) * 50],
    ids=["pings", "pongs", "fragments"],
)
async def test_control_frames_and_fragments_are_limited_like_messages(flood: bytes) -> None:
    async with playing() as (edge, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(masked(1, b'{"type":', fin=False))
        writer.write(flood)
        # Long enough to close the connection, if these frames were too many already.
        await asyncio.sleep(0.1)
        assert edge.metric("auralis_listeners") == 1
        writer.write(flood + flood)
        async with asyncio.timeout(2):
            answer = await reader.read()
        assert answer[answer.rindex(b"\x88") + 2 :].startswith((4429).to_bytes(2))
        await until(lambda: edge.metric("auralis_listeners") == 0)
        writer.close()


async def test_text_that_is_not_utf_8_is_closed_with_1007_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with playing() as (edge, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(masked(1, b"\xff\xfe"))
        async with asyncio.timeout(2):
            assert await reader.read() == b"\x88\x02\x03\xef"
        writer.close()
        assert "Traceback" not in caplog.text
