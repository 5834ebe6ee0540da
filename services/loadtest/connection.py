"""One WebSocket connection that measures what arrives and discards it (shell)."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from services.loadtest import frames, messages
from services.loadtest.frames import FrameError, FrameReader, Message
from services.loadtest.tally import Tally

READ_BYTES: Final = 256 * 1024
"""Size of the buffer that sockets are read into."""

_buffer = memoryview(bytearray(READ_BYTES))
"""All connections share it: each reads its bytes before the next one writes into it."""


class Receiver(Protocol):
    """Receives a connection's messages."""

    def receive(self, message: messages.Audio | dict[str, Any]) -> None:
        """Handle one message."""
        ...


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The edge refused the upgrade.

    Attributes:
        retry_after_s: seconds that the edge asks to wait; None if it does not say.
    """

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"the edge answered {status}")


class Connection(asyncio.BufferedProtocol):
    """One WebSocket connection.

    Args:
        url: ws://HOST:PORT/ws.
        wire: format of the messages.
        token: a JWT; None without one.
        tally: counts bytes.
        receiver: gets every message.

    Attributes:
        opened: done when the edge has accepted the upgrade; an exception if it has not.
        closed: the close frame when the connection has ended; an exception if the edge sent nonsense.
    """

    def __init__(self, url: str, wire: messages.Wire, token: str | None, tally: Tally, receiver: Receiver) -> None:
        self._tally = tally
        self._receiver = receiver
        self._extra_headers = Headers()
        if token:
            self._extra_headers["Authorization"] = f"Bearer {token}"
        self._handshake = ClientProtocol(
            parse_uri(url), subprotocols=[Subprotocol(messages.SUBPROTOCOLS[wire])], max_size=None
        )
        self._answer = bytearray()
        self._reader = FrameReader()
        self._open = False
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[Close] = loop.create_future()
        self._close = Close(CloseCode.ABNORMAL_CLOSURE, "")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Request the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        request = self._handshake.connect()
        request.headers.update(self._extra_headers)
        self._handshake.send_request(request)
        for data in self._handshake.data_to_send():
            self._transport.write(data)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """The buffer that all connections share."""
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read the bytes that arrived."""
        view = _buffer[:nbytes]
        try:
            if not self._open:
                self._read_answer(bytes(view))
                return
            self._tally.bytes += nbytes
            self._read_frames(view)
        except (FrameError, Refused) as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, from either side."""
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("the edge closed the connection during the upgrade"))
        if not self.closed.done():
            self.closed.set_result(self._close)

    def send(self, data: bytes) -> None:
        """Send a text message."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(Frame(Opcode.TEXT, data).serialize(mask=True))

    def abort(self) -> None:
        """Close the connection without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    def _read_answer(self, data: bytes) -> None:
        self._answer += data
        head, separator, rest = bytes(self._answer).partition(b"\r\n\r\n")
        if not separator:
            return
        self._handshake.receive_data(head + separator)
        if self._handshake.handshake_exc is not None:
            raise _refusal(self._handshake.handshake_exc, head)
        if not any(isinstance(event, Response) for event in self._handshake.events_received()):
            # The body of a refusal is still to come; the head is enough.
            raise _refusal(None, head)
        self._open = True
        self._answer.clear()
        # Done already if the listener has given up waiting.
        if not self.opened.done():
            self.opened.set_result(None)
        self._tally.bytes += len(rest)
        if rest:
            self._read_frames(memoryview(rest))

    def _read_frames(self, view: memoryview) -> None:
        for message in self._reader.feed(view):
            if message.opcode in {frames.TEXT, frames.BINARY}:
                self._receiver.receive(messages.read(message))
            elif message.opcode == frames.CLOSE:
                self._read_close(message)
            elif message.opcode == frames.PING and self._transport is not None:
                self._transport.write(Frame(Opcode.PONG, message.head).serialize(mask=True))

    def _read_close(self, message: Message) -> None:
        self._close = Close.parse(message.head) if message.head else Close(CloseCode.NO_STATUS_RCVD, "")
        if self._transport is not None:
            self._transport.write(Frame(Opcode.CLOSE, message.head[:2]).serialize(mask=True))
            self._transport.close()

    def _fail(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        elif not self.closed.done():
            self.closed.set_exception(error)
        self.abort()


def _refusal(error: Exception | None, head: bytes) -> Exception:
    """The exception for an answer that is no upgrade: `Refused` with its status, or `FrameError` if it is not HTTP."""
    if error is not None and not isinstance(error, InvalidStatus):
        return FrameError(str(error))
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split()
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    try:
        retry_after_s: float | None = float(fields.get("retry-after", ""))
    except ValueError:
        retry_after_s = None
    return Refused(status, retry_after_s)
