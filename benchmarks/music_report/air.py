"""Air: how much the level above the music moves within an hour. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.music_report.sound import Levels, Sound, spectral_level_db

AIR_HZ: Final = 5_000.0


def air_levels_db(windows: Sequence[Sound]) -> Levels:
    """Level above 5 kHz of each window, in dBFS."""
    return np.array([spectral_level_db(window, AIR_HZ) for window in windows])


def movement_db(windows: Sequence[Sound]) -> float:
    """Standard deviation, in dB, of the level above 5 kHz over windows spread over an hour."""
    return float(air_levels_db(windows).std())
