"""Pure. Noise without state: a hash of (seed, absolute frame), and the short filters that colour it."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.synthesis.dsp.grid import GUARD_FRAMES, LOW_FRAMES, QUARTER_HZ

AIR_TAPS: Final = 32
"""Length of the filter that colours the air, in quarter-rate frames."""
WHITE_FRAMES: Final = LOW_FRAMES + AIR_TAPS - 1
"""White noise that the filter reads for one block."""

SPREAD: Final = 0x9E3779B1 - 2**32
"""2**32 / golden ratio as a signed 32-bit number: multiples of it lie far apart."""
# Odd factors that spread low bits over the word (the finalizer "lowbias32"), as signed 32-bit numbers.
_MIX_1: Final = 0x7FEB352D
_MIX_2: Final = 0x846CA68B - 2**32


def scramble[Words: (Tensor, NDArray[np.int32])](counter: Words, seed: Words) -> Words:
    """32 hash bits of each (counter, seed): int32 in, int32 out, broadcasting. The sound's only noise and chance.

    Torch and numpy give the same bits. Both shift signed words arithmetically, so that the sign's copies are masked.
    """
    x = (counter * SPREAD) ^ seed
    x = (x ^ ((x >> 16) & 0xFFFF)) * _MIX_1
    x = (x ^ ((x >> 15) & 0x1FFFF)) * _MIX_2
    return x ^ ((x >> 16) & 0xFFFF)


def white(first_frame: Tensor, seeds: Tensor) -> Tensor:
    """White noise for a block's air.

    Args:
        first_frame: int32 [rows, 1]: the block's first quarter-rate frame since the epoch, wrapping.
        seeds: int32 [rows, 2]: one for each channel.

    Returns:
        float32 [rows, 2, WHITE_FRAMES] in [-1, 1); it begins GUARD_FRAMES + AIR_TAPS - 1 before the block.
    """
    offset = torch.arange(WHITE_FRAMES, dtype=torch.int32, device=seeds.device) - (GUARD_FRAMES + AIR_TAPS - 1)
    bits = scramble((first_frame + offset)[:, None, :], seeds[:, :, None])
    return bits.to(torch.float32) * 2.0**-31


def triangular(counter: Tensor, seed: Tensor) -> Tensor:
    """Noise in (-1, 1) of triangular density: the sum of the two halves of one hash."""
    bits = scramble(counter, seed)
    return ((bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) - 0xFFFF).to(torch.float32) * 2.0**-16


def colour_taps(points_hz: NDArray[np.float64], points_db: NDArray[np.float64]) -> NDArray[np.float32]:
    """A filter of AIR_TAPS taps at the quarter rate with the given response, silent at 0 Hz.

    Args:
        points_hz, points_db: corners of the wanted response; in between, dB are linear over log frequency.

    Returns:
        float32 [AIR_TAPS], scaled so that white noise in [-1, 1) leaves it with an RMS of 1.
    """
    grid_hz = np.linspace(0.0, QUARTER_HZ / 2, 2049)
    level_db = np.interp(np.log(np.maximum(grid_hz, 1.0)), np.log(points_hz), points_db)
    response = 10.0 ** (level_db / 20.0)
    impulse = np.roll(np.fft.irfft(response, n=4096), AIR_TAPS // 2)[:AIR_TAPS]
    taps = impulse * np.hanning(AIR_TAPS + 2)[1:-1]
    # A window spreads the response to 0 Hz; taking out the mean keeps the noise free of DC.
    window = np.hanning(AIR_TAPS + 2)[1:-1]
    taps = taps - window * (taps.sum() / window.sum())
    # Uniform noise in [-1, 1) has a variance of one third.
    return np.asarray(taps / np.sqrt(np.sum(taps**2) / 3.0), dtype=np.float32)
