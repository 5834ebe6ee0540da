"""Sums of partials: one fused pass over (partial, frame), partial after partial in a fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

from services.synthesis.dsp.control import Gain
from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVALS, LANES, PADDED_INTERVAL, QUARTER, QUARTER_INTERVAL
from services.synthesis.dsp.sine import sine

_BLOCK = slice(GUARD_INTERVALS, GUARD_INTERVALS + INTERVALS)


def low(turns: Tensor, gains: Tensor) -> Tensor:
    """Partials below SPLIT_HZ, at a quarter rate.

    Args:
        turns, gains: what `expand` returns.

    Returns:
        [rows, LOW_INTERVALS, 3, PADDED_INTERVAL]: left, right, and what goes to the reverb (whose guards nobody needs,
        but a sum of another shape would not share the sines).
    """
    frame = torch.arange(LANES, dtype=torch.float32, device=turns.device)

    # [rows, LOW_INTERVALS, partials, LANES] each
    def line(value: Gain) -> Tensor:
        return gains[:, :, value, :, None]

    turn = turns[..., 0:1] + turns[..., 1:2] * (frame + LANES)
    second, third = sine(turn), sine(turn + turns[..., 1:2] * LANES)
    # cos(x + y) + cos(x - y) = 2 cos(y) cos(x): the outer two of four take one multiplication each.
    twice_cosine = line(Gain.TWICE_COSINE)
    waves = (twice_cosine * second - third, second, third, twice_cosine * third - second)
    sums = []
    for value, slope in ((Gain.LEFT, Gain.LEFT_STEP), (Gain.RIGHT, Gain.RIGHT_STEP), (Gain.SEND, Gain.SEND_STEP)):
        gain = line(value) + line(slope) * frame
        for wave in waves:
            sums.append((wave * gain).sum(2))
            gain = gain + line(slope) * LANES
    rows, intervals = gains.shape[:2]
    return torch.stack(sums, dim=2).reshape(rows, intervals, 3, PADDED_INTERVAL)


def heard(voices: Tensor) -> Tensor:
    """Left and right of what `low` returns: [rows, 2, LOW_INTERVALS, QUARTER_INTERVAL]."""
    return voices[:, :, :2, :QUARTER_INTERVAL].transpose(1, 2)


def sent(voices: Tensor) -> Tensor:
    """What `low` returns that goes to the reverb, without guards: [rows, INTERVALS, QUARTER_INTERVAL]."""
    return voices[:, _BLOCK, 2, :QUARTER_INTERVAL]


def high(turns: Tensor, gains: Tensor) -> Tensor:
    """Partials from SPLIT_HZ up, at the full rate. They have no reverb.

    Returns:
        [rows, 2, QUARTER, INTERVALS, QUARTER_INTERVAL]: frame `4 * last + phase` of each interval.
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
    """`low` partial by partial: for eager running, where the fused form would write every partial to memory."""
    total = low(turns[:, :, :1], gains[..., :1])
    for index in range(1, turns.shape[2]):
        total += low(turns[:, :, index : index + 1], gains[..., index : index + 1])
    return total


def accumulate_high(turns: Tensor, gains: Tensor) -> Tensor:
    """`high` partial by partial, as `accumulate_low`."""
    total = high(turns[:, :, :1], gains[..., :1])
    for index in range(1, turns.shape[2]):
        total += high(turns[:, :, index : index + 1], gains[..., index : index + 1])
    return total
