"""Clients that write bytes of their own: slow, hostile, or both."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import psutil

from tests.edge.support import UPGRADE, Edge
from tests.support.waiting import until


def connected_socket(edge: Edge) -> socket.socket:
    """A connected socket with a small receive buffer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", edge.port))
    return client


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A WebSocket frame of a client, with a mask of zeros."""
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    return bytes((0x80 * fin | opcode,)) + size + bytes(4) + payload


def count_sockets(edge: Edge) -> int:
    """Connections that the edge has open."""
    connections = psutil.Process().net_connections("tcp")
    return sum(1 for each in connections if each.laddr.port == edge.port and each.status == "ESTABLISHED")


@contextlib.asynccontextmanager
async def clients_that_never_read(edge: Edge, count: int) -> AsyncIterator[list[socket.socket]]:
    """Listeners that read nothing; entered when the edge holds unsent bytes of each."""
    sockets = [connected_socket(edge) for _ in range(count)]
    try:
        for client in sockets:
            client.sendall(UPGRADE)
        await until(lambda: edge.metric("auralis_listeners") == count)
        for client in sockets:
            client.sendall(masked(1, b'{"type":"control","action":"start"}'))
        hub = edge.service.hub

        def stalled() -> int:
            return sum(1 for each in hub.connections if each.transport is not None and each.transport.backlog_bytes())

        await until(lambda: stalled() == count, 10)
        yield sockets
    finally:
        for client in sockets:
            client.close()
