"""Extends a sound whose real continuation is missing. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

ORDER: Final = 40
"""Coefficients of the linear prediction: two for each of the twenty strongest partials."""
PREDICTED_FRAMES: Final = 441
"""10 ms: a prediction is exact at the end of the sound and worthless later."""
_RIDGE: Final = 1e-9
"""Share of the power that is added as noise, 90 dB below the music: a pure tone would make the system singular."""
_SILENCE: Final = 1.0
"""Mean square on the 16-bit scale; below it nothing is predicted."""

_MIRROR: Final = np.sin(np.linspace(0.0, np.pi / 2, PREDICTED_FRAMES))[:, None] ** 2
"""Share of the mirrored sound, 0 to 1: little at first, where the prediction is right."""


def extrapolate(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """As many frames again, without a step or a kink where they begin: predicted for 10 ms, then mirrored.

    The mirrored sound alone begins with the right value but the opposite slope, which is audible as a tick at 16 of
    1,000 gaps (measured by `tests/support/clicks.py`).

    Args:
        sound: the last sound, float32 [frames, channels]; at least twice PREDICTED_FRAMES.

    Returns:
        float32 [frames, channels].
    """
    after = sound[::-1].astype(np.float64)
    after[:PREDICTED_FRAMES] *= _MIRROR
    for channel in range(sound.shape[1]):
        after[:PREDICTED_FRAMES, channel] += _predicted(sound[:, channel]) * (1.0 - _MIRROR[:, 0])
    return after.astype(np.float32)


def _predicted(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """The next PREDICTED_FRAMES samples, by linear prediction (autocorrelation method, which never diverges)."""
    count = len(samples)
    spectrum = np.fft.rfft(samples.astype(np.float64) * np.hamming(count), n=2 * count)
    autocorrelation = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[: ORDER + 1] / count
    if autocorrelation[0] < _SILENCE:
        return np.full(PREDICTED_FRAMES, float(samples[-1]))
    autocorrelation[0] *= 1.0 + _RIDGE
    lags = np.arange(ORDER)
    coefficients = np.linalg.solve(autocorrelation[np.abs(lags[:, None] - lags[None, :])], autocorrelation[1:])
    # Oldest first, as the samples are.
    coefficients = np.ascontiguousarray(coefficients[::-1])
    series = np.empty(ORDER + PREDICTED_FRAMES)
    series[:ORDER] = samples[-ORDER:]
    for frame in range(PREDICTED_FRAMES):
        series[ORDER + frame] = coefficients @ series[frame : frame + ORDER]
    return series[ORDER:]
