"""Extends a sound whose real continuation is missing. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

ORDER: Final = 40
"""Coefficients of the prediction: two for each of the strongest partials that sound."""
PREDICTED_FRAMES: Final = 441
"""10 ms: a prediction fits the sound's end to the sample, and knows nothing of what comes later."""
_RIDGE: Final = 1e-9
"""Of the power, added to it: 90 dB below the music, so that a pure tone can be solved for."""
_SILENCE: Final = 1.0
"""Mean square in steps of 16 bits: below it there is nothing to predict."""

_MIRROR: Final = np.sin(np.linspace(0.0, np.pi / 2, PREDICTED_FRAMES))[:, None] ** 2
"""The mirror's share: hardly any at first, where the prediction is right."""


def continued(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """As many frames again, without a step or a kink where they begin: predicted for 10 ms, then mirrored.

    The mirror alone meets the end with the same value but the opposite slope, which is heard as a tick where little
    masks it: at 16 of 1,000 gaps, as `tests/support/clicks.py` measures it.

    Args:
        sound: what was heard last, [frames, channels]; at least twice PREDICTED_FRAMES.
    """
    after = sound[::-1].astype(np.float64)
    after[:PREDICTED_FRAMES] *= _MIRROR
    for channel in range(sound.shape[1]):
        after[:PREDICTED_FRAMES, channel] += _predicted(sound[:, channel]) * (1.0 - _MIRROR[:, 0])
    return after.astype(np.float32)


def _predicted(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """The next PREDICTED_FRAMES samples by linear prediction (autocorrelation method: what it predicts never grows)."""
    count = len(samples)
    spectrum = np.fft.rfft(samples.astype(np.float64) * np.hamming(count), n=2 * count)
    likeness = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[: ORDER + 1] / count
    if likeness[0] < _SILENCE:
        return np.full(PREDICTED_FRAMES, float(samples[-1]))
    likeness[0] *= 1.0 + _RIDGE
    places = np.arange(ORDER)
    weights = np.linalg.solve(likeness[np.abs(places[:, None] - places[None, :])], likeness[1:])
    # Oldest first, as the samples lie.
    weights = np.ascontiguousarray(weights[::-1])
    line = np.empty(ORDER + PREDICTED_FRAMES)
    line[:ORDER] = samples[-ORDER:]
    for frame in range(PREDICTED_FRAMES):
        line[ORDER + frame] = weights @ line[frame : frame + ORDER]
    return line[ORDER:]
