"""Writing past the event loop: nothing is lost, doubled, put out of order, or sent to somebody else."""

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

from services.edge.wire.uvicorn_protocols import ListenerProtocol

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


class Pausing(asyncio.Protocol):
    """Remembers whether its transport keeps something."""

    paused = False
    lost = False

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True


def descriptor_of(transport: Any) -> int | None:
    protocol = cast("ListenerProtocol", SimpleNamespace(transport=transport))
    descriptor = ListenerProtocol.descriptor
    assert isinstance(descriptor, property)
    assert descriptor.fget is not None
    number: int | None = descriptor.fget(protocol)
    return number


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.Transport, Pausing, socket.socket]]:
    """A transport whose buffers are small, its protocol, and the peer's socket."""
    here, there = socket.socketpair()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    here.settimeout(0)
    there.settimeout(0)
    transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(Pausing, here)
    transport.set_write_buffer_limits(high=0)
    try:
        yield transport, protocol, there
    finally:
        transport.abort()
        there.close()
        await asyncio.sleep(0.01)


@LOOPS
def test_a_reader_that_pauses_gets_every_byte_once_and_in_order(loop: Any) -> None:
    messages = [bytes([index % 251]) * (700 + 13 * index) for index in range(100)]

    async def main() -> tuple[bytes, set[str]]:
        async with connection() as (transport, protocol, there):
            descriptor = descriptor_of(transport)
            assert descriptor is not None
            came = b""
            ways: set[str] = set()
            for index, message in enumerate(messages):
                # As a cohort does, and as the hub does with those who have left one.
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
                        assert protocol.paused, "what is kept must be told of at once"
                if index % 40 == 39:
                    came += await asyncio.get_running_loop().sock_recv(there, 100_000)
                    await asyncio.sleep(0.01)
            while len(came) < sum(map(len, messages)):
                came += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(there, 65_536), 5)
            return came, ways

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(main()) == (b"".join(messages), {"descriptor", "transport"})


@LOOPS
def test_a_protocol_hears_of_the_end_while_the_number_is_still_its_own(loop: Any) -> None:
    async def main() -> None:
        async with connection() as (transport, protocol, _):
            descriptor = descriptor_of(transport)
            own: list[bool] = []

            def lost(_: Exception | None) -> None:
                stranger, theirs = socket.socketpair()
                with stranger, theirs:
                    own.append(descriptor not in (stranger.fileno(), theirs.fileno()))

            protocol.connection_lost = lost  # type: ignore[method-assign]
            transport.close()
            await asyncio.sleep(0.05)
            assert own == [True]
            # Afterwards it is anybody's.
            stranger, theirs = socket.socketpair()
            with stranger, theirs:
                assert descriptor in (stranger.fileno(), theirs.fileno())

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_what_goes_over_tls_is_left_to_the_transport() -> None:
    infos = {"socket": socket.socket(), "sslcontext": object()}
    with infos["socket"]:  # type: ignore[attr-defined]
        assert descriptor_of(SimpleNamespace(get_extra_info=infos.get)) is None
