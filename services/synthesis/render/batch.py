"""Pure. Jobs of the renderer, and what it makes of a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.contract.block import MAX_CHORDS, Chord
from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION, TICKS_PER_S
from services.synthesis.packing.placement import Placement

Job = tuple[StreamSpec, int]
"""A stream, and a block of it (seconds since the epoch)."""


@dataclass(frozen=True, slots=True)
class RenderedBatch:
    """A batch of jobs, rendered, in their order.

    Attributes:
        pcm: int16 [batch, 10, 4410, 2].
        peak, rms: float32 [batch], of full scale.
        chords: what sounds in each block.
        silenced: places of jobs whose sound was not a number; their pcm is silence.
        render_s: wall time of the batch.
        partials: partials summed for the blocks themselves.
        history: seconds of reverb send rendered besides, because they were not kept.
    """

    pcm: NDArray[np.int16]
    peak: NDArray[np.float32]
    rms: NDArray[np.float32]
    chords: tuple[tuple[Chord, ...], ...]
    silenced: tuple[int, ...]
    render_s: float
    partials: int
    history: int


def chords_of(row: Placement) -> tuple[Chord, ...]:
    """The chord that a block begins with, and those that begin in it."""
    second = row.block % BLOCKS_PER_SECTION
    found: dict[int, str] = {}
    for chord in row.section.chords:
        if chord.onset_s < second + 1:
            found[max(0, int((chord.onset_s - second) * TICKS_PER_S))] = chord.name
    return tuple(Chord(chunk, name) for chunk, name in sorted(found.items())[:MAX_CHORDS])


def latest_of(rows: Sequence[Placement]) -> dict[str, int]:
    """The latest block of each stream in `rows`."""
    latest: dict[str, int] = {}
    for row in rows:
        latest[row.stream] = max(row.block, latest.get(row.stream, 0))
    return latest
