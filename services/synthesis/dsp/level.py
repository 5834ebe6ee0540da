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
    QUARTER,
    QUARTER_BLOCK,
    TEXTURE_FRAMES,
)
from services.synthesis.dsp.noise import triangular
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


def quarter_mix(voices: Tensor, wet: Tensor) -> Tensor:
    """Everything that is summed at the quarter rate.

    Args:
        voices: [rows, LOW_INTERVALS, 3, PADDED_INTERVAL], from `voices.low`; only its dry part is summed.
        wet: [rows, 2, LOW_FRAMES], the reverb.

    Returns:
        [rows, 2, LOW_FRAMES].
    """
    # Intervals of the voices are padded, so that their frames are not contiguous.
    played = dry_part(voices)
    return (wet.reshape(played.shape) + played).reshape(wet.shape)


def texture(textures: Tensor, places: Tensor, levels: Tensor) -> Tensor:
    """The two grains of the texture that sound in a block.

    Args:
        textures: float32 [numbers]: loops, each [2 channels, QUARTER, TEXTURE_FRAMES].
        places: int32 [rows, 2]: where in `textures` the left channel of either grain begins.
        levels: float32 [rows, 2 grains, 2 channels, 2]: gains at the block's start and end.

    Returns:
        [rows, 2, QUARTER, QUARTER_BLOCK].
    """
    # Every place that a grain may begin at, as a view: the kernel then reads whole vectors from a row's place on.
    starts = textures.shape[0] - ((2 * QUARTER - 1) * TEXTURE_FRAMES + QUARTER_BLOCK) + 1
    grains = textures.as_strided((starts, 2, QUARTER, QUARTER_BLOCK), (1, QUARTER * TEXTURE_FRAMES, TEXTURE_FRAMES, 1))
    share = torch.arange(QUARTER_BLOCK, dtype=torch.float32, device=textures.device) * (1.0 / QUARTER_BLOCK)
    total = None
    for grain in range(2):
        sound = grains[places[:, grain]]
        start, end = levels[:, grain, :, 0, None, None], levels[:, grain, :, 1, None, None]
        part = sound * (start + (end - start) * share)
        total = part if total is None else total + part
    assert total is not None  # noqa: S101 - there are two grains
    return total


def full_sum(mixed: Tensor, textured: Tensor, bright: Tensor | None, phases: Sequence[Sequence[float]]) -> Tensor:
    """Bring the quarter-rate sum to the full rate and add what has it: the sound before the limiter.

    Args:
        mixed: [rows, 2, LOW_FRAMES], from `quarter_mix`.
        textured: [rows, 2, QUARTER, QUARTER_BLOCK], from `texture`.
        bright: [rows, 2, QUARTER, INTERVALS, QUARTER_INTERVAL], from `voices.high`; None without bright partials.
        phases: QUARTER x TAPS filter taps, from `resample.phases`.

    Returns:
        [rows, 2, QUARTER * QUARTER_BLOCK]; number `phase * QUARTER_BLOCK + i` is frame `4 * i + phase`.
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
    sound = (torch.stack(sums, dim=2) + textured).reshape(rows, 2, -1)
    return sound if bright is None else sound + bright.reshape(rows, 2, -1)


def finish(sound: Tensor, dither: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Limit and round.

    Args:
        sound: from `full_sum`.
        dither: int32 [rows, 2]: the block's first frame, wrapping, and a seed.

    Returns:
        samples: int32 [rows, QUARTER, QUARTER_BLOCK]: a stereo frame each, left in the low 16 bits, right in the high
            ones. `samples[row, phase, i]` is frame `4 * i + phase`.
        peak, mean_square: [rows], of full scale.

        Samples that are not a number become silence; the mean square of their row is not a number.
    """
    rows = sound.shape[0]
    frames = QUARTER_BLOCK
    left, right = soft_limit(sound[:, 0]), soft_limit(sound[:, 1])

    # Noise needs distinct numbers for the samples, in whatever order; this is their order in memory.
    counter = dither[:, 0:1] + torch.arange(QUARTER * frames, dtype=torch.int32, device=sound.device)
    seed = dither[:, 1:2]
    low = _rounded(left, triangular(counter, seed))
    high = _rounded(right, triangular(counter, seed ^ _RIGHT_CHANNEL))
    samples = (low & 0xFFFF) | (high << 16)
    peak = torch.maximum(left.abs(), right.abs()).amax(dim=1)
    mean_square = (left * left + right * right).sum(dim=1) * (0.5 / (QUARTER * frames))
    return samples.reshape(rows, QUARTER, frames), peak, mean_square


def _rounded(sound: Tensor, noise: Tensor) -> Tensor:
    """`sound` in 16-bit steps; silence where it is not a number."""
    safe = torch.where(sound == sound, sound, 0.0)  # noqa: PLR0124 - false for NaN alone
    return torch.round(safe * FULL_SCALE + noise).to(torch.int32)
