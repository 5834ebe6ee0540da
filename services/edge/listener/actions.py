"""Pure: the decisions of a listener's state machine; fanout/delivery.py carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.contract.spec import StreamSpec
from services.contract.websocket import CloseCode
from services.edge.stream.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Join:
    """Have a stream rendered for the listener.

    Attributes:
        spec: the stream.
        tick: the first chunk that the listener needs.
    """

    spec: StreamSpec
    tick: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Have a stream rendered no longer for the listener."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Send a JSON message that carries no audio."""

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send a chunk.

    Attributes:
        chunk: the audio.
        tier: the listener's buffer tier.
        depth: chunks that the listener holds with this one; 0: its buffer ran empty before it.
        fresh: the listener was not sent the chunk before this one.
    """

    chunk: Chunk
    tier: str
    depth: int
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection, with this WebSocket close code and reason."""

    code: CloseCode
    reason: str


Action = Join | Leave | SendEvent | SendChunk | Close
"""Any decision of a listener."""
