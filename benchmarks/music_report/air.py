"""Air: how much the level above the music moves within an hour. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.music_report.sound import Levels, Sound, band, level_db

AIR_HZ: Final = 5_000.0


def air_levels_db(windows: Sequence[Sound]) -> Levels:
    """Level above 5 kHz of each window, in dBFS."""
    return np.array([level_db(band(window.samples, window.rate_hz, AIR_HZ, np.inf)) for window in windows])


def movement_db(windows: Sequence[Sound]) -> float:
    """How far the level above 5 kHz moves over windows spread over an hour: 5th to 95th percentile, in dB."""
    low, high = np.percentile(air_levels_db(windows), (5.0, 95.0))
    return float(high - low)
