from __future__ import annotations

import asyncio

import pytest

from services.edge.wire import asgi_transport as module
from services.edge.wire.asgi_transport import AsgiTransport
from services.edge.wire.transport import BACKLOG_BYTES, OVERFLOW_BYTES
from tests.edge.wire.support import Server, chunk_payload, event_payload, run_ready_tasks


class Asgi:
    """A transport that runs, its server, and the number of its callbacks."""

    def __init__(self) -> None:
        self.server = Server()
        self.writables = 0
        self.stalls = 0
        self.errors: list[str] = []
        self.transport = AsgiTransport(
            self.server.send, on_writable=self._writable, on_stall=self._stall, on_error=self.errors.append
        )
        self.task = asyncio.ensure_future(self.transport.run())

    def _writable(self) -> None:
        self.writables += 1

    def _stall(self) -> None:
        self.stalls += 1


async def test_payloads_are_sent_in_order_and_the_close_last() -> None:
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


async def test_the_backlog_counts_unsent_bytes_and_on_writable_is_called_once() -> None:
    asgi = Asgi()
    asgi.server.open.clear()
    for _ in range(20):
        asgi.transport.send(chunk_payload())
    await run_ready_tasks()
    assert asgi.transport.backlog_bytes() == 400_000 > BACKLOG_BYTES
    asgi.transport.notify_when_writable()
    asgi.server.open.set()
    await run_ready_tasks()
    assert asgi.transport.backlog_bytes() == 0
    assert asgi.writables == 1
    asgi.transport.send(chunk_payload())
    await run_ready_tasks()
    assert asgi.writables == 1
    asgi.task.cancel()


async def test_a_payload_behind_an_unsent_one_is_reported_as_a_stall() -> None:
    asgi = Asgi()
    asgi.server.open.clear()
    asgi.transport.send(chunk_payload())
    assert asgi.stalls == 0
    asgi.transport.send(chunk_payload())
    assert asgi.stalls == 1
    asgi.task.cancel()


async def test_a_connection_with_too_many_unsent_events_is_closed_and_counted() -> None:
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
    await run_ready_tasks()
    asgi.transport.close(1000, "stopped")
    with pytest.raises(asyncio.CancelledError):
        await asgi.task
    assert asgi.errors == ["stalled"]
    assert asgi.transport.backlog_bytes() == 0


async def test_a_client_that_disconnects_ends_the_writer_without_an_exception() -> None:
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
