"""Somebody who knocks at an edge without a client's patience: what he is told, and what he hears."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass

import websockets


@dataclass
class Newcomer:
    """Somebody who wants a stream of his own.

    Attributes:
        url: of the edge.
        seed: of his stream.
        code: what he was closed with; None: he was let in.
        chunks: that he has heard.
    """

    url: str
    seed: int
    code: int | None = None
    chunks: int = 0

    async def listen(self, seconds: float) -> None:
        self.code = None
        async with websockets.connect(self.url, compression=None) as ws:
            await ws.send(json.dumps({"type": "control", "action": "start", "params": {"seed": self.seed}}))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    try:
                        while json.loads(await ws.recv())["type"] == "audio":
                            self.chunks += 1
                        await ws.wait_closed()
                    except websockets.ConnectionClosed:
                        pass
                    self.code = ws.close_code
