"""Pure. A table of partials, and the list of those that sound in each second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import BLOCK_FRAMES, BLOCKS_PER_SECTION
from services.synthesis.dsp.control import COLUMNS
from services.synthesis.dsp.grid import INTERVAL_FRAMES

PHASE: Final = COLUMNS
"""Word of a partial: its phase at frame 0 of the epoch, in 2**-32 cycles."""
INCREMENT: Final = COLUMNS + 1
"""Word of a partial: what its phase gains in a frame, in 2**-32 cycles."""
ONSET: Final = COLUMNS + 2
"""Word of a partial: the first frame of its note, from the section's start."""
PATH: Final = COLUMNS + 3
ENTRY: Final = COLUMNS + 4
STRIDE: Final = COLUMNS + 5
"""Words of a partial: where it is read in the measured tables, see `control.Word`."""
WIDTH: Final = COLUMNS + 7
"""32-bit words of a partial: the float32 columns, six whole numbers, one to spare."""

SECONDS: Final = 2 * BLOCKS_PER_SECTION
"""Seconds that a section's notes may sound in: its own and those of the section after it."""


@dataclass(frozen=True, slots=True)
class Table:
    """Partials of a section in one frequency band.

    Attributes:
        words: int32 [partials, WIDTH]; the first COLUMNS are float32 by their bits, see `control.Column`.
        first: int64 [SECONDS + 1]: where the list of each second begins in `active`.
        active: int32: rows of `words` that sound in second 0, then those of second 1, and so on.
    """

    words: NDArray[np.int32]
    first: NDArray[np.int64]
    active: NDArray[np.int32]

    def sounding(self, second: int) -> NDArray[np.int32]:
        """Rows that sound in `second` (0 to SECONDS - 1), in the order of their onsets."""
        return self.active[self.first[second] : self.first[second + 1]]


def build_table(words: NDArray[np.int32], last_frame: NDArray[np.int64]) -> Table:
    """The table of some partials.

    Args:
        words: int32 [partials, WIDTH], sorted by onset.
        last_frame: int64 [partials]: the frame from which each is silent, from the section's start.
    """
    onset = words[:, ONSET].astype(np.int64)
    # A block reads one control interval before and after itself.
    begin = np.maximum((onset - INTERVAL_FRAMES) // BLOCK_FRAMES, 0)
    end = np.minimum(-((-last_frame - INTERVAL_FRAMES) // BLOCK_FRAMES), SECONDS)
    lengths = np.maximum(end - begin, 0)
    rows = np.repeat(np.arange(len(words)), lengths)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    second = np.repeat(begin, lengths) + offsets
    order = np.argsort(second, kind="stable")
    first = np.searchsorted(second[order], np.arange(SECONDS + 1))
    return Table(np.ascontiguousarray(words), first.astype(np.int64), rows[order].astype(np.int32))
