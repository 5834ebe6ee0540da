"""Helpers for tests of packing."""

from __future__ import annotations

from collections.abc import Sequence

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION
from services.synthesis.instruments.files import load_bank
from services.synthesis.packing.pack import PackedPartials, pack_partials
from services.synthesis.packing.placement import Placement
from services.synthesis.packing.section_store import SectionStore
from tests.synthesis.fakes import Row, score

SPEC = StreamSpec()
SECTION = 7_000_000


def store_of(rows: Sequence[Row]) -> SectionStore:
    """A store whose score plays `rows` in every section."""
    return SectionStore(score(rows), load_bank(), max_sections=8)


def low(*rows: Placement) -> PackedPartials:
    """The low band of `rows`, packed."""
    return pack_partials([row.low for row in rows], [row.block for row in rows])


def block_at(second: int) -> int:
    """The block `second` seconds after the start of SECTION."""
    return SECTION * BLOCKS_PER_SECTION + second
