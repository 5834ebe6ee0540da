"""Writing past the event loop: nothing is lost, doubled, put out of order, or sent to somebody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from services.edge.protocol import ListenerProtocol


def writer_of(transport: Any) -> Callable[[bytes], None]:
    protocol = cast("ListenerProtocol", SimpleNamespace(transport=transport))
    writer = ListenerProtocol.writer
    assert isinstance(writer, property)
    assert writer.fget is not None
    write: Callable[[bytes], None] = writer.fget(protocol)
    return write


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """A transport whose buffers are small, and the peer's socket."""
    here, there = socket.socketpair()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    here.settimeout(0)
    there.settimeout(0)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, here)
    transport.set_write_buffer_limits(high=0)
    try:
        yield transport, there
    finally:
        transport.abort()
        there.close()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_reader_that_pauses_gets_every_byte_once_and_in_order(loop: Any) -> None:
    messages = [bytes([index % 251]) * (700 + 13 * index) for index in range(100)]

    async def main() -> bytes:
        async with connection() as (transport, there):
            write = writer_of(transport)
            came = b""
            for index, message in enumerate(messages):
                write(message)
                if index % 40 == 39:
                    came += await asyncio.get_running_loop().sock_recv(there, 10_000)
            assert transport.get_write_buffer_size() > 0, "it should have been more than the kernel takes"
            while len(came) < sum(map(len, messages)):
                came += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(there, 65_536), 5)
            return came

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(main()) == b"".join(messages)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_descriptor_that_was_given_back_is_not_written_to(loop: Any) -> None:
    async def main() -> None:
        async with connection() as (transport, _):
            write = writer_of(transport)
            descriptor = transport.get_extra_info("socket").fileno()
            transport.close()
            await asyncio.sleep(0.05)
            # The next to be opened gets the same number.
            stranger, theirs = socket.socketpair()
            with stranger, theirs:
                assert descriptor in (stranger.fileno(), theirs.fileno())
                write(b"not for you")
                for end in (stranger, theirs):
                    end.settimeout(0)
                    with pytest.raises(BlockingIOError):
                        end.recv(100)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_what_goes_over_tls_is_left_to_the_transport() -> None:
    infos = {"socket": socket.socket(), "sslcontext": object()}
    with infos["socket"]:  # type: ignore[attr-defined]
        transport = SimpleNamespace(get_extra_info=infos.get, write=lambda _: None)
        assert writer_of(transport) is transport.write
