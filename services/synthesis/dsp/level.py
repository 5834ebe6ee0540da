"""From the sum of all parts to 16 bits: soft limit without memory, dither, rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from services.synthesis.dsp.grid import GUARD_FRAMES, INTERVALS, LOW_FRAMES, QUARTER, QUARTER_INTERVAL
from services.synthesis.dsp.noise import AIR_TAPS, triangular
from services.synthesis.dsp.resample import REACH_AFTER, REACH_BEFORE, TAPS

KNEE: Final = 0.5
"""Below it the limiter does nothing at all."""
CEILING: Final = 0.84
"""-1.5 dBFS: samples stay below it, so that what a converter draws between them stays below -1 dBTP."""
FULL_SCALE: Final = 32_767.0


def soft_limit(sound: Tensor) -> Tensor:
    """Bend what is above KNEE smoothly towards CEILING; odd, so it makes no DC."""
    size = sound.abs()
    excess = ((size - KNEE) * (1.0 / (CEILING - KNEE))).clamp(0.0, 3.0)
    rest = 1.0 - excess * (1.0 / 3.0)
    bent = KNEE + (CEILING - KNEE) * (1.0 - rest * rest * rest)
    bent = torch.where(size > KNEE, bent, size)
    return torch.where(sound < 0.0, -bent, bent)


def quarter_mix(dry: Tensor, wet: Tensor, white: Tensor, air_taps: Tensor, air_level: Tensor) -> Tensor:
    """Everything that is summed at the quarter rate.

    Args:
        dry: [rows, 2, LOW_INTERVALS, LANE].
        wet: [rows, 2, LOW_FRAMES].
        white: [rows, 2, WHITE_FRAMES].
        air_taps: [rows, AIR_TAPS].
        air_level: [rows, 2, LOW_INTERVALS + 1]: gain of the air at control points, left and right.

    Returns:
        [rows, 2, LOW_FRAMES].
    """
    rows = dry.shape[0]
    air = white[..., :LOW_FRAMES] * air_taps[:, 0, None, None]
    for tap in range(1, AIR_TAPS):
        air = air + white[..., tap : tap + LOW_FRAMES] * air_taps[:, tap, None, None]
    frame = torch.arange(QUARTER_INTERVAL, dtype=torch.float32, device=dry.device) * (1.0 / QUARTER_INTERVAL)
    here, there = air_level[..., :-1, None], air_level[..., 1:, None]
    level = (here + (there - here) * frame).reshape(rows, 2, LOW_FRAMES)
    return dry[..., :QUARTER_INTERVAL].reshape(rows, 2, LOW_FRAMES) + wet + air * level


def finish(
    mixed: Tensor, bright: Tensor, phases: Sequence[Sequence[float]], dither: Tensor, hiss: Tensor
) -> tuple[Tensor, ...]:
    """Bring the quarter-rate sum to the full rate, add the bright partials, limit, round.

    Args:
        mixed: [rows, 2, LOW_FRAMES].
        bright: [rows, 2, QUARTER, INTERVALS, LANE].
        phases: QUARTER x TAPS filter taps.
        dither: int32 [rows, 2]: the block's first frame, wrapping, and a seed.
        hiss: float32 [rows, 2]: peak of the white noise at start and end in 16-bit steps; 1 is dither alone.

    Returns:
        int16 [rows, 2, QUARTER, QUARTER_BLOCK] (frame `4 * index + phase`), peak and mean square [rows] of full scale.
        A row whose sound is not a number is silent there, and its mean square is not a number.
    """
    rows = mixed.shape[0]
    frames = INTERVALS * QUARTER_INTERVAL
    first = GUARD_FRAMES - REACH_BEFORE
    assert GUARD_FRAMES >= REACH_AFTER  # noqa: S101 - holds for the constants, and says why the slices fit
    sums = []
    for phase in range(QUARTER):
        total = mixed[..., first : first + frames] * phases[phase][0]
        for tap in range(1, TAPS):
            total = total + mixed[..., first + tap : first + tap + frames] * phases[phase][tap]
        sums.append(total)
    low = torch.stack(sums, dim=2)
    sound = soft_limit(low + bright[..., :QUARTER_INTERVAL].reshape(rows, 2, QUARTER, frames))

    index = torch.arange(frames, dtype=torch.int32, device=mixed.device) * QUARTER
    quarter = torch.arange(QUARTER, dtype=torch.int32, device=mixed.device)[:, None]
    channel = torch.arange(2, dtype=torch.int32, device=mixed.device)[:, None, None]
    counter = (dither[:, 0, None, None, None] + index + quarter) ^ (channel * 0x55555555)
    start, end = hiss[:, 0, None, None, None], hiss[:, 1, None, None, None]
    level = start + (end - start) * ((index + quarter).to(torch.float32) * (1.0 / (QUARTER * frames)))
    noise = triangular(counter, dither[:, 1, None, None, None]) * level
    safe = torch.where(sound == sound, sound, 0.0)  # noqa: PLR0124 - false for NaN alone
    samples = torch.round(safe * FULL_SCALE + noise).to(torch.int16)
    return samples, sound.abs().amax(dim=(1, 2, 3)), (sound * sound).mean(dim=(1, 2, 3))
