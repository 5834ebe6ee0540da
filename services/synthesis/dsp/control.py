"""Pure. From a partial's parameters to its control points: phases and gains, in closed form.

Everything is additions, multiplications and clamps of exact whole frame counts. A control point therefore has the same
bits in both blocks that compute it, and in a batch of any size.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import torch
from torch import Tensor

from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVAL_FRAMES, LANES, POINTS, QUARTER, QUARTER_INTERVAL
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
    FADE_RATE = 16
    """A 64th of the rate of an exponential decay from the onset on; 0 does not decay."""


class Word(IntEnum):
    """Columns of the int32 parameters of a partial."""

    PHASE = 0
    """At the block's start, in 2**-32 cycles, wrapping."""
    INCREMENT = 1
    """Per frame, in 2**-32 cycles, wrapping."""
    AGE = 2
    """Control points from the onset to the block's start; negative if the note begins later."""
    PATH = 3
    """Where its path begins in the paths."""
    ENTRY = 4
    """Its first number in the measured tables; 0, an amplitude of 1, for tones in closed form."""
    STRIDE = 5
    """Numbers from one point of its table to the next."""


COLUMNS: Final = len(Column)
WORDS: Final = len(Word)
PATH_POINTS: Final = 16_000
"""Control points that a partial is read along its path: 91 s. It stays at the last one after that."""
TURN: Final = 1.0 / 256.0
"""Cycles of a step of a measured phase."""

_CYCLES_PER_WORD: Final = 2.0**-32
"""Phases are 32-bit words: a full turn is 2**32."""


class State(IntEnum):
    """Which values a control point has."""

    LEFT = 0
    RIGHT = 1
    SEND = 2
    """Gains, linear until the next point."""
    PHASE = 3
    """Besides the steady one, in cycles."""


Points = tuple[Tensor, Tensor, Tensor]
"""Turns, states and cosines, see `expand`."""


def expand(parameters: Tensor, words: Tensor, paths: Tensor, measured: Tensor) -> Points:
    """Control points of every partial of a block.

    A partial whose parameters are all zero (padding) is silent.

    Args:
        parameters: float32 [rows, COLUMNS, partials], see `Column`.
        words: int32 [rows, WORDS, partials], see `Word`.
        paths: int32 [steps]: which point of its table a partial reads at each age.
        measured: int32 [numbers]: amplitudes and phases of all tables, see `amplitude_of` and `turn_of`. The first
            number has amplitude 1 and phase 0.

    Returns:
        turns: float32 [rows, POINTS, partials, 2]: phase in cycles, and cycles per quarter-rate frame until the next
            point, without whole ones.
        states: float32 [rows, POINTS + 1, len(State), partials], see `State`: what a point has until the next.
        cosines: float32 [rows, POINTS, partials]: 2 cos of the phase that passes in LANES quarter-rate frames.

        Point i is at frame (i - GUARD_INTERVALS) * INTERVAL_FRAMES of the block. Phase and step lie side by side so
        that the compiler sums partial after partial; otherwise it sums across partials, with a horizontal sum for each
        frame.
    """
    # One point more than there are intervals: each goes on until the next.
    point = (torch.arange(POINTS + 1, dtype=torch.int32, device=parameters.device) - GUARD_INTERVALS)[:, None]
    number = _measured(words, point, paths, measured)
    # A result, so that each state is computed once and read twice.
    states = torch.stack(_state(parameters, (point * INTERVAL_FRAMES).to(torch.float32), number), dim=2)
    here = states[:, :-1, State.PHASE]
    change = (states[:, 1:, State.PHASE] - here) * (1.0 / QUARTER_INTERVAL)

    start, increment = words[:, Word.PHASE : Word.PHASE + 1], words[:, Word.INCREMENT : Word.INCREMENT + 1]
    # Phases wrap at 32 bits, which drops whole cycles and nothing else.
    cycles = (start + (increment * INTERVAL_FRAMES) * point[:-1]).to(torch.float32) * _CYCLES_PER_WORD
    steady = (increment * QUARTER).to(torch.float32) * _CYCLES_PER_WORD
    turns = torch.stack((cycles + here, steady + change), dim=-1)
    # Not by way of the second turn: a second use of it would write it to memory and read it again.
    cosines = 2.0 * sine(steady * LANES + change * LANES)
    return turns, states, cosines


def amplitude_of(number: Tensor) -> Tensor:
    """Linear amplitude in a number of the tables: its upper half is the upper half of a float32."""
    return (number & -65_536).view(torch.float32)


def turn_of(number: Tensor) -> Tensor:
    """Phase in a number of the tables, in cycles: its lower half, signed, in 256ths."""
    return ((number << 16) >> 16).to(torch.float32) * TURN


def _measured(words: Tensor, point: Tensor, paths: Tensor, measured: Tensor) -> Tensor:
    """The number of the tables that each partial reads at `point`: int32 [rows, points, partials]."""

    def column(name: Word) -> Tensor:
        return words[:, name : name + 1, :]

    age = (point + column(Word.AGE)).clamp(0, PATH_POINTS - 1)
    # The bounds tell the compiler that it need not look for places counted from the end.
    place = paths[(column(Word.PATH) + age).clamp_min(0)]
    return measured[(column(Word.ENTRY) + place * column(Word.STRIDE)).clamp_min(0)]


def _state(parameters: Tensor, frames: Tensor, number: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The values of `State` in their order: [rows, points, partials] each.

    Args:
        parameters: see `expand`.
        frames: from the block's start.
        number: what the tables hold there.
    """

    def column(name: Column) -> Tensor:
        return parameters[:, name : name + 1, :]

    age = frames - column(Column.ONSET)
    rise = (age * column(Column.ATTACK_RATE)).clamp(0.0, 1.0)
    attack = rise * rise * (3.0 - 2.0 * rise)
    left = 1.0 - (age * column(Column.DECAY_RATE)).clamp(0.0, 1.0)
    left = left * left
    sustain = column(Column.SUSTAIN)
    # (1 - t)^4 falls like an exponential and yet reaches silence, so that a note has a last frame.
    decay = sustain + (1.0 - sustain) * (left * left)
    fall = 1.0 - ((age - column(Column.HOLD)) * column(Column.RELEASE_RATE)).clamp(0.0, 1.0)
    # (1 - x / 64)^64 is an exponential that reaches silence, without a library call whose last bit depends on the lane.
    fade = 1.0 - (age * column(Column.FADE_RATE)).clamp(0.0, 1.0)
    for _ in range(6):
        fade = fade * fade
    envelope = attack * decay * (fall * fall * fall) * (fade * amplitude_of(number))

    depth = column(Column.SWELL_DEPTH)
    swell = age * column(Column.SWELL_RATE)
    swell_left = 1.0 + depth * sine(swell + column(Column.SWELL_PHASE_LEFT))
    swell_right = 1.0 + depth * sine(swell + column(Column.SWELL_PHASE_RIGHT))
    vibrato = column(Column.VIBRATO_DEPTH) * sine(age * column(Column.VIBRATO_RATE) + column(Column.VIBRATO_PHASE))
    return (
        envelope * swell_left * column(Column.GAIN_LEFT),
        envelope * swell_right * column(Column.GAIN_RIGHT),
        envelope * column(Column.GAIN_SEND),
        vibrato + turn_of(number),
    )
