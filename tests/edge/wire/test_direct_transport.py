from __future__ import annotations

from typing import Any

import pytest

from services.edge.wire import direct_transport as module
from services.edge.wire.direct_transport import DirectTransport
from services.edge.wire.transport import OVERFLOW_BYTES
from tests.edge.wire.support import Server, chunk_payload, event_payload, run_ready_tasks
from tests.support.waiting import until


class Connection:
    """The server's side: remembers what is written."""

    descriptor = 7

    def __init__(self) -> None:
        self.on_writable: Any = None
        self.on_stall: Any = None
        self.on_closing: Any = None
        self.written: list[bytes] = []
        self.backlog = 0
        self.aborted = False

    def write(self, wire: bytes) -> None:
        self.written.append(wire)

    def backlog_bytes(self) -> int:
        return self.backlog

    def round_trip_s(self) -> float:
        return 0.012

    def abort(self) -> None:
        self.aborted = True


class Direct:
    """A transport, the server's side of it, and its callbacks."""

    def __init__(self) -> None:
        self.connection = Connection()
        self.server = Server()
        self.errors: list[str] = []
        self.calls: list[str] = []
        self.transport = DirectTransport(
            self.connection,
            self.server.send,
            on_writable=lambda: self.calls.append("writable"),
            on_stall=lambda: self.calls.append("stall"),
            on_error=self.errors.append,
        )


async def test_payloads_are_written_as_they_are() -> None:
    direct = Direct()
    payload = chunk_payload()
    direct.transport.send(payload)
    assert direct.connection.written == [payload.wire]
    assert direct.connection.written[0] is payload.wire
    assert direct.transport.round_trip_s() == 0.012


async def test_several_payloads_are_one_write() -> None:
    direct = Direct()
    payloads = [event_payload(), chunk_payload(1), chunk_payload(2)]
    direct.transport.send_all(payloads)
    assert direct.connection.written == [b"".join(payload.wire for payload in payloads)]


async def test_on_writable_is_called_once_after_it_was_asked_for() -> None:
    direct = Direct()
    direct.connection.on_writable()
    assert direct.calls == []
    direct.transport.notify_when_writable()
    direct.connection.on_writable()
    direct.connection.on_writable()
    assert direct.calls == ["writable"]


@pytest.mark.parametrize("count", [1, 2])
async def test_a_connection_with_too_many_unsent_events_is_dropped(count: int) -> None:
    direct = Direct()
    direct.connection.backlog = OVERFLOW_BYTES + 1
    direct.transport.send_all([event_payload()] * count)
    assert (direct.connection.aborted, direct.connection.written, direct.errors) == (True, [], ["overflow"])


async def test_a_close_uses_the_server_and_ends_the_writing() -> None:
    direct = Direct()
    direct.transport.close(1012, "token")
    direct.transport.close(1000, "again")
    direct.transport.send(chunk_payload())
    await run_ready_tasks()
    assert direct.server.messages == [{"type": "websocket.close", "code": 1012, "reason": "token"}]
    assert direct.connection.written == []


@pytest.mark.parametrize("by", ["server", "edge"])
async def test_the_raw_socket_is_withdrawn_before_its_descriptor_can_be_reused(by: str) -> None:
    direct = Direct()
    assert direct.transport.raw_socket == (7, direct.connection.write)
    if by == "server":
        direct.connection.on_closing()
        assert direct.calls == ["stall"]  # on which its cohort drops the raw socket too
    else:
        direct.transport.close(1000, "stopped")
    assert direct.transport.raw_socket is None
    await run_ready_tasks()


async def test_a_close_that_the_peer_does_not_take_drops_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_WITHIN_S", 0.01)
    direct = Direct()
    direct.server.open.clear()
    direct.transport.close(1000, "stopped")
    await until(lambda: direct.connection.aborted)
    assert direct.errors == ["stalled"]


@pytest.mark.parametrize(
    ("error", "errors"),
    [(RuntimeError("closed"), []), (ConnectionResetError(), []), (ValueError("other"), ["closed"])],
    ids=["server", "peer", "other"],
)
async def test_closing_a_closed_connection_is_no_failure(error: Exception, errors: list[str]) -> None:
    direct = Direct()
    direct.server.error = error
    direct.transport.close(1000, "stopped")
    await run_ready_tasks()
    assert (direct.connection.aborted, direct.errors) == (False, errors)
