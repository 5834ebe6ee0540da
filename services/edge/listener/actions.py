"""What a listener's state machine decides, for its hub to carry out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.contract.spec import StreamSpec
from services.contract.websocket import CloseCode
from services.edge.stream.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Join:
    """Render this stream for the listener, `tick` first."""

    spec: StreamSpec
    tick: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The listener needs this stream no more."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Send a JSON message that is no audio."""

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send a chunk; the listener then holds `depth`. `fresh`: what it was sent before does not lead up to it."""

    chunk: Chunk
    tier: str
    depth: int
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection."""

    code: CloseCode
    reason: str


Action = Join | Leave | SendEvent | SendChunk | Close
