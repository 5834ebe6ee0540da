"""Pings of the edge over a raw socket, answered rightly, in pieces, wrongly or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.edge import server
from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import UPGRADE, running_edge

MASK = b"\x01\x02\x03\x04"

Answer = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]


def pong(payload: bytes) -> bytes:
    return b"\x8a\x84" + MASK + bytes(byte ^ mask for byte, mask in zip(payload, MASK, strict=True))


async def pings_that_came(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> int:
    """The number of pings, at most four, that a connection gets before the edge drops it.

    Args:
        answer: answers each ping.
    """
    # The first ping comes after 0.1 s, and the end 0.4 s after a ping without an answer.
    monkeypatch.setitem(server.SERVER_OPTIONS, "ws_ping_interval", 0.1)
    monkeypatch.setitem(server.SERVER_OPTIONS, "ws_ping_timeout", 0.4)
    async with running_edge(MemoryBroker()) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        count = 0
        try:
            async with asyncio.timeout(5):
                while count < 4:
                    head = await reader.readexactly(2)
                    assert head == b"\x89\x04" or head[0] == 0x88, head
                    if head[0] == 0x88:
                        break
                    count += 1
                    await answer(writer, await reader.readexactly(4))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
        return count


async def test_a_connection_that_answers_pings_gets_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def whole(writer: asyncio.StreamWriter, payload: bytes) -> None:
        writer.write(pong(payload))

    assert await pings_that_came(monkeypatch, whole) == 4


async def test_a_pong_may_come_in_pieces_or_after_an_unasked_pong(monkeypatch: pytest.MonkeyPatch) -> None:
    async def in_pieces(writer: asyncio.StreamWriter, payload: bytes) -> None:
        writer.write(pong(payload)[:5])
        await writer.drain()
        await asyncio.sleep(0.02)  # so that the pieces arrive apart
        writer.write(pong(payload)[5:])

    async def after_an_unasked_pong(writer: asyncio.StreamWriter, payload: bytes) -> None:
        writer.write(pong(b"else") + pong(payload))

    assert await pings_that_came(monkeypatch, in_pieces) == 4
    assert await pings_that_came(monkeypatch, after_an_unasked_pong) == 4


async def test_a_pong_with_another_payload_counts_as_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(writer: asyncio.StreamWriter, payload: bytes) -> None:
        writer.write(pong(bytes(byte ^ 1 for byte in payload)))

    async def nothing(_: asyncio.StreamWriter, __: bytes) -> None:
        pass

    assert await pings_that_came(monkeypatch, wrong) == 1
    assert await pings_that_came(monkeypatch, nothing) == 1
