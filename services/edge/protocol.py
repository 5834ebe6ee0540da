"""Uvicorn's protocols as the edge runs them (shell): a door to the write buffer, and no patience for idle strangers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable
from typing import Any, Final, cast, override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from services.edge.transport import EXTENSION

NOTSENT_LOWAT_BYTES: Final = 128 * 1024
"""What the kernel holds unsent of one connection; the rest stays here, where it can be seen and counted."""
REQUEST_WITHIN_S: Final = 10.0
PING_HEAD: Final = b"\x89\x04"
PONG_HEAD: Final = b"\x8a\x84"
"""Of the answer, which is masked: four bytes of mask and four of payload follow."""
PONG_BYTES: Final = 10


class ListenerProtocol(WebSocketsSansIOProtocol):
    """The sans-I/O WebSocket protocol, which offers itself as `DirectConnection` in the ASGI scope.

    Frames written through it bypass the library's framing and ASGI's tasks. That is sound because extensions are off
    (nothing rewrites a payload), messages are never fragmented, and all writes happen in one loop.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_room: Callable[[], None] | None = None
        self.on_stall: Callable[[], None] | None = None
        self.on_gone: Callable[[], None] | None = None

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
        link: socket.socket | None = self.transport.get_extra_info("socket")
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if link is not None and option is not None:
            # Unix sockets and some kernels do not know it; then more waits in the kernel, and nothing breaks.
            with contextlib.suppress(OSError):
                link.setsockopt(socket.IPPROTO_TCP, option, NOTSENT_LOWAT_BYTES)

    @override
    def start_keepalive(self) -> None:
        super().start_keepalive()
        # Accepted: of the handshake nothing is needed again, and a listener stays for hours.
        self.request = self.response = None  # type: ignore[assignment]
        self.scope["headers"].clear()  # type: ignore[attr-defined]

    @override
    def send_keepalive_ping(self) -> None:
        # As in the base class, without the library's framing: a crowd of thousands is sent hundreds of these a second.
        self.ping_timer = None
        if self.close_sent or self.transport.is_closing():
            return
        self.pending_ping_payload = random.randbytes(4)  # noqa: S311 - names the ping, and guards nothing
        self.ping_sent_at = self.loop.time()
        self.transport.write(PING_HEAD + self.pending_ping_payload)
        if self.ping_timeout is None:
            self.schedule_ping()
        else:
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)

    @override
    def data_received(self, data: bytes) -> None:
        # Nearly all that a crowd says. What is only by chance like the answer to the ping that is out, in the middle of
        # another frame, would have to be like its random payload too.
        if len(data) == PONG_BYTES and self.pending_ping_payload is not None and data.startswith(PONG_HEAD):
            payload = bytes(byte ^ mask for byte, mask in zip(data[6:], data[2:6], strict=True))
            if payload == self.pending_ping_payload:
                self.handle_pong(Frame(Opcode.PONG, payload))
                return
        super().data_received(data)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        if self.on_stall is not None:
            self.on_stall()

    @override
    def handle_close(self, event: Frame) -> None:
        self._gone()
        super().handle_close(event)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        super().connection_lost(exc)

    @override
    def shutdown(self) -> None:
        self._gone()
        super().shutdown()

    @override
    def handle_parser_exception(self) -> None:
        self._gone()
        super().handle_parser_exception()

    def _gone(self) -> None:
        if self.on_gone is not None:
            self.on_gone()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_room is not None:
            self.on_room()

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
    """HTTP that drops connections which have not sent a whole request within 10 s."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        super().connection_made(transport)
        self.loop.call_later(REQUEST_WITHIN_S, self._drop_if_idle)

    def _drop_if_idle(self) -> None:
        # None once it is closed; another protocol once it was upgraded.
        if self.parser is not None and self.cycle is None and self.transport.get_protocol() is self:
            self.transport.abort()
