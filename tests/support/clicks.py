"""A detector of clicks by linear prediction from the sound around a sample.

Linear prediction leaves a small residual for music, noise and reverb, and a large one for a step, a lost or repeated
sample or a jump of phase. A click is a residual far above its local scale (a median, which one click cannot move), so
loud music hides a click no better than quiet music.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

ORDER: Final = 40
"""Coefficients of the prediction: two for each of the strongest lines nearby, the rest for the noise's colour."""
FRAME: Final = 4096
"""Samples that a prediction is fitted to."""
HOP: Final = 1024
"""Samples predicted from one frame, in its middle; also the length of the median of the local scale."""
THRESHOLD: Final = 12.0
"""Times the local scale. Gaussian noise reaches 6 once in minutes."""
FLOOR: Final = 2.0**-14
"""Least local scale, two steps of 16 bits: a smaller residual is inaudible."""
SAME_CLICK_FRAMES: Final = 256
_RIDGE: Final = 1e-9
_HOPS_PER_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Click:
    """One click.

    Attributes:
        frame: where.
        channel: in which.
        strength: how many times larger than the local scale.
    """

    frame: int
    channel: int
    strength: float


def find_clicks(sound: FloatArray, *, threshold: float = THRESHOLD) -> list[Click]:
    """Clicks in `sound` (float64 [frames, channels] of full scale 1), at most one in SAME_CLICK_FRAMES and channel."""
    found: list[Click] = []
    for channel in range(sound.shape[1]):
        strength = surprise(sound[:, channel])
        last: Click | None = None
        for frame in np.flatnonzero(strength > threshold).tolist():
            click = Click(frame, channel, float(strength[frame]))
            if last is None or frame - last.frame > SAME_CLICK_FRAMES:
                found.append(click)
                last = click
            elif click.strength > found[-1].strength:
                found[-1] = click
    return sorted(found, key=lambda click: click.frame)


def surprise(samples: FloatArray) -> FloatArray:
    """Residual of each sample in units of the local scale: float64, as long as `samples` [frames].

    The first ORDER samples cannot be judged and are 0; so is everything where there is less than a FRAME.
    """
    count = len(samples)
    if count < FRAME:
        return np.zeros(count)
    hops = -(-count // HOP)
    rest = np.empty(hops * HOP)
    padded = np.concatenate((np.zeros(ORDER), samples, np.zeros(hops * HOP - count)))
    for first in range(0, hops, _HOPS_PER_BATCH):
        numbers = np.arange(first, min(first + _HOPS_PER_BATCH, hops))
        begin = np.clip(numbers * HOP + HOP // 2 - FRAME // 2, 0, count - FRAME)
        weights = _predictions(samples[begin[:, None] + np.arange(FRAME)])
        # Each row: ORDER samples of the hop before, and the hop.
        rows = np.lib.stride_tricks.sliding_window_view(padded, ORDER + HOP)[numbers * HOP]
        predicted = np.zeros((len(numbers), HOP))
        for back in range(1, ORDER + 1):
            predicted += weights[:, back - 1 : back] * rows[:, ORDER - back : ORDER - back + HOP]
        rest[first * HOP : (first + len(numbers)) * HOP] = np.abs(rows[:, ORDER:] - predicted).reshape(-1)
    rest[count:] = np.nan
    # An onset raises the residual around it: the loudest of three hops is the scale of the middle one.
    scale = np.nanmedian(rest.reshape(hops, HOP), axis=1) / 0.6745
    around = np.concatenate((scale[:1], scale, scale[-1:]))
    local = np.maximum(np.maximum(around[:-2], around[1:-1]), around[2:])
    result = rest / np.maximum(np.repeat(local, HOP), FLOOR)
    result[:ORDER] = 0.0
    return result[:count]


def _predictions(frames: FloatArray) -> FloatArray:
    """Weights [frames, ORDER] of the samples before a sample, the nearest first: least squares over each frame."""
    size = frames.shape[1]
    spectrum = np.fft.rfft(frames * np.blackman(size), n=2 * size)
    likeness = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[:, : ORDER + 1]
    likeness[:, 0] = likeness[:, 0] * (1.0 + _RIDGE) + 1e-12
    places = np.arange(ORDER)
    matrix = likeness[:, np.abs(places[:, None] - places[None, :])]
    return np.asarray(np.linalg.solve(matrix, likeness[:, 1:, None])[:, :, 0], dtype=np.float64)
