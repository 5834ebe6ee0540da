"""Pure: messages for listeners, each built once and shared by all the listeners that get it.

The message of a chunk depends on the chunk, the format, the listener's tier and depth, and the moment of sending.
Listeners that agree in all of these share it. The base64 text depends on the chunk alone and is kept with the chunk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from services.contract.websocket import FRAME_OPUS, FRAME_PCM, AudioFrame
from services.edge.stream.chunk import Chunk
from services.edge.stream.mixing import Pcm

if TYPE_CHECKING:
    from services.edge.chunk_encoder import ChunkEncoder

_TEXT: Final = 0x81
_BINARY: Final = 0x82
"""First byte of an unfragmented text or binary frame (RFC 6455, section 5.2)."""


class Format(IntEnum):
    """The encoding of chunks for a listener."""

    JSON = 0
    PCM = 1
    OPUS = 2


class Payload:
    """One WebSocket message, ready to be written.

    Args:
        data: the message.
        text: whether `data` is UTF-8 text.
        chunk_id: the chunk that it carries; -1 for an event.

    Attributes:
        data, text, chunk_id: as above.
        wire: frame header and `data`, unmasked and uncompressed.
    """

    __slots__ = ("_asgi_message", "chunk_id", "data", "text", "wire")

    def __init__(self, data: bytes, *, text: bool, chunk_id: int = -1) -> None:
        length = len(data)
        first = _TEXT if text else _BINARY
        if length < 126:
            header = bytes((first, length))
        elif length < 65536:
            header = bytes((first, 126)) + length.to_bytes(2)
        else:
            header = bytes((first, 127)) + length.to_bytes(8)
        self.text = text
        self.data = data
        self.wire = header + data
        self.chunk_id = chunk_id
        self._asgi_message: dict[str, Any] | None = None

    @property
    def asgi_message(self) -> dict[str, Any]:
        """The payload as an ASGI message; built once and shared, so it must not be changed."""
        if self._asgi_message is None:
            content = {"text": self.data.decode()} if self.text else {"bytes": self.data}
            self._asgi_message = {"type": "websocket.send", **content}
        return self._asgi_message


def event_payload(body: Mapping[str, Any]) -> Payload:
    """`hello`, `status`, `splice` or `error`: JSON text in every format."""
    return Payload(json.dumps(body, separators=(",", ":")).encode(), text=True)


class PayloadCache:
    """Builds the payloads of chunks and keeps those of the present moment.

    A moment is one pass over the listeners: a slot of a tick, or the arrival of a block. `begin` starts a moment and
    forgets the payloads of the moment before, because their `timestamp` is over.

    Args:
        encoder: makes the base64 text.
    """

    def __init__(self, encoder: ChunkEncoder) -> None:
        self._encoder = encoder
        self._built: dict[tuple[Chunk, Format, str, int, bool], Payload] = {}
        self._now_s = 0.0

    def begin(self, now_s: float) -> None:
        """Start a moment: its payloads have the `timestamp` `now_s` (unix seconds)."""
        self._now_s = now_s
        self._built.clear()

    def audio(self, chunk: Chunk, format_: Format, tier: str, depth: int, *, fresh: bool = False) -> Payload:
        """The payload that carries `chunk`.

        Args:
            chunk: the audio.
            format_: how it is encoded.
            tier: of the listeners that get it.
            depth: chunks that these listeners hold with this one.
            fresh: these listeners did not get the chunk before, so an Opus decoder needs pre-roll.
        """
        # The chunk itself is the key, not its tick: two streams have chunks of the same tick.
        key = (chunk, format_, tier, depth, fresh and format_ is Format.OPUS)
        payload = self._built.get(key)
        if payload is None:
            payload = self._built[key] = self._build(*key)
        return payload

    def _build(self, chunk: Chunk, format_: Format, tier: str, depth: int, fresh: bool) -> Payload:  # noqa: FBT001 - part of the key
        if format_ is Format.JSON:
            return self._build_json(chunk, tier, depth)
        sound: Pcm = chunk.pcm
        if format_ is Format.OPUS:
            assert chunk.opus is not None  # noqa: S101 - for the type checker; an Opus timeline has only encoded chunks
            sound = chunk.opus.beginning if fresh or chunk.opus.payload is None else chunk.opus.payload
        data = AudioFrame(
            chunk_id=chunk.tick,
            timestamp=self._now_s,
            buffer_depth=depth,
            current_tier=tier,
            payload=sound,
            format=FRAME_PCM if format_ is Format.PCM else FRAME_OPUS,
        ).encode()
        return Payload(data, text=False, chunk_id=chunk.tick)

    def _build_json(self, chunk: Chunk, tier: str, depth: int) -> Payload:
        if chunk.encoded is None:
            chunk.encoded = self._encoder.encode(chunk.pcm)
        # Base64 and tier names need no escaping, so the envelope needs no JSON encoder.
        data = (
            f'{{"type":"audio","chunk_id":{chunk.tick},"data":"{chunk.encoded}","timestamp":{self._now_s:.6f},'
            f'"buffer_depth":{depth},"current_tier":"{tier}"}}'
        ).encode("ascii")
        return Payload(data, text=True, chunk_id=chunk.tick)
