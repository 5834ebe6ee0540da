"""The usual first broadcast: one `await` for each client. `python apps.py litestar|fastapi PORT MESSAGE_BYTES`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


class Broadcast:
    """Sends each connected client a message every 100 ms."""

    def __init__(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self.clients: set[Any] = set()
        self._send = send

    @asynccontextmanager
    async def run(self, _: Any) -> AsyncGenerator[None]:
        """Broadcast while the application lives."""
        task = asyncio.create_task(self._broadcast())
        yield
        task.cancel()

    async def _broadcast(self) -> None:
        due = time.monotonic()
        while True:
            for client in list(self.clients):
                try:
                    await self._send(client)
                except Exception:  # noqa: BLE001 - any error means that the client has gone
                    self.clients.discard(client)
            due = max(due + 0.1, time.monotonic() - 0.1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))


def litestar_app(message_bytes: int) -> Any:
    """Plain litestar: one text, made once, is sent with `send_data`."""
    from litestar import Litestar, WebSocket, websocket  # noqa: PLC0415 - only the measured framework is imported

    text = _message(message_bytes, "a")

    async def send(socket: Any) -> None:
        await socket.send_data(text, mode="text")

    broadcast = Broadcast(send)

    @websocket("/ws")
    async def listen(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        broadcast.clients.add(socket)
        while True:
            await socket.receive_data(mode="text")

    return Litestar([listen], lifespan=[broadcast.run], logging_config=None)


def fastapi_app(message_bytes: int) -> Any:
    """FastAPI: a dictionary is encoded as JSON for each client, with `send_json`."""
    from fastapi import FastAPI, WebSocket  # noqa: PLC0415 - as above

    data = "a" * (message_bytes - len(_message(0, "")))

    async def send(socket: Any) -> None:
        await socket.send_json(
            {"type": "audio", "chunk_id": 17639000000, "data": data, "timestamp": time.time(), "buffer_depth": 10,
             "current_tier": "normal"}
        )  # fmt: skip

    broadcast = Broadcast(send)
    app = FastAPI(lifespan=broadcast.run)

    async def listen(socket: WebSocket) -> None:
        await socket.accept()
        broadcast.clients.add(socket)
        while True:
            await socket.receive_text()

    # By its name FastAPI would not find a class that only this function has imported.
    listen.__annotations__["socket"] = WebSocket
    app.add_api_websocket_route("/ws", listen)
    return app


def _message(message_bytes: int, fill: str) -> str:
    head = '{"type":"audio","chunk_id":17639000000,"data":"'
    tail = '","timestamp":1763900000.123456,"buffer_depth":10,"current_tier":"normal"}'
    return head + fill * max(0, message_bytes - len(head) - len(tail)) + tail


def main() -> None:
    """Serve until killed."""
    kind, port, message_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    app = litestar_app(message_bytes) if kind == "litestar" else fastapi_app(message_bytes)
    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="error", ws_per_message_deflate=False, ws="websockets-sansio",
        loop="uvloop",
    )  # fmt: skip


if __name__ == "__main__":
    main()
