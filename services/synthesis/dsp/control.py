"""From notes to control points: phases, increments and gains of every partial, in closed form.

All of it is additions, multiplications and clamps of exact whole frame counts, so the same control point has the same
bits whichever block it is computed for, and however many streams are computed with it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import torch
from torch import Tensor

from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVAL_FRAMES, LANES, POINTS, QUARTER_INTERVAL
from services.synthesis.dsp.sine import sine


class Col(IntEnum):
    """Columns of the float32 parameters of a partial. Times are in frames, rates per frame."""

    ONSET = 0
    """From the block's start; negative when it began before."""
    ATTACK_RATE = 1
    DECAY_RATE = 2
    SUSTAIN = 3
    HOLD = 4
    """Frames from the onset to the release."""
    RELEASE_RATE = 5
    GAIN_LEFT = 6
    GAIN_RIGHT = 7
    GAIN_SEND = 8
    SWELL_DEPTH = 9
    SWELL_RATE = 10
    SWELL_PHASE_LEFT = 11
    SWELL_PHASE_RIGHT = 12
    VIBRATO_DEPTH = 13
    """In cycles of phase."""
    VIBRATO_RATE = 14
    VIBRATO_PHASE = 15


COLUMNS: Final = len(Col)

_CYCLES_PER_UNIT: Final = 2.0**-32


class Gain(IntEnum):
    """Which gain of a partial a control point has, and its slope per quarter-rate frame until the next point."""

    LEFT = 0
    LEFT_STEP = 1
    RIGHT = 2
    RIGHT_STEP = 3
    SEND = 4
    SEND_STEP = 5
    TWICE_COSINE = 6
    """No gain, but with them: of the phase that passes in LANES quarter-rate frames."""


def expand(parameters: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
    """Control points of every partial of a block.

    A partial that is all zeros (padding) is silent.

    Args:
        parameters: float32 [rows, COLUMNS, partials].
        phases: int32 [rows, 2, partials]: phase at the block's start and increment per frame, in 2**-32 cycles,
            wrapping.

    Returns:
        Turns, float32 [rows, POINTS, partials, 2]: phase in cycles, and cycles per quarter-rate frame until the next
        point; gains, float32 [rows, POINTS, len(Gain), partials]. Point i is at frame (i - GUARD_INTERVALS) * 252.
        (Gains are apart so that they are written whole vectors at a time. Phase and step side by side keep the compiler
        from summing across partials, a horizontal sum for each frame, in place of partial after partial.)
    """
    point = (torch.arange(POINTS, dtype=torch.int32, device=parameters.device) - GUARD_INTERVALS)[:, None]
    start, increment = phases[:, 0:1, :], phases[:, 1:2, :]
    # 32-bit wrapping is the arithmetic of phases: a whole number of cycles falls off at the top.
    cycles = (start + (increment * INTERVAL_FRAMES) * point).to(torch.float32) * _CYCLES_PER_UNIT
    cycles_per_frame = increment.to(torch.float32) * _CYCLES_PER_UNIT

    frames = (point * INTERVAL_FRAMES).to(torch.float32)
    here = _state(parameters, frames)
    there = _state(parameters, frames + INTERVAL_FRAMES)
    step = 1.0 / QUARTER_INTERVAL
    phase_step = cycles_per_frame * (INTERVAL_FRAMES / QUARTER_INTERVAL) + (there[0] - here[0]) * step
    turns = torch.stack((cycles + here[0], phase_step), dim=-1)
    gains = torch.stack(
        (
            here[1],
            (there[1] - here[1]) * step,
            here[2],
            (there[2] - here[2]) * step,
            here[3],
            (there[3] - here[3]) * step,
            # Written out: a second use of `phase_step` would bring it to memory and back.
            2.0
            * sine(
                cycles_per_frame * (LANES * INTERVAL_FRAMES / QUARTER_INTERVAL) + (there[0] - here[0]) * (LANES * step)
            ),
        ),
        dim=2,
    )
    return turns, gains


def _state(parameters: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vibrato in cycles and the gains (left, right, send) at `frames`: [rows, POINTS, partials] each."""

    def column(col: Col) -> Tensor:
        return parameters[:, col : col + 1, :]

    age = frames - column(Col.ONSET)
    rise = (age * column(Col.ATTACK_RATE)).clamp(0.0, 1.0)
    attack = rise * rise * (3.0 - 2.0 * rise)
    left = 1.0 - (age * column(Col.DECAY_RATE)).clamp(0.0, 1.0)
    left = left * left
    sustain = column(Col.SUSTAIN)
    # (1 - t)^4 falls like an exponential and ends in true silence, so a note has a last frame.
    decay = sustain + (1.0 - sustain) * (left * left)
    fall = 1.0 - ((age - column(Col.HOLD)) * column(Col.RELEASE_RATE)).clamp(0.0, 1.0)
    envelope = attack * decay * (fall * fall * fall)

    depth = column(Col.SWELL_DEPTH)
    swell = age * column(Col.SWELL_RATE)
    swell_left = 1.0 + depth * sine(swell + column(Col.SWELL_PHASE_LEFT))
    swell_right = 1.0 + depth * sine(swell + column(Col.SWELL_PHASE_RIGHT))
    vibrato = column(Col.VIBRATO_DEPTH) * sine(age * column(Col.VIBRATO_RATE) + column(Col.VIBRATO_PHASE))
    return (
        vibrato,
        envelope * swell_left * column(Col.GAIN_LEFT),
        envelope * swell_right * column(Col.GAIN_RIGHT),
        envelope * column(Col.GAIN_SEND),
    )
