"""Pure. Sums of partials: one fused pass over (partial, frame), partial after partial in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from services.synthesis.dsp.control import State
from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVALS, LANES, PADDED_INTERVAL, QUARTER_INTERVAL
from services.synthesis.dsp.sine import sine

LOW_SUMS: Final = 3
"""Left, right, reverb send."""
HIGH_SUMS: Final = 4
"""Left and right, cosines; left and right, sines."""
_QUARTER_TURN: Final = 0.25

_BLOCK = slice(GUARD_INTERVALS, GUARD_INTERVALS + INTERVALS)


def low(turns: Tensor, states: Tensor, cosines: Tensor) -> Tensor:
    """Sum the partials below SPLIT_HZ at the quarter rate.

    Args:
        turns, states, cosines: from `control.expand`.

    Returns:
        [rows, LOW_INTERVALS, LOW_SUMS, PADDED_INTERVAL]. The send's guard intervals are not needed, but with another
        shape its sum could not share the sines.
    """
    waves = _waves(turns, cosines, 0.0)
    sums = [total for name in (State.LEFT, State.RIGHT, State.SEND) for total in _sums(waves, states, name)]
    return _joined(sums, LOW_SUMS)


def high(turns: Tensor, states: Tensor, cosines: Tensor) -> Tensor:
    """Sum the partials from SPLIT_HZ up at the quarter rate, as complex numbers.

    Such a partial is not told from others 11,025 Hz apart. `level.finish` puts it where it belongs: into the band
    around HIGH_CENTRE_HZ. Nothing is sent to the reverb.

    Args:
        turns, states, cosines: from `control.expand`.

    Returns:
        [rows, LOW_INTERVALS, HIGH_SUMS, PADDED_INTERVAL].
    """
    real, imaginary = _waves(turns, cosines, 0.0), _waves(turns, cosines, _QUARTER_TURN)
    sums = [
        total
        for waves in (real, imaginary)
        for name in (State.LEFT, State.RIGHT)
        for total in _sums(waves, states, name)
    ]
    return _joined(sums, HIGH_SUMS)


def _frame(turns: Tensor) -> Tensor:
    return torch.arange(LANES, dtype=torch.float32, device=turns.device)


def _waves(turns: Tensor, cosines: Tensor, behind: float) -> Sequence[Tensor]:
    """An interval of each partial as four vectors of LANES frames, `behind` cycles late.

    Returns:
        [rows, LOW_INTERVALS, partials, LANES] each.
    """
    turn = (turns[..., 0:1] - behind) + turns[..., 1:2] * (_frame(turns) + LANES)
    second, third = sine(turn), sine(turn + turns[..., 1:2] * LANES)
    # cos(x + y) + cos(x - y) = 2 cos(y) cos(x): the first and the last of four take one multiplication each.
    twice_cosine = cosines[..., None]
    return twice_cosine * second - third, second, third, twice_cosine * third - second


def _sums(waves: Sequence[Tensor], states: Tensor, name: State) -> list[Tensor]:
    """Each of the `waves` times a gain, summed over the partials."""
    here, there = states[:, :-1, name, :, None], states[:, 1:, name, :, None]
    change = there - here
    frame = _frame(states)
    return [
        (wave * (here + change * ((frame + LANES * place) * (1.0 / QUARTER_INTERVAL)))).sum(2)
        for place, wave in enumerate(waves)
    ]


def _joined(sums: Sequence[Tensor], count: int) -> Tensor:
    rows, intervals = sums[0].shape[:2]
    return torch.stack(list(sums), dim=2).reshape(rows, intervals, count, PADDED_INTERVAL)


def whole(voices: Tensor, first: int = 0, count: int = 2) -> Tensor:
    """Some of the sums of `low` or `high`: [rows, count, LOW_INTERVALS, QUARTER_INTERVAL]."""
    return voices[:, :, first : first + count, :QUARTER_INTERVAL].transpose(1, 2)


def send_part(voices: Tensor) -> Tensor:
    """The reverb send of `low`'s result, without guards: [rows, INTERVALS, QUARTER_INTERVAL]."""
    return voices[:, _BLOCK, 2, :QUARTER_INTERVAL]


def accumulated(kernel: Callable[..., Tensor], turns: Tensor, states: Tensor, cosines: Tensor) -> Tensor:
    """`low` or `high`, one partial at a time: for eager mode, where the fused form would write each to memory."""
    total: Tensor | None = None
    for index in range(turns.shape[2]):
        one = slice(index, index + 1)
        part = kernel(turns[:, :, one], states[..., one], cosines[..., one])
        total = part if total is None else total + part
    assert total is not None  # noqa: S101 - a row has a partial at least
    return total
