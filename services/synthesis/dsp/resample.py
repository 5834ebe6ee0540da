"""From the quarter rate to the full rate: one linear-phase low-pass, taken apart into four phases."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.dsp.grid import QUARTER

TAPS: Final = 24
"""Taps of a phase."""
REACH_BEFORE: Final = 11
REACH_AFTER: Final = 12
"""Quarter-rate frames that an output frame reads before and after its own."""
_HALF: Final = 47
_BETA: Final = 9.0
"""Kaiser window: stop band below -90 dB, from 6.9 kHz on; pass band to 4.2 kHz."""


def prototype() -> NDArray[np.float64]:
    """The low-pass at the full rate: 95 taps, symmetrical, gain 4 at 0 Hz, half of it at 5,512.5 Hz."""
    frames = np.arange(-_HALF, _HALF + 1)
    taps = np.sinc(frames / QUARTER) * np.kaiser(2 * _HALF + 1, _BETA)
    return np.asarray(taps * (QUARTER / taps.sum()), dtype=np.float64)


def phases() -> NDArray[np.float64]:
    """The taps [QUARTER, TAPS] of `prototype` for each output phase.

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
