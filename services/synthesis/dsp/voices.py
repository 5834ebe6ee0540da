"""Pure. Sums of partials: one fused pass over (partial, frame), partial after partial in a fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

from services.synthesis.dsp.control import Gain
from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVALS, LANES, PADDED_INTERVAL, QUARTER, QUARTER_INTERVAL
from services.synthesis.dsp.sine import sine

_BLOCK = slice(GUARD_INTERVALS, GUARD_INTERVALS + INTERVALS)


def low(turns: Tensor, gains: Tensor) -> Tensor:
    """Sum the partials below SPLIT_HZ at the quarter rate.

    Args:
        turns, gains: from `control.expand`.

    Returns:
        [rows, LOW_INTERVALS, 3, PADDED_INTERVAL]: left, right, reverb send. The send's guard intervals are not needed,
        but with another shape its sum could not share the sines.
    """
    frame = torch.arange(LANES, dtype=torch.float32, device=turns.device)

    # [rows, LOW_INTERVALS, partials, 1]; with `frame` it broadcasts to LANES.
    def value_of(value: Gain) -> Tensor:
        return gains[:, :, value, :, None]

    turn = turns[..., 0:1] + turns[..., 1:2] * (frame + LANES)
    second, third = sine(turn), sine(turn + turns[..., 1:2] * LANES)
    # cos(x + y) + cos(x - y) = 2 cos(y) cos(x): the first and the last of four take one multiplication each.
    twice_cosine = value_of(Gain.TWICE_COSINE)
    waves = (twice_cosine * second - third, second, third, twice_cosine * third - second)
    sums = []
    for value, slope in ((Gain.LEFT, Gain.LEFT_STEP), (Gain.RIGHT, Gain.RIGHT_STEP), (Gain.SEND, Gain.SEND_STEP)):
        gain = value_of(value) + value_of(slope) * frame
        for wave in waves:
            sums.append((wave * gain).sum(2))
            gain = gain + value_of(slope) * LANES
    rows, intervals = gains.shape[:2]
    return torch.stack(sums, dim=2).reshape(rows, intervals, 3, PADDED_INTERVAL)


def dry_part(voices: Tensor) -> Tensor:
    """Left and right of `low`'s result: [rows, 2, LOW_INTERVALS, QUARTER_INTERVAL]."""
    return voices[:, :, :2, :QUARTER_INTERVAL].transpose(1, 2)


def send_part(voices: Tensor) -> Tensor:
    """The reverb send of `low`'s result, without guards: [rows, INTERVALS, QUARTER_INTERVAL]."""
    return voices[:, _BLOCK, 2, :QUARTER_INTERVAL]


def high(turns: Tensor, gains: Tensor) -> Tensor:
    """Sum the partials from SPLIT_HZ up at the full rate. They send nothing to the reverb.

    Returns:
        [rows, 2, QUARTER, INTERVALS, QUARTER_INTERVAL]; `[row, channel, phase, interval, i]` is frame `4 * i + phase`
        of the interval.
    """
    phase = torch.arange(QUARTER, dtype=torch.float32, device=turns.device)[:, None, None, None] * (1.0 / QUARTER)
    frame = torch.arange(QUARTER_INTERVAL, dtype=torch.float32, device=turns.device) + phase
    turns, gains = turns[:, None, _BLOCK], gains[:, None, _BLOCK]

    # [rows, QUARTER, INTERVALS, partials, QUARTER_INTERVAL] each
    def gain(value: Gain, slope: Gain) -> Tensor:
        return gains[..., value, :, None] + gains[..., slope, :, None] * frame

    wave = sine(turns[..., 0:1] + turns[..., 1:2] * frame)
    left = (wave * gain(Gain.LEFT, Gain.LEFT_STEP)).sum(3)
    right = (wave * gain(Gain.RIGHT, Gain.RIGHT_STEP)).sum(3)
    return torch.stack((left, right), dim=1)


def accumulate_low(turns: Tensor, gains: Tensor) -> Tensor:
    """`low`, one partial at a time: for eager mode, where the fused form would write every partial to memory."""
    total = low(turns[:, :, :1], gains[..., :1])
    for index in range(1, turns.shape[2]):
        total += low(turns[:, :, index : index + 1], gains[..., index : index + 1])
    return total


def accumulate_high(turns: Tensor, gains: Tensor) -> Tensor:
    """`high`, one partial at a time, as `accumulate_low`."""
    total = high(turns[:, :, :1], gains[..., :1])
    for index in range(1, turns.shape[2]):
        total += high(turns[:, :, index : index + 1], gains[..., index : index + 1])
    return total
