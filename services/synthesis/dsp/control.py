"""Pure. From a partial's parameters to its control points: phases and gains, in closed form.

Everything is additions, multiplications and clamps of exact whole frame counts. A control point therefore has the same
bits in both blocks that compute it, and in a batch of any size.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import torch
from torch import Tensor

from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVAL_FRAMES, LANES, POINTS, QUARTER_INTERVAL
from services.synthesis.dsp.sine import sine


class Column(IntEnum):
    """Columns of the float32 parameters of a partial.

    Times are in frames, rates are per frame, phases are in cycles, gains are linear.
    """

    ONSET = 0
    """From the block's start; negative if the note began before the block."""
    ATTACK_RATE = 1
    """1 / attack time."""
    DECAY_RATE = 2
    """1 / decay time; 0 does not decay."""
    SUSTAIN = 3
    """Level that the decay ends at, 0 to 1."""
    HOLD = 4
    """From the onset to the release."""
    RELEASE_RATE = 5
    """1 / release time."""
    GAIN_LEFT = 6
    GAIN_RIGHT = 7
    GAIN_SEND = 8
    SWELL_DEPTH = 9
    """Of the tremolo, 0 to 1."""
    SWELL_RATE = 10
    SWELL_PHASE_LEFT = 11
    SWELL_PHASE_RIGHT = 12
    VIBRATO_DEPTH = 13
    """In cycles of phase."""
    VIBRATO_RATE = 14
    VIBRATO_PHASE = 15


COLUMNS: Final = len(Column)

_CYCLES_PER_WORD: Final = 2.0**-32
"""Phases are 32-bit words: a full turn is 2**32."""


class Gain(IntEnum):
    """Which values a control point has: gains, and their slopes per quarter-rate frame until the next point."""

    LEFT = 0
    LEFT_STEP = 1
    RIGHT = 2
    RIGHT_STEP = 3
    SEND = 4
    SEND_STEP = 5
    TWICE_COSINE = 6
    """Not a gain: 2 cos of the phase that passes in LANES quarter-rate frames, which `voices.low` reads."""


def expand(parameters: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
    """Control points of every partial of a block.

    A partial whose parameters are all zero (padding) is silent.

    Args:
        parameters: float32 [rows, COLUMNS, partials], see `Column`.
        phases: int32 [rows, 2, partials]: phase at the block's start and increment per frame, in 2**-32 cycles,
            wrapping.

    Returns:
        turns: float32 [rows, POINTS, partials, 2]: phase in cycles, and cycles per quarter-rate frame until the next
            point.
        gains: float32 [rows, POINTS, len(Gain), partials], see `Gain`.

        Point i is at frame (i - GUARD_INTERVALS) * INTERVAL_FRAMES of the block. Gains have an axis of their own so
        that they are written in whole vectors. Phase and step lie side by side so that the compiler sums partial after
        partial; otherwise it sums across partials, with a horizontal sum for each frame.
    """
    point = (torch.arange(POINTS, dtype=torch.int32, device=parameters.device) - GUARD_INTERVALS)[:, None]
    start, increment = phases[:, 0:1, :], phases[:, 1:2, :]
    # Phases wrap at 32 bits, which drops whole cycles and nothing else.
    cycles = (start + (increment * INTERVAL_FRAMES) * point).to(torch.float32) * _CYCLES_PER_WORD
    cycles_per_frame = increment.to(torch.float32) * _CYCLES_PER_WORD

    frames = (point * INTERVAL_FRAMES).to(torch.float32)
    vibrato, left, right, send = _state(parameters, frames)
    next_vibrato, next_left, next_right, next_send = _state(parameters, frames + INTERVAL_FRAMES)
    step = 1.0 / QUARTER_INTERVAL
    phase_step = cycles_per_frame * (INTERVAL_FRAMES / QUARTER_INTERVAL) + (next_vibrato - vibrato) * step
    turns = torch.stack((cycles + vibrato, phase_step), dim=-1)
    gains = torch.stack(
        (
            left,
            (next_left - left) * step,
            right,
            (next_right - right) * step,
            send,
            (next_send - send) * step,
            # Not by way of `phase_step`: a second use of it would write it to memory and read it again.
            2.0
            * sine(
                cycles_per_frame * (LANES * INTERVAL_FRAMES / QUARTER_INTERVAL)
                + (next_vibrato - vibrato) * (LANES * step)
            ),
        ),
        dim=2,
    )
    return turns, gains


def _state(parameters: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vibrato in cycles and the gains left, right and send at `frames`: [rows, POINTS, partials] each."""

    def column(number: Column) -> Tensor:
        return parameters[:, number : number + 1, :]

    age = frames - column(Column.ONSET)
    rise = (age * column(Column.ATTACK_RATE)).clamp(0.0, 1.0)
    attack = rise * rise * (3.0 - 2.0 * rise)
    left = 1.0 - (age * column(Column.DECAY_RATE)).clamp(0.0, 1.0)
    left = left * left
    sustain = column(Column.SUSTAIN)
    # (1 - t)^4 falls like an exponential and yet reaches silence, so that a note has a last frame.
    decay = sustain + (1.0 - sustain) * (left * left)
    fall = 1.0 - ((age - column(Column.HOLD)) * column(Column.RELEASE_RATE)).clamp(0.0, 1.0)
    envelope = attack * decay * (fall * fall * fall)

    depth = column(Column.SWELL_DEPTH)
    swell = age * column(Column.SWELL_RATE)
    swell_left = 1.0 + depth * sine(swell + column(Column.SWELL_PHASE_LEFT))
    swell_right = 1.0 + depth * sine(swell + column(Column.SWELL_PHASE_RIGHT))
    vibrato = column(Column.VIBRATO_DEPTH) * sine(age * column(Column.VIBRATO_RATE) + column(Column.VIBRATO_PHASE))
    return (
        vibrato,
        envelope * swell_left * column(Column.GAIN_LEFT),
        envelope * swell_right * column(Column.GAIN_RIGHT),
        envelope * column(Column.GAIN_SEND),
    )
