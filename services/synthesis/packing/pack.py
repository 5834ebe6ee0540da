"""Pure. Rows of a kernel call, packed from what sounds in each block: a few gathers, then whole-batch operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import BLOCK_FRAMES, BLOCKS_PER_SECTION
from services.synthesis.dsp.control import COLUMNS, WORDS, Column, Word
from services.synthesis.dsp.grid import INTERVAL_FRAMES, QUARTER_BLOCK, TEXTURE_FRAMES
from services.synthesis.dsp.noise import scramble
from services.synthesis.packing.placement import Placement, Sounding
from services.synthesis.packing.table import ENTRY, INCREMENT, ONSET, PATH, PHASE, STRIDE, WIDTH
from services.synthesis.sound.brightness import texture_gain
from services.synthesis.sound.chosen_texture import chosen_texture
from services.synthesis.sound.patches import PRESET_NAMES
from services.synthesis.sound.textures import LOOP_NUMBERS
from services.synthesis.sound.textures import NAMES as TEXTURE_NAMES

_BLOCK_ENDS_S: Final = np.array([[0.0, 1.0]])
_GUST_RATIO: Final = 2.618
"""Rate of a gust's fast movement relative to its slow one: 1 + golden ratio, so that they never fall into step."""
_GUST_SLOW: Final = 0.6
_GUST_FAST: Final = 0.4
"""Shares of the two movements in a gust."""
_GUST_FAST_APART: Final = 2.0
"""Radians by which the fast movement's phase differs between left and right."""
_TIDES_S: Final = (97.0, 233.0, 613.0)
"""Periods in which a texture comes and goes."""
GRAIN_S: Final = 6
"""Seconds of a grain of texture; the next one begins when half of it is over."""


@dataclass(frozen=True, slots=True)
class PackedPartials:
    """Partials of several rows, padded with silence.

    Attributes:
        parameters: float32 [rows, COLUMNS, partials].
        words: int32 [rows, WORDS, partials], see `control.Word`.
    """

    parameters: NDArray[np.float32]
    words: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PackedTexture:
    """What the texture and the dither of several rows need.

    Attributes:
        preset: int64 [rows].
        places: int32 [rows, 2]: where either grain begins in the loops of all textures.
        levels: float32 [rows, 2 grains, 2 channels, 2 ends]: gains at the block's start and end.
        dither: int32 [rows, 2]: first frame, wrapping, and a seed.
    """

    preset: NDArray[np.int64]
    places: NDArray[np.int32]
    levels: NDArray[np.float32]
    dither: NDArray[np.int32]

    def part(self, rows: slice) -> PackedTexture:
        """Some of the rows."""
        return PackedTexture(self.preset[rows], self.places[rows], self.levels[rows], self.dither[rows])


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
    onset = words[:, :, ONSET] - starts
    # Whole frames up to 2**24 are exact in float32.
    parameters[:, Column.ONSET] = onset
    increments = words[:, :, INCREMENT]
    packed = np.empty((len(rows), WORDS, width), dtype=np.int32)
    packed[:, Word.PHASE] = (words[:, :, PHASE].view(np.uint32) + increments.view(np.uint32) * frames).view(np.int32)
    packed[:, Word.INCREMENT] = increments
    packed[:, Word.AGE] = onset // -INTERVAL_FRAMES
    for column, place in ((Word.PATH, PATH), (Word.ENTRY, ENTRY), (Word.STRIDE, STRIDE)):
        packed[:, column] = words[:, :, place]
    return PackedPartials(parameters, packed)


def pack_texture(rows: Sequence[Placement]) -> PackedTexture:
    """Pack the texture and dither of `rows`."""
    patches = [chosen_texture(row.spec.preset, row.spec.texture) for row in rows]
    seconds = [row.block % BLOCKS_PER_SECTION for row in rows]
    air = np.array([row.section.air[second : second + 2] for row, second in zip(rows, seconds, strict=True)])
    seeds = np.array([row.section.seeds for row in rows])
    gain = np.array([[patch.gain] for patch in patches])
    gain = gain * texture_gain(np.array([[row.spec.brightness] for row in rows]))
    rate_hz = np.array([[patch.gust_hz] for patch in patches])
    depth = np.array([[patch.gust_depth] for patch in patches])
    swell_db = np.array([[patch.swell_db] for patch in patches])
    start_s = np.array([[float(row.block)] for row in rows])
    slow = _turn(start_s, rate_hz, seeds[:, 1:2])
    fast = _turn(start_s, _GUST_RATIO * rate_hz, seeds[:, 2:3])
    tide = sum(np.sin(_turn(start_s, np.full_like(gain, 1.0 / period), seeds[:, :1])) for period in _TIDES_S)
    loud = air * gain * 10.0 ** (swell_db * tide / (20.0 * len(_TIDES_S)))
    gust_left = 1.0 + depth * (_GUST_SLOW * np.sin(slow) + _GUST_FAST * np.sin(fast))
    gust_right = 1.0 + depth * (_GUST_SLOW * np.cos(slow) + _GUST_FAST * np.sin(fast + _GUST_FAST_APART))
    level = np.stack((loud * gust_left, loud * gust_right), axis=1)

    number, age_s = np.divmod(np.array([[row.block] for row in rows]), GRAIN_S // 2)
    # The grain that comes and the one that goes: together their power is always 1.
    angle = (age_s + _BLOCK_ENDS_S) * (np.pi / GRAIN_S)
    levels = np.stack((level * np.sin(angle)[:, None], level * np.cos(angle)[:, None]), axis=1)
    drawn = np.concatenate((number, number - 1), axis=1).astype(np.uint32)
    choice_frames = TEXTURE_FRAMES - GRAIN_S * QUARTER_BLOCK
    begin = (_chance(drawn, seeds[:, 1:2]) * choice_frames).astype(np.int64)
    begin += (age_s + np.array([[0, GRAIN_S // 2]])) * QUARTER_BLOCK
    kinds = np.array([[TEXTURE_NAMES.index(patch.kind)] for patch in patches])
    dither = np.array([row.block * BLOCK_FRAMES % 2**32 for row in rows], dtype=np.uint32)
    return PackedTexture(
        preset=np.array([PRESET_NAMES.index(row.spec.preset) for row in rows], dtype=np.int64),
        places=(kinds * LOOP_NUMBERS + begin).astype(np.int32),
        levels=levels.astype(np.float32),
        dither=np.stack((dither, seeds[:, 2]), axis=1).view(np.int32),
    )


def _turn(start_s: NDArray[np.float64], rate_hz: NDArray[np.float64], seed: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Phase in radians of a slow movement at both ends of blocks that begin at `start_s` (since the epoch)."""
    return 2.0 * np.pi * ((start_s * rate_hz + seed * 2.0**-32) % 1.0 + _BLOCK_ENDS_S * rate_hz)


def _chance(number: NDArray[np.uint32], seed: NDArray[np.uint32]) -> NDArray[np.float64]:
    """A number in [0, 1) for each (number, seed), broadcasting."""
    return np.asarray(scramble(number.view(np.int32), seed.view(np.int32)).view(np.uint32) * 2.0**-32)
