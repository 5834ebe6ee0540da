"""Pure. From the sum of all parts to 16 bits: a limiter without memory, dither, rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Final

import torch
from torch import Tensor

from services.synthesis.dsp.grid import (
    GUARD_FRAMES,
    LOW_FRAMES,
    QUARTER,
    QUARTER_BLOCK,
    TEXTURE_FRAMES,
    TEXTURE_STEP,
)
from services.synthesis.dsp.noise import triangular
from services.synthesis.dsp.resample import REACH_AFTER, REACH_BEFORE
from services.synthesis.dsp.voices import HIGH_SUMS, whole

KNEE: Final = 0.5
"""Amplitude up to which the limiter changes nothing."""
CEILING: Final = 0.8
"""Amplitude that no sample reaches: -1.9 dBFS. Struck notes overshoot between samples by up to 0.75 dB, and the true
peak stays below -1 dBTP."""
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
    """Everything below SPLIT_HZ, and the reverb.

    Args:
        voices: from `voices.low`; only its dry part is summed.
        wet: [rows, 2, LOW_FRAMES], the reverb.

    Returns:
        [rows, 2, LOW_FRAMES].
    """
    # Intervals of the voices are padded, so that their frames are not contiguous.
    played = whole(voices)
    return (wet.reshape(played.shape) + played).reshape(wet.shape)


def bright_mix(voices: Tensor) -> Tensor:
    """Everything from SPLIT_HZ up: [rows, HIGH_SUMS, LOW_FRAMES].

    Args:
        voices: from `voices.high`.
    """
    return whole(voices, 0, HIGH_SUMS).reshape(voices.shape[0], HIGH_SUMS, LOW_FRAMES)


def texture(textures: Tensor, places: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """The two grains of the texture that sound in a block.

    Args:
        textures: int32 [numbers]: loops, each [QUARTER, TEXTURE_FRAMES] stereo frames: left in the low 16 bits, right
            in the high ones, in steps of TEXTURE_STEP.
        places: int32 [rows, 2]: where in `textures` either grain begins.
        levels: float32 [rows, 2 grains, 2 channels, 2]: gains at the block's start and end.

    Returns:
        Left and right, [rows, QUARTER, QUARTER_BLOCK] each.
    """
    # Every place that a grain may begin at, as a view: the kernel then reads whole vectors from a row's place on.
    starts = textures.shape[0] - ((QUARTER - 1) * TEXTURE_FRAMES + QUARTER_BLOCK) + 1
    grains = textures.as_strided((starts, QUARTER, QUARTER_BLOCK), (1, TEXTURE_FRAMES, 1))
    share = torch.arange(QUARTER_BLOCK, dtype=torch.float32, device=textures.device) * (1.0 / QUARTER_BLOCK)
    gains = levels * TEXTURE_STEP

    def gain(grain: int, channel: int) -> Tensor:
        start, end = gains[:, grain, channel, 0, None, None], gains[:, grain, channel, 1, None, None]
        return start + (end - start) * share

    first, second = grains[places[:, 0]], grains[places[:, 1]]
    left = gain(0, 0) * _low_half(first) + gain(1, 0) * _low_half(second)
    right = gain(0, 1) * _high_half(first) + gain(1, 1) * _high_half(second)
    return left, right


def _low_half(words: Tensor) -> Tensor:
    return ((words << 16) >> 16).to(torch.float32)


def _high_half(words: Tensor) -> Tensor:
    return (words >> 16).to(torch.float32)


@dataclass(frozen=True, slots=True)
class Taps:
    """Filter taps, QUARTER x TAPS each, from `resample`.

    Attributes:
        low: of what lies below SPLIT_HZ.
        real, imaginary: of bright partials.
    """

    low: Sequence[Sequence[float]]
    real: Sequence[Sequence[float]]
    imaginary: Sequence[Sequence[float]]


def full_sum(
    mixed: Tensor, bright: Tensor | None, textured: tuple[Tensor, Tensor], taps: Taps
) -> tuple[Tensor, Tensor]:
    """Bring the quarter-rate sums to the full rate and add what has it: the sound before the limiter.

    Args:
        mixed: [rows, 2, LOW_FRAMES], from `quarter_mix`.
        bright: [rows, HIGH_SUMS, LOW_FRAMES], from `bright_mix`; None without bright partials.
        textured: from `texture`.
        taps: the filters.

    Returns:
        Left and right, [rows, QUARTER, QUARTER_BLOCK] each; `[row, phase, i]` is frame `4 * i + phase`.
    """
    sides = []
    for channel in range(2):
        parts = [(mixed[:, channel], taps.low)]
        if bright is not None:
            parts += [(bright[:, channel], taps.real), (bright[:, 2 + channel], taps.imaginary)]
        raised = torch.stack([_filtered(parts, phase) for phase in range(QUARTER)], dim=1)
        sides.append(raised + textured[channel])
    return sides[0], sides[1]


def finish(sound: tuple[Tensor, Tensor], dither: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Limit and round.

    Args:
        sound: from `full_sum`.
        dither: int32 [rows, 2]: the block's first frame, wrapping, and a seed.

    Returns:
        samples: int64 [rows, QUARTER // 2, QUARTER_BLOCK]: two stereo frames each, the first in the low 32 bits; of a
            frame, left is in the low 16 bits, right in the high ones. `samples[row, pair, i]` are frames
            `4 * i + 2 * pair` and the next one.
        peak, mean_square: [rows], of full scale.

        Samples that are not a number become silence; the mean square of their row is not a number.
    """
    left, right = soft_limit(sound[0]), soft_limit(sound[1])
    rows = left.shape[0]

    # Noise needs distinct numbers for the samples, in whatever order; this is their order in memory.
    order = torch.arange(QUARTER * QUARTER_BLOCK, dtype=torch.int32, device=left.device)
    counter = dither[:, 0:1, None] + order.reshape(QUARTER, QUARTER_BLOCK)
    seed = dither[:, 1:2, None]
    low = _rounded(left, triangular(counter, seed))
    high = _rounded(right, triangular(counter, seed ^ _RIGHT_CHANNEL))
    frames = (low & 0xFFFF) | (high << 16)
    samples = (frames[:, 0::2].to(torch.int64) & 0xFFFFFFFF) | (frames[:, 1::2].to(torch.int64) << 32)
    peak = torch.maximum(left.abs(), right.abs()).reshape(rows, -1).amax(dim=1)
    mean_square = (left * left + right * right).reshape(rows, -1).sum(dim=1) * (0.5 / (QUARTER * QUARTER_BLOCK))
    return samples, peak, mean_square


def _filtered(parts: Sequence[tuple[Tensor, Sequence[Sequence[float]]]], phase: int) -> Tensor:
    """One phase of the sum of filtered signals: [rows, QUARTER_BLOCK]."""
    first = GUARD_FRAMES - REACH_BEFORE
    assert GUARD_FRAMES >= REACH_AFTER  # noqa: S101 - a relation of constants, which makes the slices below fit
    products = [
        signal[:, first + tap : first + tap + QUARTER_BLOCK] * weight
        for signal, weights in parts
        for tap, weight in enumerate(weights[phase])
        # In one of the four phases all taps but one are zero: a quarter of the work.
        if abs(weight) > NO_WEIGHT
    ]
    return reduce(add, products)


def _rounded(sound: Tensor, noise: Tensor) -> Tensor:
    """`sound` in 16-bit steps; silence where it is not a number."""
    safe = torch.where(sound == sound, sound, 0.0)  # noqa: PLR0124 - false for NaN alone
    return torch.round(safe * FULL_SCALE + noise).to(torch.int32)
