"""Pure. Gains that bring each preset, at each intensity, to the same loudness. `render.calibrate` writes the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

QUIETEST_LUFS: Final = -21.0
LOUDEST_LUFS: Final = -16.0
"""Loudness at intensity 0 and 1; in between it rises evenly."""

INTENSITIES: Final = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Where it was measured."""

GAIN_DB: Final[Mapping[str, tuple[float, ...]]] = {
    "drift": (-17.8, -17.8, -19.3, -19.2, -19.4, -19.1, -19.0),
    "aurora": (-20.0, -19.9, -20.4, -21.1, -21.0, -20.8, -20.8),
    "cathedral": (-21.7, -21.7, -22.7, -22.0, -21.8, -21.4, -21.3),
    "harbor": (-18.4, -18.5, -18.5, -19.2, -19.0, -19.1, -19.3),
    "lantern": (-14.2, -13.7, -14.6, -15.4, -14.9, -14.6, -14.2),
    "nocturne": (-12.2, -12.2, -14.0, -14.9, -15.0, -15.6, -15.7),
    "rainfall": (-13.1, -14.0, -14.8, -15.7, -16.3, -16.4, -16.5),
    "tundra": (-19.5, -19.4, -19.7, -20.9, -20.2, -19.8, -19.8),
}
"""In dB, for each of INTENSITIES."""


def target_lufs(intensity: float) -> float:
    """The loudness that every preset has at `intensity`, 0 to 1."""
    return QUIETEST_LUFS + (LOUDEST_LUFS - QUIETEST_LUFS) * intensity


def gain(preset: str, intensity: float, reach: float) -> float:
    """Linear gain that brings `preset` to `target_lufs(intensity)`.

    Args:
        preset: its name.
        intensity: of the stream, 0 to 1.
        reach: the highest threshold of a note that the stream plays, 0 to 1. At density 0.5 it is the intensity; fewer
            notes at a lower density are not quieter.
    """
    measured_db = np.interp(reach, INTENSITIES, GAIN_DB[preset])
    return float(10.0 ** ((measured_db + target_lufs(intensity) - target_lufs(reach)) / 20.0))
