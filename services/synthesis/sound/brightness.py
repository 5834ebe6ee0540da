"""Pure. What a stream's brightness does to the spectrum: a slope above the middle of the hearing range."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import CONTROL_STEPS
from services.synthesis.sound.patches import AirPatch

Floats = NDArray[np.float64]

TURN_HZ: Final = 700.0
"""Far below it nothing changes, far above it the slope is reached."""
SLOPE_DB: Final = 6.0
"""What each octave gains at brightness 1 and loses at brightness 0."""
_MAX_OCTAVES: Final = 3.0
"""The change stops growing there: 18 dB, so that dark music keeps its breath and bright music does not hiss."""
_BALANCE: Final = 0.5
"""A note gives back this share, in dB, of the power that it gains: bright music is not much louder than dark music."""
_HISS_DB: Final = 8.0
"""What the hiss gains at brightness 1 and loses at brightness 0: as the coloured noise does where the hiss takes over,
at 5 kHz."""


def brightness_db(hz: Floats, brightness: float) -> Floats:
    """Gain in dB of a tone of `hz` at `brightness` (0 to 1); 0 dB everywhere at 0.5.

    Args:
        hz: frequencies above 0.
        brightness: of the stream.
    """
    octaves = 0.5 * np.log2(1.0 + (hz / TURN_HZ) ** 2)
    slope_db = SLOPE_DB * (2.0 * brightness - 1.0)
    return np.asarray(slope_db * np.minimum(octaves, _MAX_OCTAVES))


def with_brightness(amplitude: Floats, hz: Floats, brightness: float) -> Floats:
    """Amplitudes of notes' partials at `brightness`; unchanged at 0.5.

    Args:
        amplitude: linear [notes, partials].
        hz: of each partial, in the same shape.
        brightness: of the stream, 0 to 1.
    """
    tilted = amplitude * 10.0 ** (brightness_db(hz, brightness) / 20.0)
    before, after = (np.sum(size**2, axis=1, keepdims=True) for size in (amplitude, tilted))
    # A note of no power stays one.
    ratio = np.divide(before, after, out=np.ones_like(before), where=after > 0.0)
    return np.asarray(tilted * ratio ** (_BALANCE / 2.0))


def hiss_gain(brightness: Floats) -> Floats:
    """Linear gain of the air's hiss at `brightness` (0 to 1); 1 at 0.5."""
    return np.asarray(10.0 ** (_HISS_DB * (2.0 * brightness - 1.0) / 20.0))


def air_colours(patch: AirPatch) -> list[tuple[Floats, Floats]]:
    """Corners of the air's spectrum, (Hz, dB), at each step of brightness from 0 to 1."""
    hz, level_db = np.array(patch.points, dtype=np.float64).T
    return [(hz, level_db + brightness_db(hz, steps / CONTROL_STEPS)) for steps in range(CONTROL_STEPS + 1)]
