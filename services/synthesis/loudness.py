"""Gain that brings each preset at each intensity to the same loudness; written by `services.synthesis.calibrate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

TARGET_LUFS: Final = -18.0

INTENSITIES: Final = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)

GAIN_DB: Final[Mapping[str, tuple[float, ...]]] = {
    "drift": (-11.8, -12.3, -15.1, -16.0, -17.4, -18.1, -18.4),
    "aurora": (-14.3, -15.0, -17.0, -18.9, -20.1, -20.9, -21.4),
    "cathedral": (-17.9, -18.7, -21.1, -21.7, -22.4, -22.9, -23.3),
    "harbor": (-16.4, -17.2, -18.1, -19.5, -19.8, -20.4, -20.6),
    "lantern": (-5.8, -6.0, -8.2, -10.1, -10.7, -11.4, -11.6),
    "nocturne": (-8.8, -9.2, -11.4, -12.5, -12.8, -13.3, -13.5),
    "rainfall": (-12.5, -13.7, -14.8, -16.0, -17.3, -17.9, -18.1),
    "tundra": (-14.8, -15.2, -16.3, -18.3, -18.8, -19.4, -20.0),
}


def gain(preset: str, intensity: float) -> float:
    """Linear gain of `preset` at `intensity` (0 to 1), interpolated in dB."""
    return float(10.0 ** (np.interp(intensity, INTENSITIES, GAIN_DB[preset]) / 20.0))
