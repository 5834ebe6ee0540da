"""Messages of a load test's listener: those it sends, and the little that it reads. Pure."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal

from services.contract.spec import StreamSpec
from services.contract.websocket import FRAME_HEADER_BYTES, FRAME_VERSION, JSON_V1, OPUS_V1, PCM_V1
from services.loadtest.frames import BINARY, FrameError, Message

Wire = Literal["pcm", "opus", "json"]
SUBPROTOCOLS: Final[dict[Wire, str]] = {"pcm": PCM_V1, "opus": OPUS_V1, "json": JSON_V1}

_HEADER: Final = struct.Struct("<BBBBQd")
_AUDIO: Final = re.compile(rb'^\{"type": ?"audio", ?"chunk_id": ?(\d+)')
assert _HEADER.size == FRAME_HEADER_BYTES  # noqa: S101 - two readers of one layout


@dataclass(frozen=True, slots=True)
class Audio:
    """An audio message.

    Attributes:
        chunk_id: number of the chunk.
        tier: index of the listener's buffer tier; -1 in JSON, whose head does not hold it.
    """

    chunk_id: int
    tier: int


def read(message: Message) -> Audio | dict[str, Any]:
    """Read a TEXT or BINARY message.

    Returns:
        The audio message, or any other message as a JSON object.

    Raises:
        FrameError: the message is neither.
    """
    if message.opcode == BINARY:
        if len(message.head) < _HEADER.size:
            raise FrameError(f"got a binary message of {message.length} bytes, expected a header of {_HEADER.size}")
        version, _, tier, _, chunk_id, _ = _HEADER.unpack_from(message.head)
        if version != FRAME_VERSION:
            raise FrameError(f"got version {version} of the binary frame, expected {FRAME_VERSION}")
        return Audio(chunk_id, tier)
    match = _AUDIO.match(message.head)
    if match is not None:
        return Audio(int(match[1]), -1)
    try:
        value = json.loads(message.head)
    except ValueError as error:
        raise FrameError(f"got a text message of {message.length} bytes that is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise FrameError("got a text message that is not a JSON object")
    return value


def start(spec: StreamSpec, *, resume: str | None = None, next_id: int | None = None) -> bytes:
    """The first message of a connection.

    Args:
        spec: the stream.
        resume: token of an earlier connection; None: start afresh.
        next_id: with a token, the first chunk that is missing.
    """
    params: dict[str, Any] = spec.to_request()
    if resume is not None:
        params["resume"] = resume
        if next_id is not None:
            params["chunk_id"] = next_id
    return json.dumps({"type": "control", "action": "start", "params": params}).encode()


def stop() -> bytes:
    """The last message of a connection."""
    return b'{"type":"control","action":"stop"}'
