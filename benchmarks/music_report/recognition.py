"""Recognition: whether a preset is told from the others by what it sounds like. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from benchmarks.music_report.sound import Sound

_FRAMES: Final = 2048
_BANDS: Final = 40
_LOW_HZ: Final = 40.0
_HIGH_HZ: Final = 16_000.0
_SPREAD: Final = 0.05
"""Added to the covariance, as a share of its mean variance: there are more features than it can bear otherwise."""

Features = NDArray[np.float64]


def features(window: Sound) -> Features:
    """What a window sounds like: float64 [3 x bands].

    For each of 40 bands, evenly spaced in mel from 40 Hz to 16 kHz: its mean level in dB, how far the level spreads
    over time, and how far it moves from one frame (46 ms) to the next. Means are against their own mean, so loudness
    tells nothing.
    """
    hz, _, power = signal.spectrogram(window.mono, window.rate_hz, "hann", _FRAMES, 0, scaling="spectrum")
    edges_mel = np.linspace(_mel(_LOW_HZ), _mel(min(_HIGH_HZ, 0.45 * window.rate_hz)), _BANDS + 2)
    edges = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    rise = (hz[None, :] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hz[None, :]) / (edges[2:] - edges[1:-1])[:, None]
    levels = 10.0 * np.log10(np.clip(np.minimum(rise, fall), 0.0, None) @ power + 1e-12)
    mean = levels.mean(axis=1)
    return np.concatenate((mean - mean.mean(), levels.std(axis=1), np.abs(np.diff(levels, axis=1)).mean(axis=1)))


def recognised(known: Mapping[str, Sequence[Features]], unseen: Mapping[str, Sequence[Features]]) -> dict[str, float]:
    """Share of unseen windows of each name that are taken for it and not for another name, 0 to 1.

    Linear discriminant analysis: the nearest mean by the covariance that all names share.

    Args:
        known: windows to learn from, by name.
        unseen: windows to be named; names as in `known`.
    """
    names = list(known)
    means = np.array([np.mean(known[name], axis=0) for name in names])
    rest = np.concatenate([np.asarray(known[name]) - means[i] for i, name in enumerate(names)])
    covariance = rest.T @ rest / len(rest)
    covariance += np.eye(len(covariance)) * (_SPREAD * np.trace(covariance) / len(covariance) + 1e-9)
    weights = np.linalg.solve(covariance, means.T)
    offsets = 0.5 * np.sum(means.T * weights, axis=0)
    return {
        name: float(np.mean(np.argmax(np.asarray(windows) @ weights - offsets, axis=1) == names.index(name)))
        for name, windows in unseen.items()
    }


def _mel(hz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hz / 700.0))
