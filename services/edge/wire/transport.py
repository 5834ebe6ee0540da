"""Ways to a listener's socket (shell): straight into the server's protocol where it offers that, else plain ASGI.

Both take payloads without waiting and hold a bounded number of them. When a connection takes nothing, `backlog_bytes`
says so and the hub sends no more chunks to it; a connection that is sent more all the same is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from services.contract.websocket import CloseCode
from services.edge.listener.payloads import Payload

EXTENSION: Final = "auralis.connection"
"""Key in `scope["extensions"]` under which a server offers a `DirectConnection`."""

BACKLOG_BYTES: Final = 256 * 1024
"""With more than this unsent a connection is sent no chunks until it has taken some."""
OVERFLOW_BYTES: Final = 4 * 1024 * 1024
"""Never reached by chunks; a connection to which events alone pile up like this is lost ("slow_closed")."""
CLOSE_WITHIN_S: Final = 5.0

Send = Callable[[dict[str, Any]], Awaitable[None]]


class DirectConnection(Protocol):
    """What a server offers beside ASGI: its socket's write buffer."""

    on_writable: Callable[[], None] | None
    """Called when everything that was written has been taken."""
    on_stall: Callable[[], None] | None
    """Called when something that was written was not taken at once."""
    on_gone: Callable[[], None] | None
    """Called when nothing may be written any more."""

    @property
    def descriptor(self) -> int | None:
        """The socket's, if payloads may be put straight into it; not after `on_gone`, nor while anything is unsent."""
        ...

    def write(self, wire: bytes) -> None:
        """Queue bytes: whole WebSocket frames, or what is left of one whose beginning the socket has taken."""
        ...

    def backlog_bytes(self) -> int:
        """Bytes that the kernel has not taken."""
        ...

    def round_trip_s(self) -> float:
        """The last ping's round trip; 0 before the first."""
        ...

    def abort(self) -> None:
        """Drop the connection and whatever is unsent."""
        ...


class RawSocket(NamedTuple):
    """A way past the event loop.

    Attributes:
        descriptor: of the socket, into which a payload's `wire` may be put.
        write: takes what the socket has not taken of it.
    """

    descriptor: int
    write: Callable[[bytes], None]


class Transport(Protocol):
    """What the hub needs of a connection."""

    raw_socket: RawSocket | None
    """For those who send the same to thousands, while the backlog is empty. None, from the start or from one moment on:
    use `send`."""

    def send(self, payload: Payload) -> None:
        """Take a payload; never waits, never raises."""
        ...

    def send_all(self, payloads: Sequence[Payload]) -> None:
        """As `send` for each of them, in one go where that is cheaper."""
        ...

    def backlog_bytes(self) -> int:
        """Bytes that have not left this process."""
        ...

    def round_trip_s(self) -> float:
        """The last ping's round trip; 0 where it is not known."""
        ...

    def notify_when_writable(self) -> None:
        """Call `on_writable` once when the backlog has gone down."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close after what was sent; idempotent, returns at once."""
        ...


