"""Uvicorn's HTTP protocol as the edge runs it (shell): requests have deadlines and limits."""

from __future__ import annotations

import asyncio
from typing import Any, Final, override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.edge.listener.settings import STALLED_S
from services.edge.wire.kernel_buffer import limit_unsent_bytes

REQUEST_WITHIN_S: Final = 10.0
"""How long a request may take: from the connection's start, or a later request's first byte, to the last header."""
MAX_REQUEST_BYTES: Final = 64 * 1024
"""Longest request line with headers. The parser has no limit and keeps them until they are complete."""
MAX_PIPELINED: Final = 16
"""Requests that may wait behind the one that is being answered; overflow: 400 and the connection's end."""


class HttpProtocol(HttpToolsProtocol):
    """HTTP that drops clients which take 10 s for a request or read no answer for 30 s.

    A request whose line and headers are longer than `MAX_REQUEST_BYTES` is answered with 400.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_deadline: asyncio.TimerHandle | None = None
        self._stall_check: asyncio.TimerHandle | None = None
        self._in_headers = False
        self._header_bytes = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        super().connection_made(transport)
        # Bytes that the kernel has taken do not show whether the client reads.
        limit_unsent_bytes(transport)
        self._expect_request()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_request_deadline()
        self._cancel_stall_check()

    # --- requests ----------------------------------------------------------------------------------------------------

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_REQUEST_BYTES:
                self.send_400_response(f"more than {MAX_REQUEST_BYTES} bytes of request line and headers")
                return
        # Between two requests a connection may be idle; from a request's first byte on it has a deadline. After an
        # upgrade another protocol owns the connection.
        if (self.cycle is None or self.cycle.response_complete) and self.transport.get_protocol() is self:
            self._expect_request()

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True
        self._header_bytes = 0

    @override
    def on_headers_complete(self) -> None:
        self._in_headers = False
        if len(self.pipeline) >= MAX_PIPELINED:
            # Only an exception stops the parser, which has more requests at hand; it answers with 400.
            raise ValueError(f"pipeline: got a further request behind {MAX_PIPELINED}")
        super().on_headers_complete()
        self._cancel_request_deadline()

    def _expect_request(self) -> None:
        if self._request_deadline is None:
            self._request_deadline = self.loop.call_later(REQUEST_WITHIN_S, self.transport.abort)

    def _cancel_request_deadline(self) -> None:
        if self._request_deadline is not None:
            self._request_deadline.cancel()
            self._request_deadline = None

    # --- answers -----------------------------------------------------------------------------------------------------

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_check is None:
            self._check_for_stall()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_stall_check()

    def _check_for_stall(self) -> None:
        """Drop the connection if it takes nothing for `STALLED_S`; a slow one is kept."""
        unsent_bytes = self.transport.get_write_buffer_size()

        def check() -> None:
            if self.transport.get_write_buffer_size() >= unsent_bytes:
                self.transport.abort()
            else:
                self._check_for_stall()

        self._stall_check = self.loop.call_later(STALLED_S, check)

    def _cancel_stall_check(self) -> None:
        if self._stall_check is not None:
            self._stall_check.cancel()
            self._stall_check = None
