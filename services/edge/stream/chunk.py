"""Pure: 100 ms of a stream, and the interface of the timeline that chunks form."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from services.edge.stream.mixing import Pcm


class Opus(Protocol):
    """A chunk's audio in Opus."""

    @property
    def payload(self) -> bytes | None:
        """For listeners that had the chunk before; None where all of them must begin anew."""
        ...

    @property
    def beginning(self) -> bytes:
        """The same with pre-roll, for listeners that begin with this chunk."""
        ...


class Source(StrEnum):
    """The origin of a chunk's audio."""

    LIVE = "live"
    """It was rendered for its tick."""
    LOOP = "loop"
    """It repeats the last bars, because its block is late."""
    FADE = "fade"
    """It is a crossfade."""


class Chunk:
    """100 ms of one stream, the same for every listener.

    Args:
        tick: its place in time, which is also its `chunk_id`.
        pcm: 17,640 bytes: 4,410 frames of s16le stereo.
        source: where the audio comes from.

    Attributes:
        tick, pcm, source: as above.
        encoded: base64 of `pcm`, once a listener has needed it (payloads.py).
        opus: its packets, once a listener has needed them (opus_timeline.py).
    """

    __slots__ = ("encoded", "opus", "pcm", "source", "tick")

    def __init__(self, tick: int, pcm: Pcm, source: Source = Source.LIVE) -> None:
        self.tick = tick
        self.pcm = pcm
        self.source = source
        self.encoded: str | None = None
        self.opus: Opus | None = None

    def __repr__(self) -> str:
        return f"Chunk({self.tick}, {self.source})"


class Timeline(Protocol):
    """The continuous run of chunks of a stream, as a listener sees it."""

    @property
    def origin(self) -> int | None:
        """The first tick that there is; None: there is none yet."""
        ...

    def chunk(self, tick: int) -> Chunk | None:
        """The chunk of `tick`; None: it cannot be given out, or not yet."""
        ...
