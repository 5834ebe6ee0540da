"""Gain that brings each preset at each intensity to the same loudness; written by `services.synthesis.calibrate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

TARGET_LUFS: Final = -18.0

INTENSITIES: Final = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)

GAIN_DB: Final[Mapping[str, tuple[float, ...]]] = {
    "drift": (-12.0,) * 7,
    "aurora": (-12.0,) * 7,
    "cathedral": (-12.0,) * 7,
    "harbor": (-12.0,) * 7,
    "lantern": (-12.0,) * 7,
    "nocturne": (-12.0,) * 7,
    "rainfall": (-12.0,) * 7,
    "tundra": (-12.0,) * 7,
}


def gain(preset: str, intensity: float) -> float:
    """Linear gain of `preset` at `intensity` (0 to 1), interpolated in dB."""
    return float(10.0 ** (np.interp(intensity, INTENSITIES, GAIN_DB[preset]) / 20.0))
