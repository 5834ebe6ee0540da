"""Writing past the event loop: nothing is lost, doubled, reordered, or sent to another client."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from services.edge.wire.websocket_protocol import WebSocketProtocol
from tests.support.waiting import until

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


class PausedFlag(asyncio.Protocol):
    """Remembers whether its transport holds unsent bytes."""

    paused = False

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False


def descriptor_of(transport: Any) -> int | None:
    """What a WebSocketProtocol on `transport` gives as its descriptor."""
    protocol = cast("WebSocketProtocol", SimpleNamespace(transport=transport))
    descriptor = WebSocketProtocol.descriptor
    assert isinstance(descriptor, property)
    assert descriptor.fget is not None
    number: int | None = descriptor.fget(protocol)
    return number


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.Transport, PausedFlag, socket.socket]]:
    """A transport whose buffers are small, its protocol, and the peer's socket."""
    here, there = socket.socketpair()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    here.settimeout(0)
    there.settimeout(0)
    transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(PausedFlag, here)
    transport.set_write_buffer_limits(high=0)
    try:
        yield transport, protocol, there
    finally:
        transport.abort()
        there.close()
        await until(lambda: here.fileno() == -1)


@LOOPS
def test_a_reader_that_pauses_gets_every_byte_once_and_in_order(loop: Any) -> None:
    messages = [bytes([index % 251]) * (700 + 13 * index) for index in range(100)]

    async def main() -> tuple[bytes, set[str]]:
        async with connection() as (transport, protocol, there):
            descriptor = descriptor_of(transport)
            assert descriptor is not None
            received = b""
            ways: set[str] = set()
            for index, message in enumerate(messages):
                # A cohort writes to the descriptor; the hub writes to the transport after a connection has left it.
                if protocol.paused:
                    ways.add("transport")
                    transport.write(message)
                else:
                    ways.add("descriptor")
                    try:
                        taken = os.write(descriptor, message)
                    except BlockingIOError:
                        taken = 0
                    if taken < len(message):
                        transport.write(message[taken:])
                        assert protocol.paused, "the transport must report unsent bytes immediately"
                if index % 40 == 39:
                    while protocol.paused:
                        received += await asyncio.get_running_loop().sock_recv(there, 100_000)
                        await asyncio.sleep(0)
            while len(received) < sum(map(len, messages)):
                received += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(there, 65_536), 5)
            return received, ways

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(main()) == (b"".join(messages), {"descriptor", "transport"})


@LOOPS
def test_a_protocol_learns_of_the_close_before_its_descriptor_is_reused(loop: Any) -> None:
    async def main() -> None:
        async with connection() as (transport, protocol, _):
            descriptor = descriptor_of(transport)
            reused: list[bool] = []

            def lost(_: Exception | None) -> None:
                new, peer = socket.socketpair()
                with new, peer:
                    reused.append(descriptor in (new.fileno(), peer.fileno()))

            protocol.connection_lost = lost  # type: ignore[method-assign]
            transport.close()
            await until(lambda: reused)
            assert reused == [False]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_a_connection_with_tls_has_no_raw_socket() -> None:
    infos = {"socket": socket.socket(), "sslcontext": object()}
    with infos["socket"]:  # type: ignore[attr-defined]
        assert descriptor_of(SimpleNamespace(get_extra_info=infos.get)) is None
