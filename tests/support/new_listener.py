"""A new listener without a client's retries: which close code it gets, and how many chunks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass

import websockets


@dataclass
class NewListener:
    """One attempt to hear a stream of its own.

    Attributes:
        url: of the edge.
        seed: of its stream.
        code: close code; None: it was admitted.
        chunks: audio messages received.
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
