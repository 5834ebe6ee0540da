"""Integrated loudness of a WAV file by ITU-R BS.1770, for `auralis render`. Pure but for reading the file."""

from __future__ import annotations

import math
import wave
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SEGMENT_S: Final = 60
_SETTLE_S: Final = 1
"""The weighting filters have forgotten what was before them after so long."""
_STEP_S: Final = 0.1
_BLOCK_STEPS: Final = 4
_ABSOLUTE_GATE_LUFS: Final = -70.0
_RELATIVE_GATE_LU: Final = -10.0


def integrated_lufs(path: Path) -> float:
    """Gated loudness of a 16-bit WAV file; minus infinity for silence or less than 400 ms."""
    with wave.open(str(path)) as file:
        rate_hz, channels = file.getframerate(), file.getnchannels()
        step_frames = round(rate_hz * _STEP_S)
        powers: list[float] = []
        settled = np.zeros((0, channels))
        while raw := file.readframes(_SEGMENT_S * rate_hz):
            sound = np.frombuffer(raw, "<i2").reshape(-1, channels) / 32768.0
            weighted = _weighted(np.concatenate((settled, sound)), rate_hz)[len(settled) :]
            settled = sound[-_SETTLE_S * rate_hz :]
            steps = len(weighted) // step_frames
            squares = np.square(weighted[: steps * step_frames]).reshape(steps, step_frames, channels)
            powers += squares.mean(axis=1).sum(axis=1).tolist()
    if len(powers) < _BLOCK_STEPS:
        return -math.inf
    blocks = np.convolve(powers, np.full(_BLOCK_STEPS, 1 / _BLOCK_STEPS), "valid")
    loud = np.asarray([power for power in blocks if _lufs(power) > _ABSOLUTE_GATE_LUFS])
    if not len(loud):
        return -math.inf
    gate_lufs = _lufs(float(loud.mean())) + _RELATIVE_GATE_LU
    return _lufs(float(loud[[_lufs(power) > gate_lufs for power in loud]].mean()))


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power) if power > 0 else -math.inf


def _weighted(sound: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """K-weighting of float64 [frames, channels], by multiplication in the frequency domain."""
    # Padding keeps the end from reaching round to the beginning.
    size = 1 << (len(sound) + _SETTLE_S * rate_hz).bit_length()
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
    response = np.ones(len(z), complex)
    for b, a in (_shelf(rate_hz), _high_pass(rate_hz)):
        response *= np.polyval(b[::-1], z) / np.polyval(a[::-1], z)
    return np.fft.irfft(np.fft.rfft(sound, size, axis=0) * response[:, None], size, axis=0)[: len(sound)]


def _shelf(rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The head: +4 dB above 1.7 kHz. Coefficients (b, a) by rising powers of 1/z."""
    k = math.tan(math.pi * 1681.974450955533 / rate_hz)
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    q = 0.7071752369554196
    b = np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k])
    a = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    return b, a


def _high_pass(rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ear's deafness to the deepest: below 38 Hz. Coefficients as `_shelf`."""
    k = math.tan(math.pi * 38.13547087602444 / rate_hz)
    q = 0.5003270373238773
    a = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    return np.array([1.0, -2.0, 1.0]), a / a[0]
