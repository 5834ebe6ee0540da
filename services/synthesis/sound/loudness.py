"""Pure. Gains that bring each preset, at each intensity, to the same loudness. `render.calibrate` writes the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

TARGET_LUFS: Final = -18.0
"""Loudness of every preset (ITU-R BS.1770)."""

INTENSITIES: Final = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Where it was measured."""

GAIN_DB: Final[Mapping[str, tuple[float, ...]]] = {
    "drift": (-13.3, -13.7, -16.1, -16.9, -18.2, -19.0, -19.4),
    "aurora": (-15.3, -15.8, -17.5, -19.4, -20.5, -21.5, -22.1),
    "cathedral": (-18.3, -18.9, -21.1, -21.7, -22.5, -23.2, -23.6),
    "harbor": (-17.0, -17.4, -18.0, -19.3, -19.8, -20.6, -21.1),
    "lantern": (-7.2, -7.2, -9.0, -10.8, -11.5, -12.4, -12.6),
    "nocturne": (-11.0, -11.1, -13.0, -13.9, -14.2, -15.0, -15.2),
    "rainfall": (-13.9, -14.9, -15.9, -16.9, -18.1, -18.7, -19.0),
    "tundra": (-16.2, -16.4, -17.3, -19.0, -19.4, -20.0, -20.6),
}
"""In dB, for each of INTENSITIES."""


def gain(preset: str, intensity: float) -> float:
    """Linear gain of `preset` at `intensity` (0 to 1), interpolated in dB."""
    return float(10.0 ** (np.interp(intensity, INTENSITIES, GAIN_DB[preset]) / 20.0))
