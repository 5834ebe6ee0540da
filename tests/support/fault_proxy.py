"""A TCP proxy that delays, throttles, stalls, isolates and cuts connections between a listener, an edge and the bus.

Its randomness comes from a seed: the same test meets the same faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator

_PIECE_BYTES = 8 * 1024


class FaultProxy:
    """One proxy in front of one port.

    Args:
        target_port: where it leads.
        seed: of the random delays.
        host: the address to listen on.

    Attributes:
        port: where clients connect.
        delay_s: added to data towards the client, piece by piece.
        jitter_s: upper bound of a random delay on top, drawn for each piece.
        bytes_per_s: rate towards the client; None: unlimited.
        stalled: nothing goes to the client, and nothing is read from the server.
        isolated: nothing goes either way and a new connection meets silence, as if packets were lost.
        target_port: where new connections lead.
    """

    def __init__(self, target_port: int, *, seed: int = 0, host: str = "127.0.0.1") -> None:
        self._chance = random.Random(seed)
        self.target_port = target_port
        self._host = host
        self._links: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.bytes_per_s: float | None = None
        self.stalled = False
        self.isolated = False

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._link, self._host, 0, limit=_PIECE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._links, return_exceptions=True)

    def cut(self) -> None:
        """Drop every connection without a close."""
        for link in self._links:
            link.cancel()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self._while_isolated()
            # Small buffers all the way, so that data piles up at the sender, as on a slow connection.
            link = socket.socket()
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * _PIECE_BYTES)
            link.setblocking(False)  # noqa: FBT003 - the standard library's signature
            await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", self.target_port))
            there, back = await asyncio.open_connection(sock=link, limit=_PIECE_BYTES)
            writer.transport.set_write_buffer_limits(high=_PIECE_BYTES)
            up = asyncio.ensure_future(self._copy(reader, back))
            down = asyncio.ensure_future(self._copy_badly(there, writer))
            try:
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
                back.transport.abort()
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            self._links.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_PIECE_BYTES):
            await self._while_isolated()
            writer.write(data)
            await writer.drain()

    async def _copy_badly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            while self.stalled:
                await asyncio.sleep(0.01)
            await self._while_isolated()
            data = await reader.read(_PIECE_BYTES)
            if not data:
                return
            if self.delay_s or self.jitter_s:
                await asyncio.sleep(self.delay_s + self._chance.random() * self.jitter_s)
            if self.bytes_per_s is not None:
                await asyncio.sleep(len(data) / self.bytes_per_s)
            await self._while_isolated()
            writer.write(data)
            await writer.drain()

    async def _while_isolated(self) -> None:
        while self.isolated:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def fault_proxy(target_port: int, *, seed: int = 0, host: str = "127.0.0.1") -> AsyncIterator[FaultProxy]:
    """A proxy in front of `target_port`, transparent until it is told otherwise."""
    proxy = FaultProxy(target_port, seed=seed, host=host)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
