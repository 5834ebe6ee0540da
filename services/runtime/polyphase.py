"""Between 44.1 and 48 kHz, chunk by chunk and without a seam: one FIR filter in as many phases as the ratio has. Pure.

160/147 is exact: a chunk of 4,410 frames is 4,800 frames of Opus's rate, never one more or less, so chunks keep their
borders. What comes out is `delay_frames` later than what went in; nothing else of the sound is changed below 20 kHz.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

_TAPS: Final = 48
_CUTOFF: Final = 0.955
"""Of the lower rate's Nyquist frequency: 21.06 kHz of 22.05."""
_ROWS: Final = 8
_BETA: Final = 9.0
"""Of the Kaiser window: nothing folds back to below 20 kHz by more than -90 dB."""


class Polyphase:
    """Resamples stereo sound from one rate to another.

    Args:
        from_hz, to_hz: the rates.

    Attributes:
        delay_frames: by how many input frames the output is late.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = gcd(from_hz, to_hz)
        self._down = from_hz // common
        self._up = to_hz // common
        self._matrix = _matrix(self._up, self._down)
        self.delay_frames = _TAPS // 2 - 1
        self._past = np.zeros((_TAPS - 1, 2), np.float32)

    def process(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next piece: float32 [frames, 2] to float32 [frames * to_hz / from_hz, 2].

        Raises:
            ValueError: the piece does not end where both rates have a frame.
        """
        if len(sound) % self._down:
            raise ValueError(f"sound: got {len(sound)} frames, expected a multiple of {self._down}")
        joined = np.concatenate((self._past, sound))
        self._past = joined[len(joined) - (_TAPS - 1) :]
        # [groups, channels, window]: each group of input frames makes a group of output frames by one multiplication.
        windows = np.lib.stride_tricks.sliding_window_view(joined, self._down + _TAPS - 1, axis=0)[:: self._down]
        rows = windows.reshape(-1, windows.shape[-1])
        # A few rows at a time: more would be spread over threads, which takes longer wherever the cores are busy.
        parts = [rows[start : start + _ROWS] @ self._matrix for start in range(0, len(rows), _ROWS)]
        made = np.concatenate(parts)
        return np.ascontiguousarray(made.reshape(-1, 2, self._up).transpose(0, 2, 1).reshape(-1, 2))


@cache
def _matrix(up: int, down: int) -> NDArray[np.float32]:
    """[window, up]: output frame p of a group lies at p * down / up input frames and hears the taps around it."""
    places = np.arange(up) * down / up
    first = np.floor(places).astype(int)
    offsets = np.arange(_TAPS)
    distance = offsets[None, :] - (_TAPS // 2 - 1) - (places - first)[:, None] - 1
    cutoff = _CUTOFF * min(1.0, up / down)
    half = _TAPS / 2
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None))) / np.i0(_BETA)
    taps = cutoff * np.sinc(cutoff * distance) * window
    taps /= taps.sum(axis=1, keepdims=True)
    matrix = np.zeros((down + _TAPS - 1, up))
    for phase in range(up):
        # The first tap of phase 0 is the oldest frame that is kept.
        matrix[first[phase] : first[phase] + _TAPS, phase] = taps[phase]
    return matrix.astype(np.float32)
