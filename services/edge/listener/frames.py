"""What goes to listeners for a chunk, made once however many get it.

A frame is one immutable WebSocket message. It depends on the chunk, the format, the listener's tier and depth, and the
moment of sending; listeners who agree in these share it. Base64 depends on the chunk alone and is kept with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from services.contract.websocket import FRAME_OPUS, FRAME_PCM, AudioFrame
from services.edge.chunk_encoder import ChunkEncoder
from services.edge.stream.mixing import Pcm
from services.edge.stream.ring import Chunk

_TEXT: Final = 0x81
_BINARY: Final = 0x82
"""First byte of an unfragmented text or binary frame (RFC 6455, 5.2)."""


class Format(IntEnum):
    """How a listener wants its chunks."""

    JSON = 0
    PCM = 1
    OPUS = 2


class Frame:
    """One WebSocket message: its payload, and the bytes that a server puts on the wire for it.

    Attributes:
        text: the payload is UTF-8 text.
        payload: the message.
        wire: header and payload, unmasked and uncompressed.
        chunk_id: the chunk it carries; -1 for an event.
    """

    __slots__ = ("_message", "chunk_id", "payload", "text", "wire")

    def __init__(self, payload: bytes, *, text: bool, chunk_id: int = -1) -> None:
        length = len(payload)
        first = _TEXT if text else _BINARY
        if length < 126:
            header = bytes((first, length))
        elif length < 65536:
            header = bytes((first, 126)) + length.to_bytes(2)
        else:
            header = bytes((first, 127)) + length.to_bytes(8)
        self.text = text
        self.payload = payload
        self.wire = header + payload
        self.chunk_id = chunk_id
        self._message: dict[str, Any] | None = None

    @property
    def message(self) -> dict[str, Any]:
        """The frame as an ASGI message; made once, shared by all who send it, and not to be changed."""
        if self._message is None:
            content = {"text": self.payload.decode()} if self.text else {"bytes": self.payload}
            self._message = {"type": "websocket.send", **content}
        return self._message


def event_frame(body: Mapping[str, Any]) -> Frame:
    """`hello`, `status`, `splice` or `error`: JSON text in every format."""
    return Frame(json.dumps(body, separators=(",", ":")).encode(), text=True)


class FrameMaker:
    """Makes frames and remembers the ones of the present moment.

    A moment is one pass over the listeners: a tick, or a block's arrival. `begin` starts one; frames of the moment
    before are forgotten, because their `timestamp` is over.

    Args:
        encoder: makes the base64.
    """

    def __init__(self, encoder: ChunkEncoder) -> None:
        self._encoder = encoder
        self._made: dict[tuple[Chunk, Format, str, int, bool], Frame] = {}
        self._now_s = 0.0

    def begin(self, now_s: float) -> None:
        """A new moment: frames made from now on say `timestamp` = `now_s` (unix seconds)."""
        self._now_s = now_s
        self._made.clear()

    def audio(self, chunk: Chunk, format_: Format, tier: str, depth: int, *, fresh: bool = False) -> Frame:
        """The frame that carries `chunk` to listeners of `tier` who then hold `depth` chunks.

        Args:
            chunk, format_, tier, depth: what the frame says.
            fresh: the listeners did not have the chunk before it: an Opus decoder needs pre-roll.
        """
        # The chunk itself is the key: two streams have chunks of the same tick.
        key = (chunk, format_, tier, depth, fresh and format_ is Format.OPUS)
        frame = self._made.get(key)
        if frame is None:
            frame = self._made[key] = self._make(*key)
        return frame

    def _make(self, chunk: Chunk, format_: Format, tier: str, depth: int, fresh: bool) -> Frame:  # noqa: FBT001 - a key's part
        if format_ is not Format.JSON:
            payload: Pcm = chunk.pcm
            if format_ is Format.OPUS:
                assert chunk.opus is not None  # noqa: S101 - for the type checker; an Opus line has no others
                payload = chunk.opus.beginning if fresh or chunk.opus.payload is None else chunk.opus.payload
            body = AudioFrame(
                chunk_id=chunk.tick,
                timestamp=self._now_s,
                buffer_depth=depth,
                current_tier=tier,
                payload=payload,
                format=FRAME_PCM if format_ is Format.PCM else FRAME_OPUS,
            ).encode()
            return Frame(body, text=False, chunk_id=chunk.tick)
        if chunk.encoded is None:
            chunk.encoded = self._encoder.encode(chunk.pcm)
        # Base64 and tier names need no escaping, so the envelope is put around them without a JSON encoder.
        payload = (
            f'{{"type":"audio","chunk_id":{chunk.tick},"data":"{chunk.encoded}","timestamp":{self._now_s:.6f},'
            f'"buffer_depth":{depth},"current_tier":"{tier}"}}'
        ).encode("ascii")
        return Frame(payload, text=True, chunk_id=chunk.tick)
