"""Pure. The six kernels as graphs: what is computed together, and which axes vary in length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, override

import torch
from torch import Tensor

from services.synthesis.dsp import control, level, noise, resample, reverb, voices
from services.synthesis.dsp.control import COLUMNS, Gain
from services.synthesis.dsp.grid import (
    INTERVALS,
    LOW_FRAMES,
    LOW_INTERVALS,
    PADDED_INTERVAL,
    POINTS,
    QUARTER,
    QUARTER_INTERVAL,
)
from services.synthesis.dsp.noise import AIR_TAPS, WHITE_FRAMES
from services.synthesis.dsp.reverb import PADDED_BINS, PARTS, WET_OFFSET, WINDOW_FRAMES


class Expand(torch.nn.Module):
    """See `control.expand`."""

    @override
    def forward(self, parameters: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
        return control.expand(parameters, phases)


class Low(torch.nn.Module):
    """See `voices.low`."""

    @override
    def forward(self, turns: Tensor, gains: Tensor) -> Tensor:
        return voices.low(turns, gains)


class High(torch.nn.Module):
    """See `voices.high`."""

    @override
    def forward(self, turns: Tensor, gains: Tensor) -> Tensor:
        return voices.high(turns, gains)


class Wet(torch.nn.Module):
    """The reverb's spectrum, and the air's white noise, which has nothing to do with it but saves a package."""

    @override
    def forward(
        self, kept: Tensor, slots: Tensor, responses: Tensor, rooms: Tensor, first_frame: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        real, imaginary = reverb.mix_spectra(kept, slots, responses, rooms)
        return real, imaginary, noise.white(first_frame, seeds)


class Finish(torch.nn.Module):
    """Sum, filter, limit, round.

    It returns the quarter-rate sum too: as an output it is computed once, and not again for each filter tap.
    """

    def __init__(self) -> None:
        super().__init__()
        self._phases = [[float(tap) for tap in row] for row in resample.phases()]

    @override
    def forward(
        self,
        low_voices: Tensor,
        reverb_window: Tensor,
        white: Tensor,
        air_taps: Tensor,
        air_level: Tensor,
        dither: Tensor,
        hiss: Tensor,
        bright: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wet = reverb_window[..., WET_OFFSET : WET_OFFSET + LOW_FRAMES]
        mixed = level.quarter_mix(low_voices, wet, white, air_taps, air_level)
        samples, peak, mean_square = level.finish(mixed, bright, self._phases, dither, hiss)
        return samples, peak, mean_square, mixed


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
    return torch.rand(4, POINTS, 12, 2), torch.rand(4, POINTS, len(Gain), 12)


def _parts() -> tuple[Tensor, ...]:
    return (
        torch.rand(4, LOW_INTERVALS, 3, PADDED_INTERVAL),
        torch.rand(4, 2, WINDOW_FRAMES),
        torch.rand(4, 2, WHITE_FRAMES),
        torch.rand(4, AIR_TAPS),
        torch.rand(4, 2, 2),
        torch.zeros((4, 2), dtype=torch.int32),
        torch.rand(4, 1),
    )


PLANS: Final = (
    KernelPlan(
        "expand",
        Expand,
        lambda: (torch.rand(4, COLUMNS, 12), torch.zeros((4, 2, 12), dtype=torch.int32)),
        ({0: "rows", 2: "partials"},) * 2,
    ),
    KernelPlan("low", Low, _points, ({0: "rows", 2: "partials"}, {0: "rows", 3: "partials"})),
    KernelPlan("high", High, _points, ({0: "rows", 2: "partials"}, {0: "rows", 3: "partials"})),
    KernelPlan(
        "wet",
        Wet,
        lambda: (
            torch.rand(12, 2, PADDED_BINS),
            torch.zeros((4, PARTS), dtype=torch.int64),
            torch.rand(8, PARTS, 2, 2, PADDED_BINS),
            torch.zeros(4, dtype=torch.int64),
            torch.zeros((4, 1), dtype=torch.int32),
            torch.zeros((4, 2), dtype=torch.int32),
        ),
        ({0: "slots"}, {0: "rows"}, {0: "rooms"}, {0: "rows"}, {0: "rows"}, {0: "rows"}),
    ),
    KernelPlan("finish", Finish, _parts, ({0: "rows"},) * 7),
    KernelPlan(
        "finish_bright",
        Finish,
        lambda: (*_parts(), torch.rand(4, 2, QUARTER, INTERVALS, QUARTER_INTERVAL)),
        ({0: "rows"},) * 8,
    ),
)
LIMITS: Final = {
    "rows": (2, 1024),
    "partials": (1, 8192),
    "slots": (2, 2**20),
    "rooms": (2, 64),
}
"""Smallest and largest length of each axis that varies, as told to the exporter."""
