"""Pure. What sounds in one block of one stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_FRAMES
from services.synthesis.packing.section import PreparedSection
from services.synthesis.packing.table import Table

Band = Literal["low", "high"]
"""Partials below the split are "low", those above it are "high"."""
BANDS: Final[tuple[Band, ...]] = ("low", "high")


@dataclass(frozen=True, slots=True)
class Sounding:
    """Partials of one table that sound in a block.

    Attributes:
        table: of one section and band.
        rows: int32: which rows of the table.
        start_frame: the block's first frame, from the start of the table's section.
    """

    table: Table
    rows: NDArray[np.int32]
    start_frame: int


@dataclass(frozen=True, slots=True)
class Placement:
    """What sounds in one block of one stream.

    Attributes:
        spec: the stream.
        stream: its id, kept because a spec takes time to write out.
        block: seconds since the epoch.
        section: the section that the block lies in.
        low, high: partials of each band: of the section before, where they still ring, and of the block's own.
        low_count, high_count: the number of partials in each band.
    """

    spec: StreamSpec
    stream: str
    block: int
    section: PreparedSection
    low: tuple[Sounding, ...]
    high: tuple[Sounding, ...]
    low_count: int
    high_count: int

    def band(self, band: Band) -> tuple[Sounding, ...]:
        """Partials of one band."""
        return self.low if band == "low" else self.high


def place_block(
    spec: StreamSpec, stream: str, block: int, sections: Sequence[tuple[PreparedSection, int]]
) -> Placement:
    """Find what sounds in a block.

    Args:
        spec, stream, block: see `Placement`.
        sections: the sections to look in, the block's own last, each with the block's second from its start.
    """
    low = _sounding([(section.low, second) for section, second in sections])
    high = _sounding([(section.high, second) for section, second in sections])
    return Placement(spec, stream, block, sections[-1][0], low, high, _count(low), _count(high))


def _sounding(tables: Sequence[tuple[Table, int]]) -> tuple[Sounding, ...]:
    found: list[Sounding] = []
    for table, second in tables:
        rows = table.sounding(second)
        if len(rows):
            found.append(Sounding(table, rows, second * BLOCK_FRAMES))
    return tuple(found)


def _count(sounding: Sequence[Sounding]) -> int:
    return sum(len(part.rows) for part in sounding)
