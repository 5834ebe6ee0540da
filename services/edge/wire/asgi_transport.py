"""A transport over plain ASGI (shell), for servers that offer no `DirectConnection`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from services.contract.websocket import CloseCode
from services.edge.listener.payloads import Payload
from services.edge.wire.asgi import Send
from services.edge.wire.transport import BACKLOG_BYTES, CLOSE_WITHIN_S, OVERFLOW_BYTES, RawSocket

WRITABLE_BYTES: Final = BACKLOG_BYTES // 4
"""A stalled connection with at most this much unsent is writable again. The distance to `BACKLOG_BYTES` keeps it from
changing back and forth with each chunk."""


class AsgiTransport:
    """A `Transport` that queues payloads; one task, `run`, writes them.

    Args:
        send: the ASGI callable.
        on_writable: called after `notify_when_writable`, when the backlog has gone down.
        on_stall: called when a payload finds an earlier one still unsent.
        on_error: called with the kind of failure: "closed", "overflow", "stalled" or "exception".
    """

    raw_socket: RawSocket | None = None

    def __init__(
        self,
        send: Send,
        *,
        on_writable: Callable[[], None],
        on_stall: Callable[[], None],
        on_error: Callable[[str], None],
    ) -> None:
        self._send = send
        self._on_writable = on_writable
        self._on_stall = on_stall
        self._on_error = on_error
        self._queue: deque[Payload] = deque()
        self._backlog_bytes = 0
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._done = False
        self._notify_when_writable = False
        self._writer: asyncio.Task[Any] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def send(self, payload: Payload) -> None:
        """Queue a payload."""
        if self._closing is not None or self._done:
            return
        if self._backlog_bytes > OVERFLOW_BYTES:
            self._on_error("overflow")
            self.close(int(CloseCode.POLICY), "too slow")
            return
        if self._backlog_bytes:
            self._on_stall()
        self._queue.append(payload)
        self._backlog_bytes += len(payload.data)
        self._wake.set()

    def send_all(self, payloads: Sequence[Payload]) -> None:
        """Queue payloads in order."""
        for payload in payloads:
            self.send(payload)

    def backlog_bytes(self) -> int:
        """Bytes in the queue and of the payload that is being written."""
        return self._backlog_bytes

    def round_trip_s(self) -> float:
        """Always 0: ASGI does not report round trips."""
        return 0.0

    def notify_when_writable(self) -> None:
        """Call `on_writable` once, when the backlog has gone down."""
        self._notify_when_writable = True

    def close(self, code: int, reason: str) -> None:
        """Close after the queued payloads, or drop a peer that takes nothing for `CLOSE_WITHIN_S`."""
        if self._closing is None:
            self._closing = (code, reason)
            self._wake.set()
            self._deadline = asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, self._give_up)

    def _give_up(self) -> None:
        if self._writer is not None and not self._done:
            self._on_error("stalled")
            self._writer.cancel()

    async def run(self) -> None:
        """Write until the transport is closed or the connection is lost; called once."""
        self._writer = asyncio.current_task()
        try:
            while not self._done:
                await self._write_queue()
                if self._closing is not None:
                    code, reason = self._closing
                    await self._send({"type": "websocket.close", "code": code, "reason": reason})
                    return
                self._wake.clear()
                await self._wake.wait()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - servers have no common error for "the client has disconnected"
            if self._closing is None:
                self._on_error("closed" if "disconnect" in type(error).__name__.lower() else "exception")
        finally:
            self._done = True
            self._queue.clear()
            self._backlog_bytes = 0
            if self._deadline is not None:
                self._deadline.cancel()

    async def _write_queue(self) -> None:
        while self._queue:
            payload = self._queue.popleft()
            await self._send(payload.asgi_message)
            self._backlog_bytes -= len(payload.data)
            if self._notify_when_writable and self._backlog_bytes <= WRITABLE_BYTES:
                self._notify_when_writable = False
                self._on_writable()
