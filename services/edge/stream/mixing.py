"""Pure: crossfades and loops over chunks of PCM (s16le, stereo, 4,410 frames)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import CHANNELS, CHUNK_FRAMES, TICKS_PER_S

Pcm = bytes | memoryview
"""The 17,640 bytes of a chunk."""

BEATS_PER_BAR: Final = 4
"""All music is in 4/4."""

_ANGLE: Final[NDArray[np.float32]] = np.linspace(0, np.pi / 2, CHUNK_FRAMES, endpoint=False, dtype=np.float32)[:, None]
_OUT: Final[NDArray[np.float32]] = np.cos(_ANGLE)
"""`[frames, 1]`: gain of the chunk that fades out."""
_IN: Final[NDArray[np.float32]] = np.sin(_ANGLE)
"""`[frames, 1]`: gain of the chunk that fades in."""
_MIN_POWER: Final = 1.0
"""In squared int16 steps: a chunk with less power is silence, which no phase can agree with."""


def crossfade(old: Pcm, new: Pcm) -> bytes:
    """A chunk that begins as `old` and ends as `new`, with constant power in between.

    Equal-power gains are right for unrelated sounds and 3 dB too loud in the middle for equal ones, so they are divided
    by what the correlation of the two chunks adds. The first frame is exactly that of `old`, so nothing clicks.

    Args:
        old, new: 17,640 bytes each.
    """
    first = _samples(old).astype(np.float32)
    second = _samples(new).astype(np.float32)
    common = 2.0 * _OUT * _IN * _correlation(first, second)
    mixed = (first * _OUT + second * _IN) / np.sqrt(1.0 + common)
    np.rint(mixed, out=mixed)
    np.clip(mixed, -32768, 32767, out=mixed)
    return mixed.astype("<i2").tobytes()


def rms(pcm: Pcm) -> float:
    """Root mean square of a chunk as a share of full scale: 0 to 1."""
    samples = _samples(pcm).astype(np.float32) / 32768.0
    return float(np.sqrt(np.mean(samples * samples)))


class Loop:
    """A seamless loop over the last chunks that were heard.

    Its first chunk fades from the last of `chunks` into the first of them, so it can take the place of that last chunk
    without a click on either side. After the last chunk but one it begins again with that fade.

    Args:
        chunks: at least two, in order, without gaps.

    Raises:
        ValueError: there are fewer than two chunks.
    """

    def __init__(self, chunks: Sequence[Pcm]) -> None:
        if len(chunks) < 2:
            raise ValueError(f"loop: got {len(chunks)} chunks, expected at least 2")
        self._chunks: list[Pcm] = [crossfade(chunks[-1], chunks[0]), *chunks[1:-1]]
        self._next = 0
        # The chunk that the loop would follow on; None once it has begun.
        self._entry: Pcm | None = chunks[-1]

    def __len__(self) -> int:
        """Chunks until it repeats."""
        return len(self._chunks)

    def take(self) -> Pcm:
        """The next chunk."""
        self._entry = None
        chunk = self._chunks[self._next]
        self._next = (self._next + 1) % len(self._chunks)
        return chunk

    def leave(self) -> Pcm:
        """The chunk to fade out of; if the loop has not begun, that is the last of its chunks itself."""
        return self.take() if self._entry is None else self._entry


def loop_chunks(bpm: int, *, most: int) -> int:
    """The number of chunks of a loop that repeats on a bar line, as nearly as chunks allow.

    Args:
        bpm: of the stream, in 4/4.
        most: the result is at most this.
    """
    bar_chunks = BEATS_PER_BAR * 60.0 * TICKS_PER_S / bpm
    bars = max(1, int((most - 1) / bar_chunks))
    # One more than the period: the seam fades out of the last chunk.
    return min(most, round(bars * bar_chunks) + 1)


def _samples(pcm: Pcm) -> NDArray[np.int16]:
    """`[frames, channels]` over the bytes of a chunk."""
    return np.frombuffer(pcm, "<i2").reshape(-1, CHANNELS)


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """0 (unrelated) to 1 (equal); opposite phases count as 0: compensating them would be loud."""
    power = float(np.sqrt(np.mean(first * first) * np.mean(second * second)))
    if power < _MIN_POWER:
        return 0.0
    return min(max(float(np.mean(first * second)) / power, 0.0), 1.0)
