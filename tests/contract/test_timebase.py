from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract import timebase
from services.contract.timebase import MAX_TICK, block_of, due_s, first_tick, tick_at


def test_the_audio_format_is_literally_this() -> None:
    assert (timebase.SAMPLE_RATE_HZ, timebase.CHANNELS, timebase.SAMPLE_BYTES) == (44_100, 2, 2)
    assert (timebase.CHUNK_FRAMES, timebase.CHUNK_BYTES, timebase.CHUNK_MS) == (4_410, 17_640, 100)
    assert (timebase.CHUNKS_PER_BLOCK, timebase.BLOCK_FRAMES, timebase.BLOCK_BYTES) == (10, 44_100, 176_400)
    assert (timebase.SECTION_S, timebase.BLOCKS_PER_SECTION) == (240, 240)
    assert timebase.TICKS_PER_S * timebase.TICK_S == 1
    assert timebase.CHUNK_FRAMES * timebase.TICKS_PER_S == timebase.SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("unix_s", "tick"),
    [(0.0, 0), (0.0999, 0), (0.1, 1), (0.3, 3), (0.7, 7), (1.1, 11), (1_700_000_000.0, 17_000_000_000),
     (1_700_000_000.05, 17_000_000_000), (1_700_000_000.1, 17_000_000_001)],
)  # fmt: skip
def test_a_tick_is_a_tenth_of_a_second_since_the_epoch(unix_s: float, tick: int) -> None:
    assert tick_at(unix_s) == tick


@given(st.integers(0, MAX_TICK))
def test_a_tick_is_live_at_the_very_moment_it_is_due(tick: int) -> None:
    assert tick_at(due_s(tick)) == tick


@given(st.floats(0, 1e11))
def test_the_live_tick_is_due_and_the_next_one_is_not(unix_s: float) -> None:
    tick = tick_at(unix_s)
    # A double of today has microseconds to spare; far beyond, its own grain.
    grain_s = max(1e-9, abs(unix_s) * 2**-51)
    assert due_s(tick) <= unix_s + grain_s
    assert due_s(tick + 1) > unix_s - grain_s


@given(st.integers(0, MAX_TICK))
def test_a_block_holds_its_ten_ticks(tick: int) -> None:
    block = block_of(tick)
    assert first_tick(block) <= tick < first_tick(block + 1)
    assert first_tick(block + 1) - first_tick(block) == 10


def test_the_frame_index_of_the_last_tick_is_still_exact_as_a_double() -> None:
    last = MAX_TICK * timebase.CHUNK_FRAMES
    assert float(last) == last
    assert last <= 2**53
