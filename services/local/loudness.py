"""Integrated loudness of a WAV file by ITU-R BS.1770, for `auralis render`. Pure but for reading the file."""

from __future__ import annotations

import math
import wave
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_FFT_FRAMES: Final = 2**17
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
        response = _k_weighting(rate_hz)
        settle_frames = _SETTLE_S * rate_hz
        # Whole steps, so that no step falls into two pieces.
        piece_frames = (_FFT_FRAMES - settle_frames) // step_frames * step_frames
        powers: list[float] = []
        before = np.zeros((channels, settle_frames), np.float32)
        while raw := file.readframes(piece_frames):
            sound = np.frombuffer(raw, "<i2").reshape(-1, channels).T.astype(np.float32) / np.float32(32768)
            together = np.concatenate((before, sound), axis=1)
            # The end reaches round to the beginning, which is the part that is thrown away.
            spectrum = np.fft.rfft(together, _FFT_FRAMES) * response
            weighted = np.fft.irfft(spectrum, _FFT_FRAMES)[:, settle_frames : together.shape[1]]
            before = together[:, -settle_frames:]
            steps = weighted.shape[1] // step_frames
            squares = np.square(weighted[:, : steps * step_frames]).reshape(channels, steps, step_frames)
            powers += squares.mean(axis=2, dtype=np.float64).sum(axis=0).tolist()
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


def _k_weighting(rate_hz: int) -> NDArray[np.complex64]:
    """The standard's weighting, as the response at the frequencies of the transform."""
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(_FFT_FRAMES))
    response = np.ones(len(z), complex)
    for b, a in (_shelf(rate_hz), _high_pass(rate_hz)):
        response *= np.polyval(b[::-1], z) / np.polyval(a[::-1], z)
    return response.astype(np.complex64)


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
