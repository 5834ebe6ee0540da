"""Pure. The six kernels as graphs: what is computed together, and which axes vary in length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, override

import torch
from torch import Tensor

from services.synthesis.dsp import control, level, resample, reverb, voices
from services.synthesis.dsp.control import COLUMNS, PATH_POINTS, WORDS, Points, State
from services.synthesis.dsp.grid import (
    LOW_FRAMES,
    LOW_INTERVALS,
    PADDED_INTERVAL,
    POINTS,
    QUARTER,
    TEXTURE_FRAMES,
)
from services.synthesis.dsp.reverb import PADDED_BINS, PARTS, WET_OFFSET, WINDOW_FRAMES
from services.synthesis.dsp.voices import HIGH_SUMS, LOW_SUMS


class Expand(torch.nn.Module):
    """See `control.expand`."""

    @override
    def forward(self, parameters: Tensor, words: Tensor, paths: Tensor, measured: Tensor) -> Points:
        return control.expand(parameters, words, paths, measured)


class Low(torch.nn.Module):
    """See `voices.low`."""

    @override
    def forward(self, turns: Tensor, states: Tensor, cosines: Tensor) -> Tensor:
        return voices.low(turns, states, cosines)


class High(torch.nn.Module):
    """See `voices.high`."""

    @override
    def forward(self, turns: Tensor, states: Tensor, cosines: Tensor) -> Tensor:
        return voices.high(turns, states, cosines)


class Wet(torch.nn.Module):
    """See `reverb.mix_spectra`."""

    @override
    def forward(self, kept: Tensor, slots: Tensor, responses: Tensor, rooms: Tensor) -> Tensor:
        return reverb.mix_spectra(kept, slots, responses, rooms)


class Finish(torch.nn.Module):
    """Sum, filter, limit, round.

    It returns the quarter-rate sums too: as outputs they are computed once, and not again for each filter tap.
    """

    def __init__(self) -> None:
        super().__init__()
        self._taps = level.Taps(*(taps.tolist() for taps in (resample.phases(), *resample.high_phases())))

    def before_level(  # noqa: PLR0917 - as `forward`, whose order the kernels have
        self,
        low_voices: Tensor,
        reverb_window: Tensor,
        textures: Tensor,
        places: Tensor,
        levels: Tensor,
        bright: Tensor | None,
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
        """What is limited and rounded (see `level.full_sum`), and the quarter-rate sums."""
        wet = reverb_window[..., WET_OFFSET : WET_OFFSET + LOW_FRAMES]
        mixed = level.quarter_mix(low_voices, wet)
        raised = None if bright is None else level.bright_mix(bright)
        sound = level.full_sum(mixed, raised, level.texture(textures, places, levels), self._taps)
        return sound, (mixed,) if raised is None else (mixed, raised)

    @override
    def forward(
        self,
        low_voices: Tensor,
        reverb_window: Tensor,
        textures: Tensor,
        places: Tensor,
        levels: Tensor,
        dither: Tensor,
        bright: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        sound, sums = self.before_level(low_voices, reverb_window, textures, places, levels, bright)
        samples, peak, mean_square = level.finish(sound, dither)
        return samples, peak, mean_square, *sums


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """How a kernel is exported.

    Attributes:
        name: see `kernel.KERNEL_NAMES`.
        module: makes what is exported.
        example: makes inputs of the right types and shapes.
        axes: for each input, its axes that vary, and the name of each one's length; see `LIMITS`.
    """

    name: str
    module: Callable[[], torch.nn.Module]
    example: Callable[[], tuple[Tensor, ...]]
    axes: tuple[dict[int, str], ...]


def _points() -> tuple[Tensor, ...]:
    return torch.rand(4, POINTS, 12, 2), torch.rand(4, POINTS + 1, len(State), 12), torch.rand(4, POINTS, 12)


_POINT_AXES: Final = ({0: "rows", 2: "partials"}, {0: "rows", 3: "partials"}, {0: "rows", 2: "partials"})


def _parts() -> tuple[Tensor, ...]:
    return (
        torch.rand(4, LOW_INTERVALS, LOW_SUMS, PADDED_INTERVAL),
        torch.rand(4, 2, WINDOW_FRAMES),
        torch.zeros(4 * QUARTER * TEXTURE_FRAMES, dtype=torch.int32),
        torch.zeros((4, 2), dtype=torch.int32),
        torch.rand(4, 2, 2, 2),
        torch.zeros((4, 2), dtype=torch.int32),
    )


_PART_AXES: Final = ({0: "rows"}, {0: "rows"}, {0: "texture_numbers"}, {0: "rows"}, {0: "rows"}, {0: "rows"})

PLANS: Final = (
    KernelPlan(
        "expand",
        Expand,
        lambda: (
            torch.rand(4, COLUMNS, 12),
            torch.zeros((4, WORDS, 12), dtype=torch.int32),
            torch.zeros(2 * PATH_POINTS, dtype=torch.int32),
            torch.zeros(64, dtype=torch.int32),
        ),
        ({0: "rows", 2: "partials"}, {0: "rows", 2: "partials"}, {0: "steps"}, {0: "numbers"}),
    ),
    KernelPlan("low", Low, _points, _POINT_AXES),
    KernelPlan("high", High, _points, _POINT_AXES),
    KernelPlan(
        "wet",
        Wet,
        lambda: (
            torch.zeros((12, PADDED_BINS), dtype=torch.int64),
            torch.zeros((4, PARTS), dtype=torch.int64),
            torch.rand(8, PARTS, 2, 2, PADDED_BINS),
            torch.zeros(4, dtype=torch.int64),
        ),
        ({0: "slots"}, {0: "rows"}, {0: "rooms"}, {0: "rows"}),
    ),
    KernelPlan("finish", Finish, _parts, _PART_AXES),
    KernelPlan(
        "finish_bright",
        Finish,
        lambda: (*_parts(), torch.rand(4, LOW_INTERVALS, HIGH_SUMS, PADDED_INTERVAL)),
        (*_PART_AXES, {0: "rows"}),
    ),
)
LIMITS: Final = {
    "rows": (2, 1024),
    "partials": (1, 8192),
    "slots": (2, 2**20),
    "rooms": (2, 64),
    "steps": (2, 2**24),
    "numbers": (2, 2**24),
    "texture_numbers": (2**20, 2**28),
}
"""Smallest and largest length of each axis that varies, as told to the exporter."""
