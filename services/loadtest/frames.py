"""Reads a server's WebSocket frames: keeps the heads of messages and skips long payloads. Pure.

A load test needs to know which chunk arrived and when. The sound (18 KB, ten times a second for each listener) is
counted and skipped: a parser that returns whole messages would spend most of a core on copying.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HEAD_BYTES: Final = 64
"""Bytes of a long message that are kept; they hold the chunk's number in every format."""
WHOLE_BYTES: Final = 4096
"""Messages up to this length are kept whole: `hello`, `status`, `error` and close frames."""
MAX_PAYLOAD_BYTES: Final = 1 << 20
"""Longer messages are an error; edges send none."""

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10


class FrameError(ValueError):
    """The bytes are not what an edge sends."""


@dataclass(frozen=True, slots=True)
class Message:
    """A frame that has arrived completely.

    Attributes:
        opcode: TEXT, BINARY, CLOSE, PING or PONG.
        length: bytes of payload.
        head: the payload; of one longer than WHOLE_BYTES the first HEAD_BYTES.
    """

    opcode: int
    length: int
    head: bytes


class FrameReader:
    """Reads frames out of a stream of bytes that arrives in pieces of any size.

    Masked frames are an error, because servers do not mask; so are fragments, because edges send none.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._head = bytearray()
        self._opcode = 0
        self._length = -1
        self._keep = 0
        self._left = 0

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """Messages that `data` completes.

        Raises:
            FrameError: see the class.
        """
        view = memoryview(data)
        size = len(view)
        at = 0
        found: list[Message] = []
        while at < size:
            if self._length < 0:
                at += self._read_header(view[at : at + 10])
                if self._length < 0:
                    continue
            if self._keep:
                step = min(self._keep, size - at)
                self._head += view[at : at + step]
                self._keep -= step
                self._left -= step
                at += step
            skipped = min(self._left, size - at)
            if not self._keep:
                self._left -= skipped
                at += skipped
            if not self._left:
                found.append(Message(self._opcode, self._length, bytes(self._head)))
                self._head.clear()
                self._length = -1
        return found

    def _read_header(self, view: memoryview) -> int:
        """Read the bytes that the header still lacks; returns their number."""
        header = self._header
        taken = 0
        while taken < len(view):
            wanted = _header_bytes(header)
            step = min(wanted - len(header), len(view) - taken)
            header += view[taken : taken + step]
            taken += step
            if len(header) >= 2 and len(header) == _header_bytes(header):
                self._begin_payload(header)
                header.clear()
                break
        return taken

    def _begin_payload(self, header: bytearray) -> None:
        opcode = header[0] & 0x0F
        if not header[0] & 0x80 or opcode not in (TEXT, BINARY, CLOSE, PING, PONG):
            raise FrameError(f"got a frame that begins with {header[0]:#04x}, expected a whole message")
        if header[1] & 0x80:
            raise FrameError("got a masked frame, which only clients send")
        short = header[1] & 0x7F
        length = short if short < 126 else int.from_bytes(header[2:])
        if length > MAX_PAYLOAD_BYTES:
            raise FrameError(f"got a message of {length} bytes, expected {MAX_PAYLOAD_BYTES} at most")
        self._opcode = opcode
        self._length = self._left = length
        self._keep = length if length <= WHOLE_BYTES else HEAD_BYTES


def _header_bytes(header: bytearray) -> int:
    if len(header) < 2:
        return 2
    return {126: 4, 127: 10}.get(header[1] & 0x7F, 2)
