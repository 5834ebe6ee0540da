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
    "drift": (-16.6, -17.2, -18.5, -18.9, -19.0, -18.9, -18.8),
    "aurora": (-17.5, -17.5, -17.4, -17.8, -17.7, -17.3, -17.1),
    "cathedral": (-17.9, -18.4, -19.5, -19.3, -19.1, -18.8, -18.7),
    "harbor": (-17.2, -17.1, -16.9, -17.0, -17.0, -16.8, -16.7),
    "lantern": (-12.9, -13.4, -14.4, -14.8, -14.9, -14.6, -14.4),
    "nocturne": (-13.8, -14.2, -14.9, -15.0, -14.9, -14.5, -14.2),
    "rainfall": (-11.3, -11.9, -13.1, -13.7, -14.1, -14.2, -14.2),
    "tundra": (-18.0, -17.8, -17.5, -17.8, -17.8, -17.4, -17.2),
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
