"""Sums of partials: one fused pass over (partial, frame), partial after partial in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVALS, LANE, LOW_INTERVALS, QUARTER, QUARTER_INTERVAL
from services.synthesis.dsp.sine import sine

_SEND = slice(GUARD_INTERVALS, GUARD_INTERVALS + INTERVALS)


def low(control: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Partials below SPLIT_HZ, at a quarter rate.

    Args:
        control: what `expand` returns.

    Returns:
        Dry sound [rows, 2, LOW_INTERVALS, LANE], of each lane 63 frames count, and what goes to the reverb
        [rows, QUARTER_BLOCK], without the guards.
    """
    phase, step, left, left_step, right, right_step, send, send_step = (c[..., :LOW_INTERVALS, None] for c in control)
    frame = torch.arange(LANE, dtype=torch.float32, device=phase.device)
    wave = sine(phase + step * frame)
    dry = torch.stack(((wave * (left + left_step * frame)).sum(1), (wave * (right + right_step * frame)).sum(1)), dim=1)
    sent = (wave * (send + send_step * frame)).sum(1)
    return dry, sent[:, _SEND, :QUARTER_INTERVAL].reshape(sent.shape[0], -1)


def high(control: Sequence[Tensor]) -> Tensor:
    """Partials from SPLIT_HZ up, at the full rate. They have no reverb.

    Returns:
        [rows, 2, QUARTER, INTERVALS, LANE]: frame `4 * lane + phase` of each interval.
    """
    phase, step, left, left_step, right, right_step = (c[:, :, None, _SEND, None] for c in control[:6])
    lane = torch.arange(LANE, dtype=torch.float32, device=phase.device)
    quarter = torch.arange(QUARTER, dtype=torch.float32, device=phase.device)[:, None, None] * (1.0 / QUARTER)
    frame = lane + quarter
    wave = sine(phase + step * frame)
    return torch.stack(
        ((wave * (left + left_step * frame)).sum(1), (wave * (right + right_step * frame)).sum(1)), dim=1
    )


def accumulate_low(control: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """`low` partial by partial: for eager running, where the fused form would write every partial to memory."""
    dry, sent = low([c[:, :1] for c in control])
    for index in range(1, control[0].shape[1]):
        more_dry, more_sent = low([c[:, index : index + 1] for c in control])
        dry += more_dry
        sent += more_sent
    return dry, sent


def accumulate_high(control: Sequence[Tensor]) -> Tensor:
    """`high` partial by partial, as `accumulate_low`."""
    total = high([c[:, :1] for c in control[:6]])
    for index in range(1, control[0].shape[1]):
        total += high([c[:, index : index + 1] for c in control[:6]])
    return total
