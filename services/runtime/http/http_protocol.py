"""Uvicorn's HTTP protocol as every port runs it (shell): requests have deadlines and limits, and write no log lines."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, override, runtime_checkable

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from services.runtime.http.guard import PortGuard
from services.runtime.http.kernel_buffer import limit_unsent_bytes
from services.runtime.http.request_checks import (
    BODY_TOO_LONG,
    HEADERS_TOO_LONG,
    LINE_TOO_LONG,
    MALFORMED,
    MAX_BODY_BYTES,
    MAX_REQUEST_BYTES,
    Rejection,
    check_head,
    check_upgrade,
)

REQUEST_WITHIN_S: Final = 10.0
"""How long a request may take: from the connection's start, or a later request's first byte, to its last byte."""
MAX_PIPELINED: Final = 16
"""Requests that may wait behind the one that is being answered; overflow: 400 and the connection's end."""
STALLED_S: Final = 30.0
"""How long a client may take nothing of an answer that waits for it."""
CLOSE_WITHIN_S: Final = 5.0
"""How long a client may take to read a refusal, and what is unsent before it."""


@runtime_checkable
class Upgraded(Protocol):
    """A protocol that takes a connection over and stays pending until its own handshake is done."""

    def take_over(self, guard: PortGuard) -> None:
        """Answer for the connection from now on.

        Args:
            guard: has it as pending under the new protocol.
        """
        ...


