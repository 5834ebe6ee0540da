"""Uvicorn's WebSocket protocol (shell), which lends its write buffer and limits its peers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast, override

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from services.contract.websocket import CloseCode
from services.edge.listener.settings import MAX_MESSAGES_PER_S, MESSAGE_BURST
from services.edge.listener.token_bucket import TokenBucket
from services.edge.wire.direct_transport import EXTENSION
from services.edge.wire.transport import CLOSE_WITHIN_S
from services.runtime.http.guard import PortGuard
from services.runtime.http.kernel_buffer import limit_unsent_bytes

HANDSHAKE_WITHIN_S: Final = 10.0
"""How long a connection may take from its request for a WebSocket to the 101 that answers it."""
INVALID_UTF8: Final = 1007
"""Close code for text that is not UTF-8 (RFC 6455, section 7.4.1)."""
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """The sans-I/O WebSocket protocol, offered as a `DirectConnection` in the ASGI scope.

    Writes through it bypass the library's framing and ASGI's tasks. That is sound because extensions are off (nothing
    rewrites a payload), messages are never fragmented, and all writes happen in one event loop.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_writable: Callable[[], None] | None = None
        self.on_stall: Callable[[], None] | None = None
        self.on_closing: Callable[[], None] | None = None
        self._hidden_frames = TokenBucket(MAX_MESSAGES_PER_S, MESSAGE_BURST)
        self._close_deadline: asyncio.TimerHandle | None = None
        self._handshake_deadline: asyncio.TimerHandle | None = None
        self._guard: PortGuard | None = None

    # --- the handshake -----------------------------------------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._handshake_deadline = self.loop.call_later(HANDSHAKE_WITHIN_S, self._drop)

    def take_over(self, guard: PortGuard) -> None:
        """Be a pending connection until the handshake is done."""
        if self.handshake_complete:
            return
        self._guard = guard
        dropped = guard.pending.add(self, self.client[0] if self.client else "")
        if dropped is not None:
            guard.count(dropped.reason)
            dropped.connection.transport.abort()

    def _drop(self) -> None:
        if self._guard is not None:
            self._guard.count("deadline")
        self.transport.abort()

    def _end_handshake(self) -> None:
        if self._handshake_deadline is not None:
            self._handshake_deadline.cancel()
            self._handshake_deadline = None
        if self._guard is not None:
            self._guard.pending.remove(self)
            self._guard = None

    @override
    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.handshake_initiated and not self.handshake_complete:
            # Frames before the 101 (RFC 6455, section 4.1): there is no WebSocket yet that could be closed for it.
            self.transport.abort()
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_complete:
            self._refuse_handshake()

    def _refuse_handshake(self) -> None:
        """Answer a request that the library cannot read: it only remembers the error."""
        self.handshake_complete = self.close_sent = True
        # A request that is too long has an answer already.
        answer = b"".join(self.conn.data_to_send()) or _BAD_REQUEST
        self.transport.write(answer)
        self.transport.close()

    @override
    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.close_sent or self.config.ws_per_message_deflate:
            return
        # The application's task exists but has not run yet, so the scope can still be extended.
        extensions = cast("dict[str, Any]", self.scope["extensions"])
        extensions[EXTENSION] = self
        # With a limit of 0, `pause_writing` reports every write that the kernel does not take completely.
        self.transport.set_write_buffer_limits(high=0)
        limit_unsent_bytes(self.transport)

    @override
    def start_keepalive(self) -> None:
        super().start_keepalive()
        self._end_handshake()
        # The handshake is over and a listener stays for hours: release the request.
        self.request = self.response = None  # type: ignore[assignment]
        self.scope["headers"].clear()  # type: ignore[attr-defined]

    @override
    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            # An answer in place of the upgrade ends the handshake too; the library would log that it is incomplete.
            self.handshake_complete = True

    # --- messages of the peer ----------------------------------------------------------------------------------------

    @override
    def handle_ping(self) -> None:
        if self._within_rate():
            super().handle_ping()

    @override
    def handle_pong(self, event: Frame) -> None:
        if self._within_rate():
            super().handle_pong(event)

    @override
    def handle_cont(self, event: Frame) -> None:
        if self._within_rate():
            super().handle_cont(event)

    def _within_rate(self) -> bool:
        """Count a frame that the application does not see; False: the frame is dropped.

        The application limits messages itself, but pings, pongs and fragments never reach it.
        """
        if self.close_sent or self._hidden_frames.take(self.loop.time()):
            return not self.close_sent
        self.conn.fail(CloseCode.RATE, f"more than {MAX_MESSAGES_PER_S} control frames or fragments a second")
        if self.conn.close_sent is None:
            # The handshake is not over, so there is no WebSocket to close yet.
            self.transport.abort()
        else:
            self.handle_parser_exception()
        return False

    @override
    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                # The library would log a traceback for every such message.
                self.frames = []
                if not self.close_sent:
                    self.conn.fail(INVALID_UTF8)
                    self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    # --- the end -----------------------------------------------------------------------------------------------------

    @override
    def handle_close(self, event: Frame) -> None:
        self._start_closing()
        super().handle_close(event)

    @override
    def handle_parser_exception(self) -> None:
        self._start_closing()
        super().handle_parser_exception()

    @override
    def keepalive_timeout(self) -> None:
        self._report_closing()
        super().keepalive_timeout()
        # A peer that answers no ping reads nothing either: its buffer would never be empty.
        self.transport.abort()

    @override
    def shutdown(self) -> None:
        self._report_closing()
        if self.transport.is_closing():
            # The close has been sent. A second one would be an error and would end the server's own shutdown.
            self.transport.abort()
            return
        super().shutdown()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._end_handshake()
        self._report_closing()
        if self._close_deadline is not None:
            self._close_deadline.cancel()
        super().connection_lost(exc)

    def _start_closing(self) -> None:
        """Close once the peer has read what is unsent; a peer that never reads is dropped."""
        self._report_closing()
        if self._close_deadline is None:
            self._close_deadline = self.loop.call_later(CLOSE_WITHIN_S, self.transport.abort)

    def _report_closing(self) -> None:
        if self.on_closing is not None:
            self.on_closing()

    # --- the write buffer --------------------------------------------------------------------------------------------

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        if self.on_stall is not None:
            self.on_stall()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    # --- DirectConnection --------------------------------------------------------------------------------------------

    @property
    def descriptor(self) -> int | None:
        """The socket's descriptor; None if TLS must encrypt what is written."""
        tcp_socket = self.transport.get_extra_info("socket")
        if tcp_socket is None or self.transport.get_extra_info("sslcontext") is not None:
            return None
        descriptor: int = tcp_socket.fileno()
        return descriptor

    def write(self, wire: bytes) -> None:
        """Queue whole WebSocket frames, or the rest of one whose beginning the socket has taken."""
        if not (self.close_sent or self.disconnected or self.transport.is_closing()):
            self.transport.write(wire)

    def backlog_bytes(self) -> int:
        """Bytes that the kernel has not taken."""
        return self.transport.get_write_buffer_size()

    def round_trip_s(self) -> float:
        """Round trip of the last ping; 0 before the first."""
        return self.last_ping_rtt

    def abort(self) -> None:
        """Drop the connection and everything unsent."""
        self.transport.abort()
