"""Both sides of a transport, without sockets: an ASGI server that remembers messages, and payloads."""

from __future__ import annotations

import asyncio
from typing import Any

from services.edge.listener.payloads import Payload


class Server:
    """The ASGI side: takes messages while `open` is set, and remembers them; raises `error` instead where it is set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.messages: list[dict[str, Any]] = []
        self.error: Exception | None = None

    async def send(self, message: dict[str, Any]) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.messages.append(message)


def chunk_payload(size: int = 20_000) -> Payload:
    return Payload(b"x" * size, text=True, chunk_id=7)


def event_payload(size: int = 100) -> Payload:
    return Payload(b"e" * size, text=True)


async def run_ready_tasks() -> None:
    """Let every task run that waits for nothing but its turn."""
    for _ in range(20):
        await asyncio.sleep(0)
