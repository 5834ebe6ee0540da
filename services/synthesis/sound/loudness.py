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
    "drift": (-16.3, -17.9, -19.4, -20.1, -20.6, -20.7, -20.6),
    "aurora": (-17.1, -17.1, -17.4, -17.9, -17.9, -17.6, -17.4),
    "cathedral": (-17.8, -18.3, -18.9, -19.0, -19.0, -19.0, -18.9),
    "harbor": (-16.3, -16.2, -16.6, -17.0, -16.8, -16.8, -16.8),
    "lantern": (-11.9, -12.9, -14.4, -15.2, -15.2, -15.1, -15.0),
    "nocturne": (-15.0, -15.3, -15.7, -16.4, -16.4, -16.2, -16.0),
    "rainfall": (-11.4, -13.3, -13.9, -14.7, -15.4, -15.4, -15.3),
    "tundra": (-19.6, -19.4, -19.8, -20.3, -19.8, -19.4, -19.2),
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
