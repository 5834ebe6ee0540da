"""Resampling between 44.1 and 48 kHz, chunk by chunk and without seams, by a polyphase FIR filter. Pure.

The ratio 160/147 is exact: a chunk of 4,410 frames is always 4,800 frames at 48 kHz, so chunks keep their borders. The
output is `delay_frames` late; below 20 kHz the sound is not changed otherwise.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

_TAPS: Final = 48
_CUTOFF: Final = 0.955
"""Share of the lower rate's Nyquist frequency: 21.06 kHz of 22.05."""
_ROWS: Final = 8
"""Rows of one multiplication: more would be spread over threads, which is slower while the cores are busy."""
_BETA: Final = 9.0
"""Shape of the Kaiser window: aliasing below 20 kHz stays under -90 dB."""


class Polyphase:
    """Resamples stereo sound from one rate to another.

    Args:
        from_hz, to_hz: the rates.

    Attributes:
        delay_frames: delay of the output in input frames.
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
        parts = [rows[start : start + _ROWS] @ self._matrix for start in range(0, len(rows), _ROWS)]
        made = np.concatenate(parts)
        return np.ascontiguousarray(made.reshape(-1, 2, self._up).transpose(0, 2, 1).reshape(-1, 2))


@cache
def _matrix(up: int, down: int) -> NDArray[np.float32]:
    """Filter, float32 [window, up]: output frame p of a group lies at p * down / up input frames."""
    positions = np.arange(up) * down / up
    first = np.floor(positions).astype(int)
    offsets = np.arange(_TAPS)
    distance = offsets[None, :] - (_TAPS // 2 - 1) - (positions - first)[:, None] - 1
    cutoff = _CUTOFF * min(1.0, up / down)
    half = _TAPS / 2
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None))) / np.i0(_BETA)
    taps = cutoff * np.sinc(cutoff * distance) * window
    taps /= taps.sum(axis=1, keepdims=True)
    matrix = np.zeros((down + _TAPS - 1, up))
    for phase in range(up):
        # The first tap of phase 0 is on the oldest frame of the window.
        matrix[first[phase] : first[phase] + _TAPS, phase] = taps[phase]
    return matrix.astype(np.float32)
