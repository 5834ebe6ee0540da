from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

from services.edge.cohorts import Cohort, Key
from services.edge.connection import Connection
from services.edge.frames import Format, Frame
from services.edge.listener import Place

FRAME = Frame(b"x" * 300, text=False, chunk_id=100)


class Socket:
    """A transport that remembers what it was given: straight, or by `send`."""

    def __init__(self, *, direct: bool = True, broken: bool = False) -> None:
        self.written: list[bytes] = []
        self.frames: list[Frame] = []
        self.write: Any = self._break if broken else self.written.append if direct else None

    def _break(self, _: bytes) -> None:
        raise RuntimeError("the handler is closed")

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)

    def send_all(self, frames: Sequence[Frame]) -> None:
        self.frames.extend(frames)


def connection(socket: Socket) -> Connection:
    made = Connection(Mock(), 0, "a")
    made.transport = socket  # type: ignore[assignment] # as much of one as a cohort needs
    return made


def cohort(next_: int = 100) -> Cohort:
    return Cohort(Key(Mock(), Place(0, "normal", 10), Format.PCM), next_)


def test_everybody_gets_the_same_bytes_in_the_way_that_his_socket_has() -> None:
    crowd = cohort()
    sockets = [Socket(), Socket(direct=False), Socket()]
    for socket in sockets:
        crowd.add(connection(socket))
    crowd.send(FRAME, Mock())
    assert sockets[0].written[0] is sockets[2].written[0] is FRAME.wire
    assert sockets[1].frames == [FRAME]
    assert crowd.next == 101


def test_one_that_cannot_be_written_to_is_told_of_and_the_others_get_theirs() -> None:
    crowd = cohort()
    sockets = [Socket(), Socket(broken=True), Socket(direct=False), Socket(broken=True), Socket()]
    connections = [connection(socket) for socket in sockets]
    for one in connections:
        crowd.add(one)
    failed: list[Connection] = []
    crowd.send(FRAME, lambda one, _: failed.append(one))
    assert failed == [connections[1], connections[3]]
    assert sockets[0].written == sockets[4].written == [FRAME.wire]
    assert sockets[2].frames == [FRAME]


def test_who_leaves_learns_how_far_it_has_come_and_is_sent_no_more() -> None:
    crowd = cohort()
    socket, other = Socket(), Socket()
    leaving = connection(socket)
    crowd.add(leaving)
    crowd.add(connection(other))
    crowd.send(FRAME, Mock())
    crowd.remove(leaving)
    leaving.listener.went_on.assert_called_once_with(101)  # type: ignore[attr-defined]
    assert leaving.cohort is None
    crowd.send(FRAME, Mock())
    assert (len(socket.written), len(other.written), len(crowd)) == (1, 2, 1)


def test_what_is_due_follows_from_the_place() -> None:
    behind = Cohort(Key(Mock(), Place(30, "stable", 15), Format.PCM), 0)
    assert behind.due(1000) == 1000 - 30 + 14
    assert behind.ahead == 15
    early = Cohort(Key(Mock(), Place(-2, "normal", 10), Format.PCM), 0)
    assert early.due(1000) == 1011
    assert early.ahead == 12
