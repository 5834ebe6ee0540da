"""A transport into the server's write buffer (shell), past ASGI's tasks and framing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from services.edge.listener.payloads import Payload
from services.edge.wire.asgi import Send
from services.edge.wire.transport import CLOSE_WITHIN_S, OVERFLOW_BYTES, RawSocket

EXTENSION: Final = "auralis.connection"
"""Key in `scope["extensions"]` under which a server offers a `DirectConnection`."""


class DirectConnection(Protocol):
    """A server's offer beside ASGI: the write buffer of the connection's socket."""

    on_writable: Callable[[], None] | None
    """Called when the kernel has taken everything that was written."""
    on_stall: Callable[[], None] | None
    """Called when the kernel did not take all of a write."""
    on_closing: Callable[[], None] | None
    """Called before the socket is closed: nothing may be written to it any more."""

    @property
    def descriptor(self) -> int | None:
        """The socket's descriptor; None with TLS, which must encrypt payloads first.

        Not to be used after `on_closing`, nor while anything is unsent.
        """
        ...

    def write(self, wire: bytes) -> None:
        """Queue whole WebSocket frames, or the rest of one whose beginning the socket has taken."""
        ...

    def backlog_bytes(self) -> int:
        """Bytes that the kernel has not taken."""
        ...

    def round_trip_s(self) -> float:
        """Round trip of the last ping; 0 before the first."""
        ...

    def abort(self) -> None:
        """Drop the connection and everything unsent."""
        ...


class DirectTransport:
    """A `Transport` that writes payloads to a `DirectConnection`.

    Args:
        connection: the server's side.
        send: the ASGI callable, which closes the connection the server's own way.
        on_writable: called after `notify_when_writable`, when the backlog is empty.
        on_stall: called when the kernel did not take all of a write, and when the socket is about to be closed.
        on_error: called with the kind of failure: "closed", "overflow" or "stalled".
    """

    def __init__(
        self,
        connection: DirectConnection,
        send: Send,
        *,
        on_writable: Callable[[], None],
        on_stall: Callable[[], None],
        on_error: Callable[[str], None],
    ) -> None:
        descriptor = connection.descriptor
        self.raw_socket: RawSocket | None = None if descriptor is None else RawSocket(descriptor, connection.write)
        self._connection = connection
        self._send = send
        self._on_writable = on_writable
        self._on_stall = on_stall
        self._on_error = on_error
        self._notify_when_writable = False
        self._closing: asyncio.Task[None] | None = None
        connection.on_writable = self._became_writable
        connection.on_stall = on_stall
        connection.on_closing = self._socket_is_closing

    def send(self, payload: Payload) -> None:
        """Write a payload."""
        if self._closing is not None:
            return
        # Chunks stop long before; only events can pile up.
        if payload.chunk_id < 0 and self._connection.backlog_bytes() > OVERFLOW_BYTES:
            self._drop("overflow")
            return
        self._connection.write(payload.wire)

    def send_all(self, payloads: Sequence[Payload]) -> None:
        """Write payloads in one go, because each write is a system call and wakes the reader."""
        if len(payloads) == 1:
            self.send(payloads[0])
            return
        if self._closing is not None:
            return
        if self._connection.backlog_bytes() > OVERFLOW_BYTES and any(payload.chunk_id < 0 for payload in payloads):
            self._drop("overflow")
            return
        self._connection.write(b"".join([payload.wire for payload in payloads]))

    def backlog_bytes(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._connection.backlog_bytes()

    def round_trip_s(self) -> float:
        """Round trip of the last ping; 0 before the first."""
        return self._connection.round_trip_s()

    def notify_when_writable(self) -> None:
        """Call `on_writable` once, when the backlog is empty."""
        self._notify_when_writable = True

    def close(self, code: int, reason: str) -> None:
        """Close the server's own way; a peer that takes nothing is dropped after `CLOSE_WITHIN_S`."""
        if self._closing is None:
            self.raw_socket = None
            self._closing = asyncio.get_running_loop().create_task(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                # Raised when the server or the peer has closed already: nothing is left to close.
                with contextlib.suppress(RuntimeError, ConnectionError):
                    await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self._drop("stalled")
        except Exception:  # noqa: BLE001 - servers have no common error for "the client has disconnected"
            self._on_error("closed")

    def _drop(self, kind: str) -> None:
        self._on_error(kind)
        self._connection.abort()

    def _socket_is_closing(self) -> None:
        # Before the socket is closed, because the next one that the process opens gets its descriptor.
        self.raw_socket = None
        self._on_stall()

    def _became_writable(self) -> None:
        if self._notify_when_writable:
            self._notify_when_writable = False
            self._on_writable()
