"""Pure. From the sum of all parts to 16 bits: a limiter without memory, dither, rounding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Final

import torch
from torch import Tensor

from services.synthesis.dsp.grid import (
    GUARD_FRAMES,
    LOW_FRAMES,
    LOW_INTERVALS,
    QUARTER,
    QUARTER_BLOCK,
    QUARTER_INTERVAL,
)
from services.synthesis.dsp.noise import AIR_TAPS, triangular
from services.synthesis.dsp.resample import REACH_AFTER, REACH_BEFORE
from services.synthesis.dsp.voices import dry_part

KNEE: Final = 0.5
"""Amplitude up to which the limiter changes nothing."""
CEILING: Final = 0.84
"""Amplitude that no sample reaches: -1.5 dBFS, so that the true peak between samples stays below -1 dBTP."""
NO_WEIGHT: Final = 1e-12
"""A filter tap of at most this size is a zero that was rounded."""
FULL_SCALE: Final = 32_767.0
"""Amplitude 1 in 16-bit steps."""
_RIGHT_CHANNEL: Final = 0x55555555
"""Changes a seed, so that the right channel's noise is not the left one's."""


def soft_limit(sound: Tensor) -> Tensor:
    """Bend what is above KNEE smoothly towards CEILING; odd, so it makes no DC."""
    size = sound.abs()
    # `relu` on each side costs less than one `clamp`.
    excess = torch.relu(size - KNEE)
    rest = torch.relu(1.0 - excess * (1.0 / (3.0 * (CEILING - KNEE))))
    bent = (size - excess) + (CEILING - KNEE) * (1.0 - rest * rest * rest)
    return torch.where(sound < 0.0, -bent, bent)


def quarter_mix(voices: Tensor, wet: Tensor, white: Tensor, air_taps: Tensor, air_level: Tensor) -> Tensor:
    """Everything that is summed at the quarter rate.

    Args:
        voices: [rows, LOW_INTERVALS, 3, PADDED_INTERVAL], from `voices.low`; only its dry part is summed.
        wet: [rows, 2, LOW_FRAMES], the reverb.
        white: [rows, 2, WHITE_FRAMES], from `noise.white`.
        air_taps: [rows, AIR_TAPS], the filter that colours the noise.
        air_level: [rows, 2 channels, 2]: gain of the air at the block's start and end.

    Returns:
        [rows, 2, LOW_FRAMES].
    """
    rows = voices.shape[0]

    def intervals(flat: Tensor) -> Tensor:
        # As the voices are laid out: their intervals are padded, so that their frames are not contiguous.
        return flat.reshape(*flat.shape[:-1], LOW_INTERVALS, QUARTER_INTERVAL)

    air = intervals(white[..., :LOW_FRAMES]) * air_taps[:, 0, None, None, None]
    for tap in range(1, AIR_TAPS):
        air = air + intervals(white[..., tap : tap + LOW_FRAMES]) * air_taps[:, tap, None, None, None]
    frame = torch.arange(-GUARD_FRAMES, LOW_FRAMES - GUARD_FRAMES, dtype=torch.float32, device=voices.device)
    start, end = air_level[..., 0, None, None], air_level[..., 1, None, None]
    level = start + (end - start) * (intervals(frame) * (1.0 / QUARTER_BLOCK))
    return (intervals(wet) + air * level + dry_part(voices)).reshape(rows, 2, LOW_FRAMES)


def finish(
    mixed: Tensor, bright: Tensor | None, phases: Sequence[Sequence[float]], dither: Tensor, hiss: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Bring the quarter-rate sum to the full rate, add the bright partials, limit, round.

    Args:
        mixed: [rows, 2, LOW_FRAMES], from `quarter_mix`.
        bright: [rows, 2, QUARTER, INTERVALS, QUARTER_INTERVAL], from `voices.high`; None without bright partials.
        phases: QUARTER x TAPS filter taps, from `resample.phases`.
        dither: int32 [rows, 2]: the block's first frame, wrapping, and a seed.
        hiss: float32 [rows, 1]: peak of the white noise in 16-bit steps; 1 is dither alone.

    Returns:
        samples: int32 [rows, QUARTER, QUARTER_BLOCK]: a stereo frame each, left in the low 16 bits, right in the high
            ones. `samples[row, phase, i]` is frame `4 * i + phase`.
        peak, mean_square: [rows], of full scale.

        Samples that are not a number become silence; the mean square of their row is not a number.
    """
    rows = mixed.shape[0]
    frames = QUARTER_BLOCK
    first = GUARD_FRAMES - REACH_BEFORE
    assert GUARD_FRAMES >= REACH_AFTER  # noqa: S101 - a relation of constants, which makes the slices below fit
    sums = []
    for phase in range(QUARTER):
        products = [
            mixed[..., first + tap : first + tap + frames] * weight
            for tap, weight in enumerate(phases[phase])
            # In one of the four phases all taps but one are zero: a quarter of the work.
            if abs(weight) > NO_WEIGHT
        ]
        sums.append(reduce(add, products))
    sound = torch.stack(sums, dim=2).reshape(rows, 2, -1)
    if bright is not None:
        sound = sound + bright.reshape(rows, 2, -1)
    left, right = soft_limit(sound[:, 0]), soft_limit(sound[:, 1])

    # Noise needs distinct numbers for the samples, in whatever order; this is their order in memory.
    counter = dither[:, 0:1] + torch.arange(QUARTER * frames, dtype=torch.int32, device=mixed.device)
    seed = dither[:, 1:2]
    low = _rounded(left, triangular(counter, seed) * hiss)
    high = _rounded(right, triangular(counter, seed ^ _RIGHT_CHANNEL) * hiss)
    samples = (low & 0xFFFF) | (high << 16)
    peak = torch.maximum(left.abs(), right.abs()).amax(dim=1)
    mean_square = (left * left + right * right).sum(dim=1) * (0.5 / (QUARTER * frames))
    return samples.reshape(rows, QUARTER, frames), peak, mean_square


def _rounded(sound: Tensor, noise: Tensor) -> Tensor:
    """`sound` in 16-bit steps; silence where it is not a number."""
    safe = torch.where(sound == sound, sound, 0.0)  # noqa: PLR0124 - false for NaN alone
    return torch.round(safe * FULL_SCALE + noise).to(torch.int32)
