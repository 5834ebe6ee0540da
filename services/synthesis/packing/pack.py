"""Pure. Rows of a kernel call, packed from what sounds in each block: a few gathers, then whole-batch operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import CONTROL_STEPS
from services.contract.timebase import BLOCK_FRAMES, BLOCKS_PER_SECTION
from services.synthesis.dsp.control import COLUMNS, Column
from services.synthesis.dsp.grid import QUARTER_BLOCK
from services.synthesis.dsp.level import FULL_SCALE
from services.synthesis.packing.placement import Placement, Sounding
from services.synthesis.packing.table import INCREMENT, ONSET, PHASE, WIDTH
from services.synthesis.sound.brightness import hiss_gain
from services.synthesis.sound.patches import PRESET_NAMES, SOUNDS

_BLOCK_ENDS_S: Final = np.array([[0.0, 1.0]])
_GUST_RATIO: Final = 2.618
"""Rate of a gust's fast movement relative to its slow one: 1 + golden ratio, so that they never fall into step."""
_GUST_SLOW: Final = 0.6
_GUST_FAST: Final = 0.4
"""Shares of the two movements in a gust."""
_GUST_FAST_APART: Final = 2.0
"""Radians by which the fast movement's phase differs between left and right."""
_HISS_PEAK: Final = FULL_SCALE * 6.0**0.5
"""Peak of triangular noise, in 16-bit steps, for an RMS of 1."""


@dataclass(frozen=True, slots=True)
class PackedPartials:
    """Partials of several rows, padded with silence.

    Attributes:
        parameters: float32 [rows, COLUMNS, partials].
        phases: int32 [rows, 2, partials]: phase at the block's start, and increment per frame.
    """

    parameters: NDArray[np.float32]
    phases: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PackedAir:
    """The air and the dither of several rows.

    Attributes:
        first_frame: int32 [rows, 1], quarter-rate frame of the block's start, wrapping.
        seeds: int32 [rows, 2], one for each channel.
        level: float32 [rows, 2 channels, 2 ends]: gain at the block's start and end.
        hiss: float32 [rows, 1]: peak of the white noise in 16-bit steps, dither included.
        preset: int64 [rows]: place in PRESET_NAMES.
        colour: int64 [rows]: place among the colours of all presets, each at every brightness.
        dither: int32 [rows, 2]: first frame, wrapping, and a seed.
    """

    first_frame: NDArray[np.int32]
    seeds: NDArray[np.int32]
    level: NDArray[np.float32]
    hiss: NDArray[np.float32]
    preset: NDArray[np.int64]
    colour: NDArray[np.int64]
    dither: NDArray[np.int32]


def pack_partials(rows: Sequence[Sequence[Sounding]], blocks: Sequence[int], *, least: int = 1) -> PackedPartials:
    """Pack rows of partials, padded to the longest row.

    Args:
        rows: what sounds in each row.
        blocks: the block of each row.
        least: partials of a row at least.
    """
    width = max(least, max((sum(len(part.rows) for part in parts) for parts in rows), default=0))
    words = np.zeros((len(rows), width, WIDTH), dtype=np.int32)
    starts = np.zeros((len(rows), width), dtype=np.int32)
    for row, parts in enumerate(rows):
        end = 0
        for part in parts:
            begin, end = end, end + len(part.rows)
            part.table.words.take(part.rows, axis=0, out=words[row, begin:end], mode="clip")
            starts[row, begin:end] = part.start_frame
    frames = np.array([block * BLOCK_FRAMES % 2**32 for block in blocks], dtype=np.uint32)[:, None]
    parameters = np.empty((len(rows), COLUMNS, width), dtype=np.float32)
    parameters[...] = words[:, :, :COLUMNS].view(np.float32).transpose(0, 2, 1)
    # Whole frames up to 2**24 are exact in float32.
    parameters[:, Column.ONSET] = words[:, :, ONSET] - starts
    increments = words[:, :, INCREMENT]
    phases = np.empty((len(rows), 2, width), dtype=np.int32)
    phases[:, 0] = (words[:, :, PHASE].view(np.uint32) + increments.view(np.uint32) * frames).view(np.int32)
    phases[:, 1] = increments
    return PackedPartials(parameters, phases)


def pack_air(rows: Sequence[Placement]) -> PackedAir:
    """Pack the air and dither of `rows`."""
    patches = [SOUNDS[row.spec.preset].air for row in rows]
    preset = np.array([PRESET_NAMES.index(row.spec.preset) for row in rows], dtype=np.int64)
    brightness_steps = np.array([row.spec.brightness_steps for row in rows], dtype=np.int64)
    seconds = [row.block % BLOCKS_PER_SECTION for row in rows]
    air = np.array([row.section.air[second : second + 2] for row, second in zip(rows, seconds, strict=True)])
    seeds = np.array([row.section.seeds for row in rows])
    gain = np.array([[patch.gain] for patch in patches])
    hiss = np.array([[patch.hiss_gain] for patch in patches]) * _HISS_PEAK
    hiss = hiss * hiss_gain(brightness_steps[:, None] / CONTROL_STEPS)
    rate_hz = np.array([[patch.gust_hz] for patch in patches])
    depth = np.array([[patch.gust_depth] for patch in patches])
    start_s = np.array([[float(row.block)] for row in rows])
    slow = _turn(start_s, rate_hz, seeds[:, 1:2])
    fast = _turn(start_s, _GUST_RATIO * rate_hz, seeds[:, 2:3])
    gust_left = 1.0 + depth * (_GUST_SLOW * np.sin(slow) + _GUST_FAST * np.sin(fast))
    gust_right = 1.0 + depth * (_GUST_SLOW * np.cos(slow) + _GUST_FAST * np.sin(fast + _GUST_FAST_APART))
    level = np.stack((air * gain * gust_left, air * gain * gust_right), axis=1)
    first = np.array([[row.block * QUARTER_BLOCK % 2**32] for row in rows], dtype=np.uint32)
    dither = np.array([row.block * BLOCK_FRAMES % 2**32 for row in rows], dtype=np.uint32)
    return PackedAir(
        first_frame=first.view(np.int32),
        seeds=seeds[:, :2].copy().view(np.int32),
        level=level.astype(np.float32),
        # The dither itself has a peak of one step.
        hiss=(1.0 + air.mean(axis=1, keepdims=True) * hiss).astype(np.float32),
        preset=preset,
        colour=preset * (CONTROL_STEPS + 1) + brightness_steps,
        dither=np.stack((dither, seeds[:, 2]), axis=1).view(np.int32),
    )


def _turn(start_s: NDArray[np.float64], rate_hz: NDArray[np.float64], seed: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Phase in radians of a slow movement at both ends of blocks that begin at `start_s` (since the epoch)."""
    return 2.0 * np.pi * ((start_s * rate_hz + seed * 2.0**-32) % 1.0 + _BLOCK_ENDS_S * rate_hz)
