"""Chunks by their ids, each given out once and in order, with splices crossfaded. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.client.continuation import extrapolate
from services.contract.timebase import CHANNELS, CHUNK_FRAMES

FADE_FRAMES: Final = CHUNK_FRAMES
"""A crossfade takes one chunk, 100 ms: twice the shortest that is free of clicks with this music."""

_ANGLE: Final = (np.arange(FADE_FRAMES, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / FADE_FRAMES)
_FADE_IN: Final = np.sin(_ANGLE)[:, None]
_FADE_OUT: Final = np.cos(_ANGLE)[:, None]


class Placed(Enum):
    """The outcome of adding a chunk."""

    HELD = "held"
    REPEAT = "repeat"
    """Another copy is held; the first copy wins."""
    LATE = "late"
    """Its place has been given out."""
    REFUSED = "refused"
    """Too many chunks are held."""


class Timeline:
    """Puts chunks in order and joins two streams where one replaces the other.

    After `splice(k)` the chunks from `k` on are void, but are kept until their replacements arrive: if those are late,
    the old stream goes on, and the crossfade is at the first new chunk.

    Args:
        max_chunks: most chunks held; overflow refuses the newest and counts it.

    Attributes:
        next_id: the id after the last one given out; None before the first.
        repeats, late, refused: chunks that were not held, by `Placed`.
        crossfades: joints that were crossfaded.
    """

    def __init__(self, max_chunks: int = 128) -> None:
        self._max_chunks = max_chunks
        # The number of splices so far: two neighbouring chunks of different generations are different streams.
        self._generation = 0
        self._void_from = 0
        # id -> (generation, pcm). A void chunk is given out only if its replacement has not arrived.
        self._newest: dict[int, tuple[int, bytes]] = {}
        self._void: dict[int, tuple[int, bytes]] = {}
        self._last: tuple[int, bytes] | None = None
        self.next_id: int | None = None
        self.repeats = 0
        self.late = 0
        self.refused = 0
        self.crossfades = 0

    def __len__(self) -> int:
        """Ids that can be given out."""
        return len(self._newest.keys() | self._void.keys())

    def add(self, chunk_id: int, pcm: bytes) -> Placed:
        """Hold a chunk until its turn."""
        if self.next_id is not None and chunk_id < self.next_id:
            self.late += 1
            return Placed.LATE
        if chunk_id in self._newest:
            self.repeats += 1
            return Placed.REPEAT
        if len(self._newest) + len(self._void) >= self._max_chunks:
            self.refused += 1
            return Placed.REFUSED
        # Before the splice's place it belongs to the old stream.
        generation = self._generation if chunk_id >= self._void_from else self._generation - 1
        self._newest[chunk_id] = (generation, pcm)
        return Placed.HELD

    def splice(self, chunk_id: int) -> None:
        """Chunks from `chunk_id` on that are added from now on replace those that are held."""
        self._generation += 1
        self._void_from = chunk_id
        for each in [each for each in self._newest if each >= chunk_id]:
            self._void[each] = self._newest.pop(each)

    def take(self) -> tuple[int, bytes] | None:
        """The next chunk as (id, pcm), across gaps; None if none is held."""
        chunk_id = min(self._newest.keys() | self._void.keys(), default=None)
        if chunk_id is None:
            return None
        old = self._void.pop(chunk_id, None)
        copy = self._newest.pop(chunk_id, None) or old
        assert copy is not None  # noqa: S101 - for the type checker: the id is in one of the two
        generation, pcm = copy
        given = pcm
        if self._last is not None:
            last_generation, last_pcm = self._last
            missing = chunk_id != self.next_id
            if last_generation != generation or missing:
                continues = old is not None and old[0] == last_generation and not missing
                given = crossfade(old[1] if old is not None and continues else continuation(last_pcm), pcm)
                self.crossfades += 1
        self._last = (generation, pcm)
        self.next_id = chunk_id + 1
        return chunk_id, given


def crossfade(old: bytes, new: bytes) -> bytes:
    """From `old` to `new` over one chunk, at equal power, because the two are not correlated."""
    mixed = frames(old) * _FADE_OUT + frames(new) * _FADE_IN
    return to_bytes(mixed)


def continuation(pcm: bytes) -> bytes:
    """A chunk that goes on from the end of `pcm`, where the real next one is missing."""
    return to_bytes(extrapolate(frames(pcm)))


def frames(pcm: bytes) -> NDArray[np.float32]:
    """S16le bytes as float32 [frames, 2], in steps of the 16-bit scale."""
    return np.frombuffer(pcm, dtype="<i2").reshape(-1, CHANNELS).astype(np.float32)


def to_bytes(sound: NDArray[np.float32]) -> bytes:
    """Float32 [frames, 2] on the 16-bit scale as s16le bytes, clipped."""
    return np.clip(np.rint(sound), -32768, 32767).astype("<i2").tobytes()
