"""Cohorts of listeners at the same place of a stream (shell): one payload for all of them.

Most listeners, most of the time, are sent one chunk a tick and nothing else happens to them. They form a cohort and are
not looked at one by one: a tick costs each of them one call that writes the payload to its socket. A listener that says
something, stalls, or is due for anything else leaves the cohort first, and its own cursor is brought up to date.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from services.edge.fanout.connection import Connection
from services.edge.listener.hearing import Place
from services.edge.listener.payloads import Format, Payload


class Key(NamedTuple):
    """The identity of a cohort within a slot: its members agree in all of this."""

    stream_id: str
    place: Place
    format: Format


class Cohort:
    """Listeners that are sent the same payloads.

    Args:
        key: what the members have in common.
        next_: the tick whose chunk they are sent next.

    Attributes:
        key, next: as above; `next` moves on with each `send`.
    """

    __slots__ = ("_descriptors", "_members", "_others", "_sockets", "key", "next")

    def __init__(self, key: Key, next_: int) -> None:
        self.key = key
        self.next = next_
        self._members: dict[Connection, None] = {}
        # Derived from the members whenever one joins or leaves; `_descriptors` is None until then.
        self._descriptors: list[int] | None = None
        self._sockets: list[tuple[Connection, Callable[[bytes], None]]] = []
        self._others: list[Connection] = []

    def __len__(self) -> int:
        """Number of members."""
        return len(self._members)

    @property
    def members(self) -> list[Connection]:
        """The members; a copy, so that they may leave meanwhile."""
        return list(self._members)

    @property
    def ahead(self) -> int:
        """Chunks from the live tick on, the live one included, that should be there for them."""
        return max(1, self.key.place.target + max(0, -self.key.place.lag))

    def due(self, live: int) -> int:
        """The last tick that they should be sent at the live tick; below `next`: they have it."""
        return live - self.key.place.lag + self.key.place.target - 1

    def add(self, connection: Connection) -> None:
        """Add a listener that has been sent every chunk before `next`."""
        self._members[connection] = None
        self._descriptors = None

    def remove(self, connection: Connection) -> None:
        """Remove a listener and move its cursor to `next`."""
        del self._members[connection]
        self._descriptors = None
        connection.listener.advance_to(self.next)

    def send(self, payload: Payload, failed: Callable[[Connection, Exception], None]) -> None:
        """Send the chunk of `next` to all members.

        Args:
            payload: the chunk.
            failed: called with a connection that cannot be written to; the others are sent theirs all the same.
        """
        descriptors = self._descriptors
        if descriptors is None:
            descriptors = self._sort_members()
        sockets = self._sockets
        wire, size, write_now = payload.wire, len(payload.wire), os.write
        short: list[tuple[int, int]] = []
        numbered = enumerate(descriptors)
        while True:
            index = 0
            try:
                for index, descriptor in numbered:
                    # Runs for thousands of listeners each tick, so it makes no call that can be spared.
                    if (taken := write_now(descriptor, wire)) != size:
                        short.append((index, taken))
                break
            except OSError:
                # Full or broken: its transport meets the same error and handles it as always.
                short.append((index, 0))
        self.next += 1
        for connection in self._others:
            connection.send(payload)
        for index, taken in short:
            connection, write = sockets[index]
            try:
                # A transport that keeps a part of it says so, and the connection leaves before the next chunk.
                write(wire[taken:])
            except Exception as error:  # noqa: BLE001 - servers have no common error for "the client has gone"
                failed(connection, error)

    def _sort_members(self) -> list[int]:
        """Separate members with a raw socket from the others; returns the sockets' descriptors."""
        descriptors = self._descriptors = []
        self._sockets = []
        self._others = []
        for connection in self._members:
            raw_socket = None if connection.transport is None else connection.transport.raw_socket
            if raw_socket is None:
                self._others.append(connection)
            else:
                descriptors.append(raw_socket.descriptor)
                self._sockets.append((connection, raw_socket.write))
        return descriptors
