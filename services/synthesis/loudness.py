"""Gain that brings each preset at each intensity to the same loudness; written by `services.synthesis.calibrate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

TARGET_LUFS: Final = -18.0

INTENSITIES: Final = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)

GAIN_DB: Final[Mapping[str, tuple[float, ...]]] = {
    "drift": (-12.5, -12.9, -15.3, -16.1, -17.4, -18.2, -18.6),
    "aurora": (-14.9, -15.4, -17.1, -19.0, -20.1, -21.1, -21.7),
    "cathedral": (-18.4, -19.0, -21.2, -21.8, -22.6, -23.3, -23.7),
    "harbor": (-17.0, -17.4, -18.0, -19.3, -19.8, -20.6, -21.1),
    "lantern": (-6.6, -6.6, -8.4, -10.2, -10.9, -11.8, -12.0),
    "nocturne": (-9.6, -9.7, -11.6, -12.5, -12.8, -13.6, -13.8),
    "rainfall": (-13.2, -14.2, -15.2, -16.2, -17.4, -18.0, -18.3),
    "tundra": (-15.5, -15.7, -16.6, -18.3, -18.7, -19.3, -19.9),
}


def gain(preset: str, intensity: float) -> float:
    """Linear gain of `preset` at `intensity` (0 to 1), interpolated in dB."""
    return float(10.0 ** (np.interp(intensity, INTENSITIES, GAIN_DB[preset]) / 20.0))
