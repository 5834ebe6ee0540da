"""Dynamics: loudness by ITU-R BS.1770, its range and its sudden changes. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyloudnorm

from benchmarks.music_report.sound import Levels, Sound

STEP_S: Final = 0.1
SHORT_TERM_S: Final = 3.0
_ABSOLUTE_GATE_LUFS: Final = -70.0
_RELATIVE_GATE_LU: Final = -20.0


def integrated_lufs(sound: Sound) -> float:
    """Gated loudness of the whole; minus infinity for silence."""
    return float(pyloudnorm.Meter(sound.rate_hz).integrated_loudness(sound.samples.astype(np.float64)))


def loudness_lufs(sound: Sound, window_s: float) -> Levels:
    """Loudness over time: LUFS of windows of `window_s` (0.4 momentary, 3 short-term), one each 100 ms."""
    powers = step_powers(sound)
    steps = max(1, round(window_s / STEP_S))
    if len(powers) < steps:
        return np.zeros(0)
    return np.asarray(-0.691 + 10.0 * np.log10(np.convolve(powers, np.full(steps, 1 / steps), "valid") + 1e-12))


def step_powers(sound: Sound) -> Levels:
    """Weighted power of each whole 100 ms, both channels summed: float64 [steps]."""
    weighted = sound.samples.astype(np.float64).T
    for weighting in (
        pyloudnorm.IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, sound.rate_hz, "high_shelf"),
        pyloudnorm.IIRfilter(0.0, 0.5, 38.0, sound.rate_hz, "high_pass"),
    ):
        weighted = weighting.apply_filter(weighted)
    size = round(STEP_S * sound.rate_hz)
    count = weighted.shape[1] // size
    return np.asarray(np.square(weighted[:, : count * size]).reshape(2, count, size).mean(axis=2).sum(axis=0))


def range_lu(sound: Sound) -> float:
    """Loudness range by EBU Tech 3342: 10th to 95th percentile of short-term loudness above its gates, in LU."""
    short_term = loudness_lufs(sound, SHORT_TERM_S)
    heard = short_term[short_term > _ABSOLUTE_GATE_LUFS]
    if not len(heard):
        return 0.0
    gate = 10.0 * np.log10(np.mean(10.0 ** (heard / 10.0))) + _RELATIVE_GATE_LU
    low, high = np.percentile(heard[heard > gate], (10.0, 95.0))
    return float(high - low)


def greatest_change_lu(sound: Sound, window_s: float = SHORT_TERM_S) -> float:
    """Greatest change of loudness from one moment to another a second later, up or down, in LU.

    Args:
        sound: 0 for less than a window and a second.
        window_s: of the loudness: 3 s, or 0.4 s.
    """
    loudness = np.maximum(loudness_lufs(sound, window_s), _ABSOLUTE_GATE_LUFS)
    lag = round(1.0 / STEP_S)
    return float(np.abs(loudness[lag:] - loudness[:-lag]).max()) if len(loudness) > lag else 0.0
