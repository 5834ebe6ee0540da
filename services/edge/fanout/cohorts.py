"""Listeners who stand at the same place of the same stream: one payload, and one write for each of them.

Most listeners, most of the time, are sent one chunk a tick and nothing else happens to them. They are kept together as
a cohort and not looked at one by one: a tick costs each of them one call that puts the payload into its socket. Whoever
says something, stalls, or is due for anything else leaves the cohort first, and is told how far it has come.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from services.edge.fanout.connection import Connection
from services.edge.fanout.streams import Stream
from services.edge.listener.hearing import Place
from services.edge.listener.payloads import Format, Payload


class Key(NamedTuple):
    """What the members of a cohort have in common; the beat of a tick comes on top of it."""

    stream: Stream
    place: Place
    format: Format


class Cohort:
    """See the module's text.

    Args:
        key: what the members have in common.
        next_: the tick that they are sent next.

    Attributes:
        key, next: as above; `next` moves on with each `send`.
    """

    __slots__ = ("_descriptors", "_direct", "_members", "_sends", "key", "next")

    def __init__(self, key: Key, next_: int) -> None:
        self.key = key
        self.next = next_
        self._members: dict[Connection, None] = {}
        # Made from the members when one has come or gone: straight into the socket where the server lets us.
        self._descriptors: list[int] | None = None
        self._direct: list[tuple[Connection, Callable[[bytes], None]]] = []
        self._sends: list[Connection] = []

    def __len__(self) -> int:
        """How many there are."""
        return len(self._members)

    @property
    def members(self) -> list[Connection]:
        """Who they are; a copy, so that they may leave."""
        return list(self._members)

    @property
    def ahead(self) -> int:
        """Chunks from the live tick on, it included, that should be there for them."""
        return max(1, self.key.place.target + max(0, -self.key.place.lag))

    def due(self, live: int) -> int:
        """The tick that they should be sent at the live tick; more than `next` while they are behind."""
        return live - self.key.place.lag + self.key.place.target - 1

    def add(self, connection: Connection) -> None:
        """A listener who has been sent everything before `next` joins."""
        self._members[connection] = None
        self._descriptors = None
        connection.cohort = self

    def remove(self, connection: Connection) -> None:
        """A listener leaves and learns how far it has come."""
        del self._members[connection]
        self._descriptors = None
        connection.cohort = None
        connection.listener.advance_to(self.next)

    def send(self, payload: Payload, failed: Callable[[Connection, Exception], None]) -> None:
        """Send the chunk of `next` to all of them.

        Args:
            payload: the chunk.
            failed: told of a connection that cannot be written to; the others are sent theirs all the same.
        """
        if self._descriptors is None:
            self._sort()
        descriptors, direct = self._descriptors, self._direct
        assert descriptors is not None  # noqa: S101 - for the type checker: `_sort` has made it
        wire, size, put = payload.wire, len(payload.wire), os.write
        short: list[tuple[int, int]] = []
        numbered = enumerate(descriptors)
        while True:
            index = 0
            try:
                for index, descriptor in numbered:
                    # The one line that thousands of listeners cost: no call that can be spared.
                    if (taken := put(descriptor, wire)) != size:
                        short.append((index, taken))
                break
            except OSError:
                # Full, or broken: its transport meets the same, and deals with it as with everything else.
                short.append((index, 0))
        self.next += 1
        for connection in self._sends:
            connection.send(payload)
        for index, taken in short:
            connection, write = direct[index]
            try:
                # A transport that keeps some of it says so, and the connection leaves before the next chunk.
                write(wire[taken:])
            except Exception as error:  # noqa: BLE001 - servers have no common error for "the client has gone"
                failed(connection, error)

    def _sort(self) -> None:
        self._descriptors = []
        self._direct = []
        self._sends = []
        for connection in self._members:
            raw_socket = None if connection.transport is None else connection.transport.raw_socket
            if raw_socket is None:
                self._sends.append(connection)
            else:
                self._descriptors.append(raw_socket.descriptor)
                self._direct.append((connection, raw_socket.write))
