"""An edge that plays, on a free port with an in-memory bus and a small renderer, and clients of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol

from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES
from services.contract.websocket import AudioFrame
from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import SPEC, Edge, TinyRenderer, pcm_of, running_edge
from tests.support.waiting import until

BOTH = pytest.mark.parametrize("server", ["own", "plain"])
"""With the edge's own protocols, and under plain uvicorn."""
SECRET = "signs resume tokens"  # noqa: S105 - of these tests only


@contextlib.asynccontextmanager
async def renderer(broker: MemoryBroker, **options: Any) -> AsyncIterator[TinyRenderer]:
    tiny = TinyRenderer(broker, **options)
    await tiny.start()
    try:
        yield tiny
    finally:
        await tiny.stop()


@contextlib.asynccontextmanager
async def playing(**options: Any) -> AsyncIterator[tuple[Edge, TinyRenderer, MemoryBroker]]:
    """An edge and a renderer."""
    broker = MemoryBroker()
    async with renderer(broker) as tiny, running_edge(broker, **options) as edge:
        await until(lambda: edge.service.hub.status()["renderers"] == 1)
        yield edge, tiny, broker


@dataclass
class Fleet:
    """Two edges on one bus and a renderer, for tests that leave them as they were.

    Attributes:
        edge: with its own protocols, as `python -m services.edge` runs it.
        plain: as `uvicorn services.main:app` runs it.
    """

    edge: Edge
    plain: Edge
    tiny: TinyRenderer
    broker: MemoryBroker

    def named(self, name: str) -> Edge:
        return self.plain if name == "plain" else self.edge


def connect(edge: Edge, protocol: str | None = None, **options: Any) -> Any:
    if protocol:
        options["subprotocols"] = [Subprotocol(protocol)]
    return websockets.connect(edge.ws, **{"compression": None, "max_size": None, **options})


async def say(ws: ClientConnection, action: str, **params: object) -> None:
    await ws.send(json.dumps({"type": "control", "action": action, "params": params}))


async def hear(ws: ClientConnection) -> dict[str, Any]:
    """The next message; a binary one as its fields."""
    data = await asyncio.wait_for(ws.recv(), 5)
    if isinstance(data, str):
        message: dict[str, Any] = json.loads(data)
        if message["type"] == "audio":
            message["pcm"] = base64.b64decode(message["data"])
        return message
    frame = AudioFrame.decode(data)
    return {
        "type": "audio",
        "chunk_id": frame.chunk_id,
        "buffer_depth": frame.buffer_depth,
        "current_tier": frame.current_tier,
        "timestamp": frame.timestamp,
        "pcm": bytes(frame.payload),
    }


async def hear_audio(ws: ClientConnection, count: int) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    while len(heard) < count:
        message = await hear(ws)
        if message["type"] == "audio":
            heard.append(message)
    return heard


async def hear_event(ws: ClientConnection, kind: str, **fields: object) -> dict[str, Any]:
    while True:
        message = await hear(ws)
        if message["type"] == kind and all(message.get(name) == value for name, value in fields.items()):
            return message


async def closed(ws: ClientConnection) -> tuple[int, str]:
    """Close code and reason of a connection that the edge closes."""
    async with asyncio.timeout(8):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await ws.recv()
    return ws.close_code or 0, ws.close_reason or ""


def unbroken(messages: list[dict[str, Any]]) -> bool:
    return all(after["chunk_id"] == before["chunk_id"] + 1 for before, after in pairwise(messages))


def rendered(chunk_id: int, spec: StreamSpec = SPEC, revision: str = "r1") -> bytes:
    start = chunk_id % 10 * CHUNK_BYTES
    return pcm_of(spec.stream_id, chunk_id // 10, revision)[start : start + CHUNK_BYTES]
