from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest

from services.edge.listener.payloads import Payload
from services.edge.wire import transport as module
from services.edge.wire.transport import BACKLOG_BYTES, OVERFLOW_BYTES, AsgiTransport, DirectTransport


class Server:
    """The ASGI side: takes messages while `open`, and remembers them."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.messages: list[dict[str, Any]] = []
        self.error: Exception | None = None

    async def send(self, message: dict[str, Any]) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.messages.append(message)


class Door:
    """The server's side of a DirectConnection."""

    def __init__(self) -> None:
        self.on_writable: Any = None
        self.on_stall: Any = None
        self.on_gone: Any = None
        self.written: list[bytes] = []
        self.backlog = 0
        self.aborted = False

    @property
    def descriptor(self) -> int:
        return 7

    def write(self, wire: bytes) -> None:
        self.written.append(wire)

    def backlog_bytes(self) -> int:
        return self.backlog

    def round_trip_s(self) -> float:
        return 0.012

    def abort(self) -> None:
        self.aborted = True


def chunk_payload(size: int = 20_000) -> Payload:
    return Payload(b"x" * size, text=True, chunk_id=7)


def event_payload(size: int = 100) -> Payload:
    return Payload(b"e" * size, text=True)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Asgi:
    def __init__(self) -> None:
        self.server = Server()
        self.rooms = 0
        self.stalls = 0
        self.errors: list[str] = []
        self.transport = AsgiTransport(
            self.server.send, on_writable=self.room, on_stall=self.stall, on_error=self.errors.append
        )
        self.task = asyncio.ensure_future(self.transport.run())

    def room(self) -> None:
        self.rooms += 1

    def stall(self) -> None:
        self.stalls += 1


async def test_payloads_go_out_in_order_and_the_close_comes_last() -> None:
    asgi = Asgi()
    payloads = [chunk_payload(size) for size in (1, 2, 3)]
    for payload in payloads:
        asgi.transport.send(payload)
    asgi.transport.close(1000, "stopped")
    asgi.transport.send(chunk_payload())
    await asgi.task
    assert asgi.server.messages == [
        *(payload.asgi_message for payload in payloads),
        {"type": "websocket.close", "code": 1000, "reason": "stopped"},
    ]
    assert asgi.errors == []


async def test_the_backlog_counts_what_has_not_left_and_room_is_told_once() -> None:
    asgi = Asgi()
    asgi.server.open.clear()
    for _ in range(20):
        asgi.transport.send(chunk_payload())
    await settle()
    assert asgi.transport.backlog_bytes() == 400_000 > BACKLOG_BYTES
    asgi.transport.notify_when_writable()
    asgi.server.open.set()
    await settle()
    assert asgi.transport.backlog_bytes() == 0
    assert asgi.rooms == 1
    asgi.transport.send(chunk_payload())
    await settle()
    assert asgi.rooms == 1
    asgi.task.cancel()


async def test_a_connection_to_which_too_much_piles_up_is_closed_and_counted() -> None:
    asgi = Asgi()
    asgi.server.open.clear()
    sent = 0
    while not asgi.errors:
        asgi.transport.send(event_payload(100_000))
        sent += 100_000
        assert sent < OVERFLOW_BYTES + 300_000
    assert asgi.errors == ["overflow"]
    asgi.server.open.set()
    await asgi.task
    assert asgi.server.messages[-1]["code"] == 1008


async def test_a_close_that_the_peer_does_not_take_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_WITHIN_S", 0.01)
    asgi = Asgi()
    asgi.server.open.clear()
    asgi.transport.send(chunk_payload())
    await settle()
    asgi.transport.close(1000, "stopped")
    with pytest.raises(asyncio.CancelledError):
        await asgi.task
    assert asgi.errors == ["stalled"]
    assert asgi.transport.backlog_bytes() == 0


async def test_a_client_that_has_gone_ends_the_writer_quietly() -> None:
    class ClientDisconnectedError(Exception):
        pass

    for error, kind in ((ClientDisconnectedError(), "closed"), (RuntimeError("a planted fault"), "exception")):
        asgi = Asgi()
        asgi.server.error = error
        asgi.transport.send(chunk_payload())
        await asgi.task
        assert asgi.errors == [kind]
        asgi.transport.send(chunk_payload())
        assert asgi.transport.backlog_bytes() == 0


def direct() -> tuple[DirectTransport, Door, Server, list[str], list[int]]:
    door, server = Door(), Server()
    errors: list[str] = []
    rooms: list[int] = []
    transport = DirectTransport(
        door, server.send, on_writable=lambda: rooms.append(1), on_stall=Mock(), on_error=errors.append
    )
    return transport, door, server, errors, rooms


async def test_direct_payloads_are_written_as_they_are() -> None:
    transport, door, _, _, _ = direct()
    payload = chunk_payload()
    transport.send(payload)
    assert door.written == [payload.wire]
    assert door.written[0] is payload.wire
    assert transport.round_trip_s() == 0.012


async def test_direct_room_is_told_once_after_it_was_asked_for() -> None:
    transport, door, _, _, rooms = direct()
    door.on_writable()
    assert rooms == []
    transport.notify_when_writable()
    door.on_writable()
    door.on_writable()
    assert rooms == [1]


async def test_a_direct_connection_to_which_events_pile_up_is_dropped() -> None:
    transport, door, _, errors, _ = direct()
    door.backlog = OVERFLOW_BYTES + 1
    transport.send(event_payload())
    assert (door.aborted, door.written, errors) == (True, [], ["overflow"])


async def test_a_direct_close_goes_the_servers_way_and_ends_the_writing() -> None:
    transport, door, server, _, _ = direct()
    transport.close(1012, "token")
    transport.close(1000, "again")
    transport.send(chunk_payload())
    await settle()
    assert server.messages == [{"type": "websocket.close", "code": 1012, "reason": "token"}]
    assert door.written == []


@pytest.mark.parametrize("how", ["gone", "closed"])
async def test_nothing_is_put_into_a_socket_that_may_be_a_strangers_next(how: str) -> None:
    transport, door, _, _, _ = direct()
    assert transport.raw_socket == (7, door.write)
    if how == "gone":
        door.on_gone()
        door.on_stall.assert_called_once()  # which makes its cohort let it go
    else:
        transport.close(1000, "stopped")
    assert transport.raw_socket is None
    await settle()


async def test_a_direct_close_that_the_peer_does_not_take_drops_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSE_WITHIN_S", 0.01)
    transport, door, server, errors, _ = direct()
    server.open.clear()
    transport.close(1000, "stopped")
    await asyncio.sleep(0.05)
    assert (door.aborted, errors) == (True, ["stalled"])


async def test_closing_what_has_gone_is_no_trouble() -> None:
    for error, told in ((RuntimeError("gone"), []), (ConnectionResetError(), []), (ValueError("other"), ["closed"])):
        transport, door, server, errors, _ = direct()
        server.error = error
        transport.close(1000, "stopped")
        await settle()
        assert (door.aborted, errors) == (False, told)
