"""What a listener of a load test says, and what it reads of a message. Pure."""

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
    """A chunk's number and its listener's tier; -1 where the message does not begin with it."""

    chunk_id: int
    tier: int


def read(message: Message) -> Audio | dict[str, Any]:
    """What a TEXT or BINARY message says.

    Raises:
        FrameError: it is neither audio nor a JSON object.
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
        raise FrameError(f"got a text message of {message.length} bytes that is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise FrameError("got a text message that is no JSON object")
    return value


def start(spec: StreamSpec, *, resume: str | None = None, next_id: int | None = None) -> bytes:
    """The first message of a connection; goes on from `next_id` where there is a token."""
    params: dict[str, Any] = spec.to_params()
    if resume is not None:
        params["resume"] = resume
        if next_id is not None:
            params["chunk_id"] = next_id
    return json.dumps({"type": "control", "action": "start", "params": params}).encode()


def stop() -> bytes:
    """The end."""
    return b'{"type":"control","action":"stop"}'
