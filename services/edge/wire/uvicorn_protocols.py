"""Uvicorn's protocols as the edge runs them (shell): a door to the write buffer, and no patience for idle strangers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final, cast, override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from services.contract.websocket import CloseCode
from services.edge.listener.listener import MAX_MESSAGES_PER_S, MESSAGE_BURST, STALLED_S
from services.edge.listener.token_bucket import TokenBucket
from services.edge.wire.transport import CLOSE_WITHIN_S, EXTENSION

NOTSENT_LOWAT_BYTES: Final = 128 * 1024
"""What the kernel holds unsent of one connection; the rest stays here, where it can be seen and counted."""
REQUEST_WITHIN_S: Final = 10.0
"""From a connection's beginning, or from a further request's first byte, to the end of the request's headers."""
MAX_REQUEST_BYTES: Final = 64 * 1024
"""Of a request's line and headers, which are kept until they are complete: the parser itself takes any number."""
MAX_PIPELINED: Final = 16
"""Requests that may wait behind one that is being answered; overflow: 400, and the end."""
INVALID_TEXT: Final = 1007
"""The protocol's own close code for text that is no UTF-8."""


class ListenerProtocol(WebSocketsSansIOProtocol):
    """The sans-I/O WebSocket protocol, which offers itself as `DirectConnection` in the ASGI scope.

    Frames written through it bypass the library's framing and ASGI's tasks. That is sound because extensions are off
    (nothing rewrites a payload), messages are never fragmented, and all writes happen in one loop.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_writable: Callable[[], None] | None = None
        self.on_stall: Callable[[], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self._unheard = TokenBucket(MAX_MESSAGES_PER_S, MESSAGE_BURST)
        self._linger: asyncio.TimerHandle | None = None

    @override
    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.close_sent or self.config.ws_per_message_deflate:
            return
        # The application's task has been made but has not run: the scope can still be given something.
        extensions = cast("dict[str, Any]", self.scope["extensions"])
        extensions[EXTENSION] = self
        # Nothing is buffered without our being told: every write is tried at once, and `pause_writing` says that the
        # kernel has not taken all of it.
        self.transport.set_write_buffer_limits(high=0)
        _keep_little_in_the_kernel(self.transport)

    @override
    def start_keepalive(self) -> None:
        super().start_keepalive()
        # Accepted: of the handshake nothing is needed again, and a listener stays for hours.
        self.request = self.response = None  # type: ignore[assignment]
        self.scope["headers"].clear()  # type: ignore[attr-defined]

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        if self.on_stall is not None:
            self.on_stall()

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
        """Count a frame that no application sees, and of which the library takes any number; False: it is dropped."""
        if self.close_sent or self._unheard.take(self.loop.time()):
            return not self.close_sent
        self.conn.fail(CloseCode.RATE, f"more than {MAX_MESSAGES_PER_S} control frames or fragments a second")
        if self.conn.close_sent is None:
            # The handshake is not over: there is nothing to close yet.
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
                # The library would log where it found it, with a traceback for every message of a stranger.
                self.frames = []
                if not self.close_sent:
                    self.conn.fail(INVALID_TEXT)
                    self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    @override
    def handle_close(self, event: Frame) -> None:
        self._leave()
        super().handle_close(event)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        if self._linger is not None:
            self._linger.cancel()
        super().connection_lost(exc)

    @override
    def shutdown(self) -> None:
        self._gone()
        if self.transport.is_closing():
            # It has had its goodbye: another one would be an error, and would end the server's own shutdown.
            self.transport.abort()
            return
        super().shutdown()

    @override
    def handle_parser_exception(self) -> None:
        self._leave()
        super().handle_parser_exception()

    def _leave(self) -> None:
        """The socket is about to be closed, once the peer has taken what is unsent; one that never reads is dropped."""
        self._gone()
        if self._linger is None:
            self._linger = self.loop.call_later(CLOSE_WITHIN_S, self.transport.abort)

    def _gone(self) -> None:
        if self.on_gone is not None:
            self.on_gone()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    @override
    def keepalive_timeout(self) -> None:
        self._gone()
        super().keepalive_timeout()
        # A peer that answers no ping takes no data either: waiting for the buffer to empty would be for ever.
        self.transport.abort()

    # --- DirectConnection --------------------------------------------------------------------------------------------

    @property
    def descriptor(self) -> int | None:
        """The socket's, for writing past the event loop; None where what is written must be enciphered first.

        Whole frames may be put straight into it as long as nothing waits in the transport: `on_stall` says that
        something does, and `on_gone` that a stranger may have the number next.
        """
        link = self.transport.get_extra_info("socket")
        if link is None or self.transport.get_extra_info("sslcontext") is not None:
            return None
        descriptor: int = link.fileno()
        return descriptor

    def write(self, wire: bytes) -> None:
        """Queue whole WebSocket frames, or what is left of one whose beginning the socket has taken."""
        if not (self.close_sent or self.disconnected or self.transport.is_closing()):
            self.transport.write(wire)

    def backlog_bytes(self) -> int:
        """Bytes that the kernel has not taken."""
        return self.transport.get_write_buffer_size()

    def round_trip_s(self) -> float:
        """The last ping's round trip; 0 before the first."""
        return self.last_ping_rtt

    def abort(self) -> None:
        """Drop the connection and whatever is unsent."""
        self.transport.abort()


class RequestProtocol(HttpToolsProtocol):
    """HTTP that drops connections which do not finish a request within 10 s, or take nothing of an answer for 30 s.

    A request whose line and headers are longer than `MAX_REQUEST_BYTES` is answered with 400.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_due: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        super().connection_made(transport)
        # What the kernel takes at once says nothing of whether anybody reads.
        _keep_little_in_the_kernel(transport)
        self._await_request()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_REQUEST_BYTES:
                self.send_400_response(f"more than {MAX_REQUEST_BYTES} bytes of request line and headers")
                return
        # A request's first bytes end the wait between two requests: from here on it must come to its end. After an
        # upgrade another protocol has the connection.
        if (self.cycle is None or self.cycle.response_complete) and self.transport.get_protocol() is self:
            self._await_request()

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    @override
    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:
            # Nothing less ends the parser's work on what has come already; it makes 400 of it.
            raise ValueError(f"pipeline: got a further request behind {MAX_PIPELINED}")
        super().on_headers_complete()
        self._end_waits(stall=False)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall is None:
            self._watch()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_waits(request=False)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_waits()

    def _await_request(self) -> None:
        if self._request_due is None:
            self._request_due = self.loop.call_later(REQUEST_WITHIN_S, self.transport.abort)

    def _end_waits(self, *, request: bool = True, stall: bool = True) -> None:
        if request and self._request_due is not None:
            self._request_due.cancel()
            self._request_due = None
        if stall and self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _watch(self) -> None:
        """Look again in a while whether anything has been taken: a slow reader may be slow."""
        unsent_bytes = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() >= unsent_bytes:
                self.transport.abort()
            else:
                self._watch()

        self._stall = self.loop.call_later(STALLED_S, look)


def _keep_little_in_the_kernel(transport: asyncio.Transport) -> None:
    link: socket.socket | None = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if link is not None and option is not None:
        # Unix sockets and some kernels do not know it; then more waits in the kernel, and nothing breaks.
        with contextlib.suppress(OSError):
            link.setsockopt(socket.IPPROTO_TCP, option, NOTSENT_LOWAT_BYTES)
