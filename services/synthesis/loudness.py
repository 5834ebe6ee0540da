"""Gain that brings each preset at each intensity to the same loudness; written by `services.synthesis.calibrate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

TARGET_LUFS: Final = -18.0

INTENSITIES: Final = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)

GAIN_DB: Final[Mapping[str, tuple[float, ...]]] = {
    "drift": (-13.8, -14.3, -16.1, -16.7, -17.8, -18.1, -18.2),
    "aurora": (-14.5, -14.9, -16.4, -18.0, -18.5, -19.0, -19.4),
    "cathedral": (-18.1, -18.7, -20.8, -21.0, -21.4, -21.6, -21.7),
    "harbor": (-17.2, -17.4, -17.8, -18.9, -19.1, -19.3, -19.4),
    "lantern": (-7.8, -7.9, -9.6, -11.2, -11.4, -11.8, -11.9),
    "nocturne": (-7.6, -8.2, -10.8, -12.0, -12.2, -13.0, -13.1),
    "rainfall": (-12.5, -13.7, -14.3, -15.3, -16.3, -16.6, -16.7),
    "tundra": (-15.6, -15.9, -16.9, -18.5, -18.7, -19.0, -19.2),
}


def gain(preset: str, intensity: float) -> float:
    """Linear gain of `preset` at `intensity` (0 to 1), interpolated in dB."""
    return float(10.0 ** (np.interp(intensity, INTENSITIES, GAIN_DB[preset]) / 20.0))
