from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from unittest.mock import Mock

import pytest

from services.edge.fanout.cohorts import Cohort, Key
from services.edge.fanout.connection import Connection
from services.edge.listener.hearing import Place
from services.edge.listener.payloads import Format, Payload
from services.edge.wire.transport import RawSocket
from tests.edge.support import SPEC

PAYLOAD = Payload(b"x" * 300, text=False, chunk_id=100)


OPEN: list[socket.socket] = []


@pytest.fixture(autouse=True)
def closed_sockets() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


class Socket:
    """A transport with a real socket; it remembers the bytes that are not written to the raw socket.

    Args:
        direct: whether it offers its raw socket.
        full: the socket takes nothing, or only the beginning of a payload.
        broken: the peer is gone, and the transport raises.
    """

    def __init__(self, *, direct: bool = True, full: bool = False, broken: bool = False) -> None:
        self.here, self.there = socket.socketpair()
        OPEN.extend((self.here, self.there))
        self.here.settimeout(0)
        self.there.settimeout(0)
        self.payloads: list[Payload] = []
        self.rest: list[bytes] = []
        self.raw_socket = RawSocket(self.here.fileno(), self._write) if direct else None
        self._broken = broken
        if full:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.here.send(b"-" * 65_536)
        if broken:
            self.there.close()

    def send(self, payload: Payload) -> None:
        self.payloads.append(payload)

    def send_all(self, payloads: Sequence[Payload]) -> None:
        self.payloads.extend(payloads)

    def _write(self, wire: bytes) -> None:
        if self._broken:
            raise RuntimeError("the handler is closed")
        self.rest.append(wire)

    def came(self) -> bytes:
        try:
            return self.there.recv(65_536)
        except BlockingIOError:
            return b""


def connection(transport: Socket) -> Connection:
    made = Connection(Mock(), 0, "a")
    made.transport = transport  # type: ignore[assignment] # as much of one as a cohort needs
    return made


def cohort(next_: int = 100) -> Cohort:
    return Cohort(Key(SPEC.stream_id, Place(0, "normal", 10), Format.PCM), next_)


def test_all_members_get_the_same_bytes_by_raw_socket_or_by_transport() -> None:
    crowd = cohort()
    sockets = [Socket(), Socket(direct=False), Socket()]
    for each in sockets:
        crowd.add(connection(each))
    crowd.send(PAYLOAD, Mock())
    assert [each.came() for each in sockets] == [PAYLOAD.wire, b"", PAYLOAD.wire]
    assert [each.payloads for each in sockets] == [[], [PAYLOAD], []]
    assert crowd.next == 101


def test_a_transport_gets_the_bytes_that_its_socket_does_not_take() -> None:
    crowd = cohort()
    # A payload larger than a socket's buffer is taken in part.
    large = Payload(bytes(range(256)) * 8_000, text=False, chunk_id=100)
    sockets = [Socket(full=True), Socket(), Socket(direct=False), Socket(full=True)]
    for each in sockets:
        crowd.add(connection(each))
    crowd.send(large, Mock())
    assert sockets[0].rest == sockets[3].rest == [large.wire]
    begun = b""
    while part := sockets[1].came():
        begun += part
    assert 0 < len(begun) < len(large.wire)
    assert begun + sockets[1].rest[0] == large.wire
    assert sockets[2].payloads == [large]


def test_a_member_that_leaves_during_a_send_has_been_sent_that_chunk() -> None:
    crowd = cohort()
    slow = Socket(full=True)
    one = connection(slow)
    # As the crowd does on a stall.
    slow.raw_socket = RawSocket(slow.here.fileno(), lambda _: crowd.remove(one))
    crowd.add(one)
    crowd.add(connection(Socket()))
    crowd.send(PAYLOAD, Mock())
    one.listener.advance_to.assert_called_once_with(101)  # type: ignore[attr-defined]
    assert len(crowd) == 1


def test_a_broken_member_is_reported_and_the_others_get_their_chunk() -> None:
    crowd = cohort()
    sockets = [Socket(), Socket(broken=True), Socket(direct=False), Socket(broken=True), Socket()]
    connections = [connection(each) for each in sockets]
    for one in connections:
        crowd.add(one)
    failed: list[Connection] = []
    crowd.send(PAYLOAD, lambda one, _: failed.append(one))
    assert failed == [connections[1], connections[3]]
    assert sockets[0].came() == sockets[4].came() == PAYLOAD.wire
    assert sockets[2].payloads == [PAYLOAD]


def test_a_member_that_leaves_is_told_how_far_it_has_come_and_is_sent_no_more() -> None:
    crowd = cohort()
    gone, other = Socket(), Socket()
    leaving = connection(gone)
    crowd.add(leaving)
    crowd.add(connection(other))
    crowd.send(PAYLOAD, Mock())
    crowd.remove(leaving)
    leaving.listener.advance_to.assert_called_once_with(101)  # type: ignore[attr-defined]
    crowd.send(PAYLOAD, Mock())
    assert (gone.came(), other.came(), len(crowd)) == (PAYLOAD.wire, 2 * PAYLOAD.wire, 1)


def test_the_chunk_that_is_due_follows_from_the_place() -> None:
    behind = Cohort(Key(SPEC.stream_id, Place(30, "stable", 15), Format.PCM), 0)
    assert behind.due(1000) == 1000 - 30 + 14
    assert behind.ahead == 15
    early = Cohort(Key(SPEC.stream_id, Place(-2, "normal", 10), Format.PCM), 0)
    assert early.due(1000) == 1011
    assert early.ahead == 12
