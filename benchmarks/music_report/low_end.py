"""The low end: whether the fundamental stands still, in the middle, and the same in neighbouring keys. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import signal

from benchmarks.music_report.sound import Sound, band, level_db
from benchmarks.music_report.tone import spectrum_db

LOW_HZ: Final = 120.0
_LOWEST_HZ: Final = 25.0
_BEAT_WINDOW_S: Final = 20.0
"""Longer than three beats of 0.19 Hz."""
_BEAT_BAND_HZ: Final = 1.5
_SETTLE_S: Final = 2.0
_ENDED_DB: Final = 30.0
"""A fundamental that falls further than this within a window has ended: its window says nothing of beats."""
_SIDE_WINDOW_S: Final = 10.0
_FLOOR_DB: Final = -60.0
"""A window whose low end is quieter is silent there, in dBFS."""


def beat_db(sound: Sound) -> float:
    """How far the level of the strongest line between 25 and 120 Hz moves within 20 s, in dB from least to most.

    The line is moved to 0 Hz and low-passed at 1.5 Hz, so beats of two copies are kept and other notes are not. The
    line is chosen for each window anew; windows in which it begins or ends (it falls by more than 30 dB) and
    those that are silent below 120 Hz (-60 dBFS) are left out; the median of the others counts. NaN where none is left.
    """
    found = [
        depth
        for window in sound.cut(_BEAT_WINDOW_S)
        if level_db(band(window.mono, window.rate_hz, 0.0, LOW_HZ)) > _FLOOR_DB
        if (depth := _depth_db(window)) < _ENDED_DB
    ]
    return float(np.median(found)) if found else float("nan")


def _depth_db(window: Sound) -> float:
    step = max(1, window.rate_hz // 1_000)
    rate_hz = window.rate_hz / step
    low = band(window.mono, window.rate_hz, 0.0, LOW_HZ)[::step].astype(np.float64)
    hz, power = signal.periodogram(low, rate_hz, "hann")
    heard = (hz >= _LOWEST_HZ) & (hz <= LOW_HZ)
    line_hz = float(hz[heard][np.argmax(power[heard])])
    shifted = low * np.exp(-2j * np.pi * line_hz * np.arange(len(low)) / rate_hz)
    envelope = np.abs(signal.sosfiltfilt(signal.butter(2, _BEAT_BAND_HZ, fs=rate_hz, output="sos"), shifted))
    edge = round(_SETTLE_S * rate_hz)
    level = 20.0 * np.log10(envelope[edge:-edge] + 1e-9)
    return float(level.max() - level.min())


def correlation(sound: Sound) -> float:
    """Correlation of left and right below 120 Hz, 1 for mono, in the least mono 10 s that are not silent (-60 dBFS).

    NaN where all is silent.
    """
    found = []
    for window in Sound(band(sound.samples, sound.rate_hz, 0.0, LOW_HZ), sound.rate_hz).cut(_SIDE_WINDOW_S):
        if level_db(window.samples) < _FLOOR_DB:
            continue
        left, right = window.samples.astype(np.float64).T
        power = float(np.sqrt((left**2).sum() * (right**2).sum()))
        found.append(float((left * right).sum()) / power if power else 1.0)
    return min(found, default=float("nan"))


def centroid_hz(sound: Sound) -> float:
    """Spectral centroid of the mean spectrum's power, in Hz, from 20 Hz to 20 kHz (mono).

    By power and not by magnitude, so that quiet noise high up does not hide where the notes lie.
    """
    hz, power_db = spectrum_db(sound)
    heard = (hz >= 20.0) & (hz <= 20_000.0)
    power = 10.0 ** (power_db[heard] / 10.0)
    return float((hz[heard] * power).sum() / power.sum())


def key_step_percent(centroids_hz: Sequence[float]) -> float:
    """Greatest difference of neighbouring keys' centroids, in percent of the lower one.

    Args:
        centroids_hz: of the twelve keys, C to B; B and C are neighbours.
    """
    pairs = zip(centroids_hz, [*centroids_hz[1:], centroids_hz[0]], strict=True)
    return max(100.0 * (max(pair) / min(pair) - 1.0) for pair in pairs)
