"""Peers that flood, send no text or never read, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from services.edge.server import SERVER_OPTIONS
from services.edge.wire import websocket_protocol
from services.edge.wire.websocket_protocol import WebSocketProtocol
from services.runtime.http import kernel_buffer
from services.runtime.http.guard import PortGuard
from services.runtime.http.server import EmbeddedServer, bind_socket
from tests.edge.playing import (
    playing,
)
from tests.edge.raw_clients import clients_that_never_read, count_sockets, masked
from tests.edge.support import UPGRADE
from tests.support.strangers import listening_for_lines
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


@contextlib.asynccontextmanager
async def served_by(app: Any) -> AsyncIterator[tuple[int, PortGuard]]:
    """An application behind the edge's protocols; its port and guard."""
    guard = PortGuard()
    options = {**SERVER_OPTIONS, "lifespan": "off"}
    server = EmbeddedServer(app, bind_socket("127.0.0.1", 0), guard=guard, **options)
    await server.start()
    try:
        yield server.port, guard
    finally:
        await server.stop(grace_s=1)


class Silent:
    """An application that neither accepts nor refuses."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()

    async def __call__(self, _scope: Any, receive: Any, _send: Any) -> None:
        self.entered.set()
        while (await receive())["type"] != "websocket.disconnect":
            pass


async def test_a_websocket_that_gets_no_101_is_pending_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_protocol, "HANDSHAKE_WITHIN_S", 0.3)
    app = Silent()
    async with served_by(app) as (port, guard):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        await asyncio.wait_for(app.entered.wait(), 5)
        assert len(guard.pending) == 1
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert len(guard.pending) == 0
        writer.close()


@pytest.mark.parametrize("frame", [masked(9, b"p"), masked(1, b"{}"), masked(3), b"\xff" * 20, masked(8, b"\x03\xe8")])
async def test_frames_before_the_101_end_the_connection_and_write_no_line(frame: bytes) -> None:
    app = Silent()
    async with served_by(app) as (port, guard):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        await asyncio.wait_for(app.entered.wait(), 5)
        assert len(guard.pending) == 1
        async with listening_for_lines() as lines:
            writer.write(frame)
            async with asyncio.timeout(2):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            assert len(guard.pending) == 0
            assert lines.texts() == []
        writer.close()


class Wire:
    """The transport of a protocol that is called without a socket."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def get_extra_info(self, _name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (UPGRADE.replace(b"Host: a", b"Content-Length: 3"), b"400"),
        (UPGRADE.replace(b"Host: a", b"a b: c"), b"400"),
        (UPGRADE.replace(b"HTTP/1.1", b"HTTP/3"), b"400"),
        (UPGRADE.replace(b"Host: a", b"X: " + b"a" * 9000), b"431"),
        (UPGRADE.replace(b"/ws", b"/" + b"a" * 9000), b"414"),
    ],
    ids=range(5),
)
async def test_whatever_the_library_cannot_read_is_answered(request_: bytes, status: bytes) -> None:
    config = uvicorn.Config(Silent(), ws=WebSocketProtocol, log_config=None)
    config.load()
    protocol = WebSocketProtocol(config=config, server_state=ServerState(), app_state={})
    wire = Wire()
    protocol.connection_made(wire)  # type: ignore[arg-type]
    protocol.data_received(request_)
    assert wire.closed
    assert wire.written.startswith(b"HTTP/1.1 " + status)
    protocol.connection_lost(None)
