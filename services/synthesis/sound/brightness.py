"""Pure. What a stream's brightness does to the spectrum: a slope above the middle of the hearing range."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TURN_HZ: Final = 700.0
"""Far below it nothing changes, far above it the slope is reached."""
SLOPE_DB: Final = 6.0
"""What each octave gains at brightness 1 and loses at brightness 0."""
_MAX_OCTAVES: Final = 3.0
"""The change stops growing there: 18 dB, so that dark music keeps its breath and bright music does not hiss."""
_BALANCE: Final = 0.9
"""A note gives back this share, in dB, of the power that it gains: bright music is not much louder than dark music."""
_TEXTURE_DB: Final = 5.0
"""What a texture gains at brightness 1 and loses at brightness 0: most of its power lies between 500 Hz and 5 kHz."""


def brightness_db(hz: Floats, brightness: float) -> Floats:
    """Gain in dB of a tone of `hz` at `brightness` (0 to 1); 0 dB everywhere at 0.5.

    Args:
        hz: frequencies above 0.
        brightness: of the stream.
    """
    octaves = 0.5 * np.log2(1.0 + (hz / TURN_HZ) ** 2)
    slope_db = SLOPE_DB * (2.0 * brightness - 1.0)
    return np.asarray(slope_db * np.minimum(octaves, _MAX_OCTAVES))


def brightness_gain(amplitude: Floats, hz: Floats, brightness: float) -> Floats:
    """Linear gain of notes' partials at `brightness`: [notes, partials]; 1 at 0.5.

    Args:
        amplitude: linear [notes, partials], as they sound at 0.5.
        hz: of each partial, in the same shape.
        brightness: of the stream, 0 to 1.
    """
    tilt = 10.0 ** (brightness_db(hz, brightness) / 20.0)
    before, after = (np.sum(size**2, axis=1, keepdims=True) for size in (amplitude, amplitude * tilt))
    # A note of no power stays one.
    ratio = np.divide(before, after, out=np.ones_like(before), where=after > 0.0)
    return np.asarray(tilt * ratio ** (_BALANCE / 2.0))


def texture_gain(brightness: Floats) -> Floats:
    """Linear gain of a texture at `brightness` (0 to 1); 1 at 0.5."""
    return np.asarray(10.0 ** (_TEXTURE_DB * (2.0 * brightness - 1.0) / 20.0))
