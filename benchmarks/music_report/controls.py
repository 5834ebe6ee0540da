"""Controls: how far a stream's sound follows what a listener sets. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import signal

from benchmarks.music_report.air import air_levels_db
from benchmarks.music_report.low_end import centroid_hz
from benchmarks.music_report.sound import Sound

_FRAMES: Final = 2048
_HOP: Final = 512
_ONSET_DB: Final = 3.0
"""A moment at which the mean of all rising bands rises by this much is an onset."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control.

    Attributes:
        row: of the table.
        low, high: parameters of a spec at both ends.
        effect: of the sound at `low` and at `high`, in the row's unit.
    """

    row: str
    low: Mapping[str, Any]
    high: Mapping[str, Any]
    effect: Callable[[Sound, Sound], float]


def centroid_change_percent(low: Sound, high: Sound) -> float:
    """How much higher the spectral centroid of `high` is, in percent of that of `low`."""
    return 100.0 * (centroid_hz(high) / centroid_hz(low) - 1.0)


def onset_change_percent(low: Sound, high: Sound) -> float:
    """How many more onsets a second `high` has, in percent of those of `low`; NaN where that has none."""
    before = onsets_per_s(low)
    return 100.0 * (onsets_per_s(high) / before - 1.0) if before else float("nan")


def air_change_db(low: Sound, high: Sound) -> float:
    """How much louder `high` is above 5 kHz, in dB."""
    before, after = air_levels_db([low, high])
    return float(after - before)


def onsets_per_s(sound: Sound) -> float:
    """Onsets a second: peaks of the spectral flux of levels in dB, 100 ms apart or more."""
    hz, _, power = signal.spectrogram(sound.mono, sound.rate_hz, "hann", _FRAMES, _FRAMES - _HOP, scaling="spectrum")
    level = 10.0 * np.log10(power[(hz >= 80.0) & (hz <= 5_000.0)] + 1e-9)
    lag = 4
    flux = np.maximum(level[:, lag:] - level[:, :-lag], 0.0).mean(axis=0)
    apart = max(1, round(0.1 * sound.rate_hz / _HOP))
    places, _ = signal.find_peaks(flux, height=np.median(flux) + _ONSET_DB, distance=apart)
    return len(places) / sound.seconds


CONTROLS: Final = (
    Control("controls.brightness", {"brightness": 0.0}, {"brightness": 1.0}, centroid_change_percent),
    Control("controls.density", {"density": 0.0}, {"density": 1.0}, onset_change_percent),
    Control("controls.texture", {"levels": {"air": 0.0}}, {"levels": {"air": 1.5}}, air_change_db),
)
