"""Loudness of a WAV file by ITU-R BS.1770 (shell: it reads the file)."""

from __future__ import annotations

import math
import wave
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_FFT_FRAMES: Final = 2**17
_SETTLE_S: Final = 1
"""Time in which the weighting filters forget earlier sound."""
STEP_S: Final = 0.1
"""Resolution of loudness over time."""
_BLOCK_STEPS: Final = 4
"""Steps of a gating block: 400 ms, as the standard has it."""
_ABSOLUTE_GATE_LUFS: Final = -70.0
"""Quieter blocks do not count (the standard's absolute gate)."""
_RELATIVE_GATE_LU: Final = -10.0
"""Blocks that are quieter than the mean by more do not count (the standard's relative gate)."""


def integrated_lufs(path: Path) -> float:
    """Integrated loudness of a 16-bit WAV file; minus infinity for silence or less than 400 ms."""
    return gated_lufs(step_powers(path))


def step_powers(path: Path) -> NDArray[np.float64]:
    """Weighted power of each whole step of a 16-bit WAV file, summed over channels: float64 [steps]."""
    with wave.open(str(path)) as file:
        rate_hz, channels = file.getframerate(), file.getnchannels()
        step_frames = round(rate_hz * STEP_S)
        response = _k_weighting(rate_hz)
        settle_frames = _SETTLE_S * rate_hz
        # A whole number of steps, so that each step lies in one piece.
        piece_frames = (_FFT_FRAMES - settle_frames) // step_frames * step_frames
        powers: list[float] = []
        before = np.zeros((channels, settle_frames), np.float32)
        while raw := file.readframes(piece_frames):
            sound = np.frombuffer(raw, "<i2").reshape(-1, channels).T.astype(np.float32) / np.float32(32768)
            piece = np.concatenate((before, sound), axis=1)
            # The convolution is circular: its end spills into the first second, which is dropped.
            spectrum = np.fft.rfft(piece, _FFT_FRAMES) * response
            weighted = np.fft.irfft(spectrum, _FFT_FRAMES)[:, settle_frames : piece.shape[1]]
            before = piece[:, -settle_frames:]
            steps = weighted.shape[1] // step_frames
            squares = np.square(weighted[:, : steps * step_frames]).reshape(channels, steps, step_frames)
            powers += squares.mean(axis=2, dtype=np.float64).sum(axis=0).tolist()
    return np.asarray(powers, dtype=np.float64)


def gated_lufs(powers: NDArray[np.float64]) -> float:
    """Integrated loudness from the result of `step_powers`."""
    blocks = _windows(powers, _BLOCK_STEPS)
    loud = blocks[lufs(blocks) > _ABSOLUTE_GATE_LUFS]
    if not len(loud):
        return -math.inf
    gate_lufs = float(lufs(loud.mean())) + _RELATIVE_GATE_LU
    return float(lufs(loud[lufs(loud) > gate_lufs].mean()))


def windowed_lufs(powers: NDArray[np.float64], window_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Loudness over time.

    Args:
        powers: from `step_powers`.
        window_s: seconds; 0.4 is momentary loudness, 3 short-term. Shorter sound is one shorter window.

    Returns:
        The windows' middles in seconds, and their loudness in LUFS: float64 [windows] each.
    """
    steps = min(max(round(window_s / STEP_S), 1), max(len(powers), 1))
    levels = lufs(_windows(powers, steps))
    return np.asarray((np.arange(len(levels)) + steps / 2) * STEP_S, dtype=np.float64), levels


def lufs(power: NDArray[np.float64] | np.floating) -> NDArray[np.float64]:
    """Loudness of a weighted power that is summed over channels; minus infinity for silence."""
    with np.errstate(divide="ignore"):
        return np.asarray(-0.691 + 10 * np.log10(power), dtype=np.float64)


def _windows(powers: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    return np.convolve(powers, np.full(steps, 1 / steps), "valid") if len(powers) >= steps else np.zeros(0)


def _k_weighting(rate_hz: int) -> NDArray[np.complex64]:
    """The standard's K-weighting as a frequency response: complex64 [bins of the transform]."""
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(_FFT_FRAMES))
    response = np.ones(len(z), complex)
    for b, a in (_shelf(rate_hz), _high_pass(rate_hz)):
        response *= np.polyval(b[::-1], z) / np.polyval(a[::-1], z)
    return response.astype(np.complex64)


def _shelf(rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The shelf of the K-weighting, +4 dB above 1.7 kHz: coefficients (b, a) by rising powers of 1/z."""
    k = math.tan(math.pi * 1681.974450955533 / rate_hz)
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    q = 0.7071752369554196
    b = np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k])
    a = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    return b, a


def _high_pass(rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The high-pass of the K-weighting, at 38 Hz: coefficients as in `_shelf`."""
    k = math.tan(math.pi * 38.13547087602444 / rate_hz)
    q = 0.5003270373238773
    a = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    return np.array([1.0, -2.0, 1.0]), a / a[0]
