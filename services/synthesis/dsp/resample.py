"""Pure. From the quarter rate to the full rate: one linear-phase low-pass in four phases (polyphase)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.dsp.grid import QUARTER

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


def prototype() -> NDArray[np.float64]:
    """The low-pass at the full rate, float64 [95]: symmetrical, gain 4 at 0 Hz, half of it at 5,512.5 Hz."""
    frames = np.arange(-_HALF, _HALF + 1)
    taps = np.sinc(frames / QUARTER) * np.kaiser(2 * _HALF + 1, _KAISER_BETA)
    return np.asarray(taps * (QUARTER / taps.sum()), dtype=np.float64)


def phases() -> NDArray[np.float64]:
    """The taps of `prototype` for each output phase, float64 [QUARTER, TAPS].

    Output frame `4 * a + p` is the sum over t of `phases[p, t] * x[a + t - REACH_BEFORE]`.
    """
    taps = prototype()
    result = np.zeros((QUARTER, TAPS))
    for phase in range(QUARTER):
        for tap in range(TAPS):
            index = _HALF + phase - QUARTER * (tap - REACH_BEFORE)
            if 0 <= index < len(taps):
                result[phase, tap] = taps[index]
    return result
