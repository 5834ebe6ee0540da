"""Sums of partials: one fused pass over (partial, frame), partial after partial in a fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

from services.synthesis.dsp.control import Point
from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVALS, QUARTER, QUARTER_INTERVAL
from services.synthesis.dsp.sine import sine

_BLOCK = slice(GUARD_INTERVALS, GUARD_INTERVALS + INTERVALS)


def low(points: Tensor) -> Tensor:
    """Partials below SPLIT_HZ, at a quarter rate.

    Args:
        points: what `expand` returns.

    Returns:
        [rows, 3, LOW_INTERVALS, QUARTER_INTERVAL]: left, right, and what goes to the reverb (whose guards nobody needs,
        but a sum of another shape would not share the sines).
    """
    frame = torch.arange(QUARTER_INTERVAL, dtype=torch.float32, device=points.device)

    def line(value: Point, slope: Point) -> Tensor:
        return points[..., value, None] + points[..., slope, None] * frame

    wave = sine(line(Point.PHASE, Point.PHASE_STEP))
    left = (wave * line(Point.LEFT, Point.LEFT_STEP)).sum(2)
    right = (wave * line(Point.RIGHT, Point.RIGHT_STEP)).sum(2)
    send = (wave * line(Point.SEND, Point.SEND_STEP)).sum(2)
    return torch.stack((left, right, send), dim=1)


def sent(voices: Tensor) -> Tensor:
    """The part of what `low` returns that goes to the reverb, without guards: [rows, QUARTER_BLOCK]."""
    return voices[:, 2, _BLOCK].reshape(voices.shape[0], -1)


def high(points: Tensor) -> Tensor:
    """Partials from SPLIT_HZ up, at the full rate. They have no reverb.

    Returns:
        [rows, 2, QUARTER, INTERVALS, QUARTER_INTERVAL]: frame `4 * last + phase` of each interval.
    """
    inner = points[:, None, _BLOCK]
    phase = torch.arange(QUARTER, dtype=torch.float32, device=points.device)[:, None, None, None] * (1.0 / QUARTER)
    frame = torch.arange(QUARTER_INTERVAL, dtype=torch.float32, device=points.device) + phase

    def line(value: Point, slope: Point) -> Tensor:
        return inner[..., value, None] + inner[..., slope, None] * frame

    wave = sine(line(Point.PHASE, Point.PHASE_STEP))
    left = (wave * line(Point.LEFT, Point.LEFT_STEP)).sum(3)
    right = (wave * line(Point.RIGHT, Point.RIGHT_STEP)).sum(3)
    return torch.stack((left, right), dim=1)


def accumulate_low(points: Tensor) -> Tensor:
    """`low` partial by partial: for eager running, where the fused form would write every partial to memory."""
    total = low(points[:, :, :1])
    for index in range(1, points.shape[2]):
        total += low(points[:, :, index : index + 1])
    return total


def accumulate_high(points: Tensor) -> Tensor:
    """`high` partial by partial, as `accumulate_low`."""
    total = high(points[:, :, :1])
    for index in range(1, points.shape[2]):
        total += high(points[:, :, index : index + 1])
    return total
