"""Pure. From the quarter rate to the full rate: two linear-phase filters in four phases each (polyphase)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import SAMPLE_RATE_HZ
from services.synthesis.dsp.grid import HIGH_CENTRE_HZ, QUARTER

TAPS: Final = 24
"""Taps of a phase."""
REACH_BEFORE: Final = 11
"""Quarter-rate frames that an output frame reads before its own."""
REACH_AFTER: Final = 12
"""Quarter-rate frames that an output frame reads after its own."""
_HALF: Final = 47
"""Taps on each side of the middle one."""
_KAISER_BETA: Final = 9.0
"""Shape of the window. Pass band to 4.2 kHz, stop band below -90 dB from 6.9 kHz on."""
_HIGH_HALF: Final = 35
_HIGH_KAISER_BETA: Final = 7.9
"""The same of the filter for bright partials: 3.9 kHz to both sides of its middle, below -80 dB from 7.1 kHz on."""


def prototype() -> NDArray[np.float64]:
    """The low-pass at the full rate, float64 [95]: symmetrical, gain 4 at 0 Hz, half of it at 5,512.5 Hz."""
    return _low_pass(_HALF, _KAISER_BETA)


def phases() -> NDArray[np.float64]:
    """The taps of `prototype` for each output phase, float64 [QUARTER, TAPS].

    Output frame `4 * a + p` is the sum over t of `phases[p, t] * x[a + t - REACH_BEFORE]`.
    """
    return _polyphase(prototype())


def high_phases() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Taps, as `phases`, for the real and the imaginary part of the band around HIGH_CENTRE_HZ.

    Where x is a sum of exponentials, the result is the real part of those that lie in the band.
    """
    taps = _low_pass(_HIGH_HALF, _HIGH_KAISER_BETA)
    turn = 2.0 * np.pi * HIGH_CENTRE_HZ / SAMPLE_RATE_HZ * np.arange(-_HIGH_HALF, _HIGH_HALF + 1)
    return _polyphase(taps * np.cos(turn)), _polyphase(-taps * np.sin(turn))


def _low_pass(half: int, beta: float) -> NDArray[np.float64]:
    frames = np.arange(-half, half + 1)
    taps = np.sinc(frames / QUARTER) * np.kaiser(2 * half + 1, beta)
    return np.asarray(taps * (QUARTER / taps.sum()), dtype=np.float64)


def _polyphase(taps: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = len(taps) // 2
    result = np.zeros((QUARTER, TAPS))
    for phase in range(QUARTER):
        for tap in range(TAPS):
            index = middle + phase - QUARTER * (tap - REACH_BEFORE)
            if 0 <= index < len(taps):
                result[phase, tap] = taps[index]
    return result