class HttpProtocol(HttpToolsProtocol):
    """HTTP that refuses what is no request, in order and with an answer, and drops clients that hold a connection.

    Args:
        guard: bounds pending connections; None: one of this connection's own, which bounds nothing.
        args, kwargs: for uvicorn's protocol.
    """

    def __init__(self, *args: Any, guard: PortGuard | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard = PortGuard() if guard is None else guard
        self._request_deadline: asyncio.TimerHandle | None = None
        self._stall_check: asyncio.TimerHandle | None = None
        self._close_deadline: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._rejection: Rejection | None = None
        self._in_message = False
        self._in_headers = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._unparsed_bytes = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        super().connection_made(transport)
        # Bytes that the kernel has taken do not show whether the client reads.
        limit_unsent_bytes(transport)
        self._expect_request()
        self._wait()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.pending.remove(self)
        # The base class tells only the newest request's application; those before it would write on, and fail.
        for cycle in (self._answering, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)
        for timer in (self._request_deadline, self._stall_check, self._close_deadline):
            if timer is not None:
                timer.cancel()

    # --- pending connections -----------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """The connection is pending from now on; an older one may have to go for it."""
        address = self.client[0] if self.client else ""
        dropped = self._guard.pending.add(self, address)
        if dropped is not None:
            self._guard.count(dropped.reason)
            dropped.connection.transport.abort()

    @property
    def _is_answering(self) -> bool:
        """Whether a request waits for the rest of its answer."""
        return self._answering is not None and not self._answering.response_complete

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._guard.pending.remove(self)
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() or self._is_answering:
            return
        if self._rejection is not None:
            self._refuse(self._rejection)
        else:
            self._wait()

    # --- requests ----------------------------------------------------------------------------------------------------

    @override
    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self._rejection is not None:
            self._count_unparsed(data)
            return
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._reject(self._rejection or MALFORMED)
            return
        if self._in_message:
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > MAX_REQUEST_BYTES + MAX_BODY_BYTES * (not self._in_headers):
                # What has come of a line is in `url` already; what has come of a header is not in `headers`.
                is_line = self._in_headers and 2 * len(self.url) > self._unparsed_bytes
                self._reject(LINE_TOO_LONG if is_line else HEADERS_TOO_LONG)
                return
        # Between two requests a connection may be idle; from a request's first byte on it has a deadline. After an
        # upgrade another protocol owns the connection.
        if (self.cycle is None or self.cycle.response_complete) and self.transport.get_protocol() is self:
            self._expect_request()

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                # An upgrade to something else is not taken; what follows is the next request.
                data = data[upgrade.args[0] :]
                if data:
                    continue
            return

    @override
    def _should_upgrade(self) -> bool:
        # An HTTP/1.0 request cannot ask for an upgrade (RFC 9110, section 7.8).
        return super()._should_upgrade() and self.parser.get_http_version() == "1.1"

    @override
    def handle_websocket_upgrade(self) -> None:
        self._cancel_request_deadline()
        self._guard.pending.remove(self)
        super().handle_websocket_upgrade()
        successor = self.transport.get_protocol()
        if isinstance(successor, Upgraded):
            successor.take_over(self._guard)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message = self._in_headers = True
        self._head_bytes = self._body_bytes = self._unparsed_bytes = 0

    @override
    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._head_bytes += len(url)
        if self._head_bytes > MAX_REQUEST_BYTES:
            self._stop_parser(LINE_TOO_LONG)

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        if self._head_bytes > MAX_REQUEST_BYTES:
            self._stop_parser(HEADERS_TOO_LONG)

    @override
    def on_headers_complete(self) -> None:
        self._in_headers = False
        rejection = check_head(self.headers, http_version=self.parser.get_http_version())
        # The same on ports without WebSockets, so that one request has one answer.
        if rejection is None and self.parser.should_upgrade() and self._get_upgrade() == b"websocket":
            if self._is_answering:
                # Two protocols would write to one connection.
                rejection = Rejection(400, "pipeline", "got a request for a WebSocket behind an unanswered one")
            else:
                rejection = check_upgrade(self.url, self.headers)
        if rejection is not None:
            self._stop_parser(rejection)
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parser(Rejection(400, "pipeline", f"got a further request behind {MAX_PIPELINED}"))
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._stop_parser(BODY_TOO_LONG)
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._in_message = False
        self._cancel_request_deadline()
        super().on_message_complete()

    def _stop_parser(self, rejection: Rejection) -> None:
        """End the parsing of what is at hand: only an exception does that."""
        self._rejection = rejection
        raise ValueError(rejection.text)

    def _expect_request(self) -> None:
        if self._request_deadline is None:
            self._request_deadline = self.loop.call_later(REQUEST_WITHIN_S, self._drop)

    def _drop(self) -> None:
        self._guard.count("deadline")
        self.transport.abort()

    def _cancel_request_deadline(self) -> None:
        if self._request_deadline is not None:
            self._request_deadline.cancel()
            self._request_deadline = None

    # --- refusals ----------------------------------------------------------------------------------------------------

    def _reject(self, rejection: Rejection) -> None:
        """Answer with a refusal after the requests before it, and close; nothing more is parsed."""
        self._guard.count(rejection.reason)
        self._rejection = rejection
        self._unparsed_bytes = 0
        if not self._is_answering:
            self._refuse(rejection)

    def _count_unparsed(self, data: bytes) -> None:
        self._unparsed_bytes += len(data)
        if self._unparsed_bytes > MAX_REQUEST_BYTES:
            self.transport.abort()

    def _refuse(self, rejection: Rejection) -> None:
        text = rejection.text.encode() + b"\n"
        length = b"content-length: %d\r\n" % len(text)
        head = b"content-type: text/plain; charset=utf-8\r\n" + length + b"connection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[rejection.status] + head + text)
        self.transport.close()
        self._close_deadline = self.loop.call_later(CLOSE_WITHIN_S, self.transport.abort)

    # --- answers -----------------------------------------------------------------------------------------------------

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_check is None:
            self._check_for_stall()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_check is not None:
            self._stall_check.cancel()
            self._stall_check = None

    def _check_for_stall(self) -> None:
        """Drop the connection if it takes nothing for `STALLED_S`; a slow one is kept."""
        unsent_bytes = self.transport.get_write_buffer_size()

        def check() -> None:
            if self.transport.get_write_buffer_size() >= unsent_bytes:
                self.transport.abort()
            else:
                self._check_for_stall()

        self._stall_check = self.loop.call_later(STALLED_S, check)