class AsgiTransport:
    """Frames over plain ASGI: a queue, and one writer for as long as the listener stays.

    Args:
        send: the ASGI callable.
        on_stall: called when a chunk finds the one before it still in the queue.
        on_writable: called after `notify_when_writable` when the backlog has gone down.
        on_error: told of what went wrong: "closed", "overflow" or "exception".
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
        self._bytes = 0
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._done = False
        self._wants_writable = False
        self._writer: asyncio.Task[Any] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def send(self, payload: Payload) -> None:
        """Queue the payload."""
        if self._closing is not None or self._done:
            return
        if self._bytes > OVERFLOW_BYTES:
            self._on_error("overflow")
            self.close(int(CloseCode.POLICY), "too slow")
            return
        if self._bytes:
            self._on_stall()
        self._queue.append(payload)
        self._bytes += len(payload.data)
        self._wake.set()

    def send_all(self, payloads: Sequence[Payload]) -> None:
        """Queue them."""
        for payload in payloads:
            self.send(payload)

    def backlog_bytes(self) -> int:
        """Bytes in the queue, and of the payload that is being written."""
        return self._bytes

    def round_trip_s(self) -> float:
        """Plain ASGI does not tell."""
        return 0.0

    def notify_when_writable(self) -> None:
        """Call `on_writable` once when the backlog has gone down."""
        self._wants_writable = True

    def close(self, code: int, reason: str) -> None:
        """Close after what is queued; a peer that takes nothing is given up."""
        if self._closing is None:
            self._closing = (code, reason)
            self._wake.set()
            self._deadline = asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, self._give_up)

    def _give_up(self) -> None:
        if self._writer is not None and not self._done:
            self._on_error("stalled")
            self._writer.cancel()

    async def run(self) -> None:
        """Write until closed or the connection is lost; one call per connection, in a task of its own."""
        self._writer = asyncio.current_task()
        try:
            while not self._done:
                while self._queue:
                    payload = self._queue.popleft()
                    await self._send(payload.asgi_message)
                    self._bytes -= len(payload.data)
                    if self._wants_writable and self._bytes <= BACKLOG_BYTES // 4:
                        self._wants_writable = False
                        self._on_writable()
                if self._closing is not None:
                    code, reason = self._closing
                    await self._send({"type": "websocket.close", "code": code, "reason": reason})
                    return
                self._wake.clear()
                await self._wake.wait()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - servers have no common error for "the client has gone"
            if self._closing is None:
                self._on_error("closed" if "disconnect" in type(error).__name__.lower() else "exception")
        finally:
            self._done = True
            self._queue.clear()
            self._bytes = 0
            if self._deadline is not None:
                self._deadline.cancel()


class DirectTransport:
    """Frames straight into the server's write buffer.

    Args:
        connection: the server's side.
        send: the ASGI callable, for closing in the server's own way.
        on_writable: called after `notify_when_writable` when the backlog has gone down.
        on_stall: called when something was not taken at once, and when nothing can be written any more.
        on_error: told of what went wrong: "overflow" or "stalled".
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
        self._on_error = on_error
        self._wants_writable = False
        self._closing: asyncio.Task[None] | None = None
        connection.on_writable = self._became_writable
        self._on_stall = on_stall
        connection.on_stall = on_stall
        connection.on_gone = self._gone

    def send(self, payload: Payload) -> None:
        """Write the payload."""
        if self._closing is not None:
            return
        # Chunks stop long before; only events can pile up.
        if payload.chunk_id < 0 and self._connection.backlog_bytes() > OVERFLOW_BYTES:
            self._on_error("overflow")
            self._connection.abort()
            return
        self._connection.write(payload.wire)

    def send_all(self, payloads: Sequence[Payload]) -> None:
        """Write them at once: each write is a turn of the kernel, and wakes whoever reads."""
        if len(payloads) == 1:
            self.send(payloads[0])
            return
        if self._closing is not None:
            return
        if self._connection.backlog_bytes() > OVERFLOW_BYTES and any(payload.chunk_id < 0 for payload in payloads):
            self._on_error("overflow")
            self._connection.abort()
            return
        self._connection.write(b"".join([payload.wire for payload in payloads]))

    def backlog_bytes(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._connection.backlog_bytes()

    def round_trip_s(self) -> float:
        """The last ping's round trip."""
        return self._connection.round_trip_s()

    def notify_when_writable(self) -> None:
        """Call `on_writable` once when the backlog has gone down."""
        self._wants_writable = True

    def close(self, code: int, reason: str) -> None:
        """Close in the server's own way; a peer that takes nothing is dropped."""
        if self._closing is None:
            self.raw_socket = None
            self._closing = asyncio.get_running_loop().create_task(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                # The server has gone, or the peer has: either way there is nothing left to close.
                with contextlib.suppress(RuntimeError, ConnectionError):
                    await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self._on_error("stalled")
            self._connection.abort()
        except Exception:  # noqa: BLE001 - servers have no common error for "the client has gone"
            self._on_error("closed")

    def _gone(self) -> None:
        # Before the socket is closed: the next one that is opened has its number.
        self.raw_socket = None
        self._on_stall()

    def _became_writable(self) -> None:
        if self._wants_writable:
            self._wants_writable = False
            self._on_writable()
