from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contract.block import stream_hash
from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES
from services.edge.stream.chunk import Source
from services.edge.stream.mixing import Pcm, crossfade
from services.edge.stream.ring import AHEAD_BLOCKS, HISTORY_CHUNKS, RESERVE_CHUNKS, Added, Ring
from tests.edge.support import SPEC, block, pcm_of

B = 1000
"""A block; its ticks are 10000 to 10009."""
T = 10 * B


def ring_with(*numbers: int, revision: str = "r1") -> Ring:
    ring = Ring(stream_hash(SPEC.stream_id), bpm=SPEC.bpm)
    for number in numbers:
        assert ring.add(block(number, revision=revision), T) is Added.KEPT
    return ring


def sources(ring: Ring, first: int, last: int) -> str:
    """One letter a tick: l(ive), o (loop), f(ade), . (nothing)."""
    letters = {Source.LIVE: "l", Source.LOOP: "o", Source.FADE: "f"}
    chunks = [ring.chunk(tick) for tick in range(first, last + 1)]
    return "".join("." if chunk is None else letters[chunk.source] for chunk in chunks)


def audio(ring: Ring, first: int, last: int) -> bytes:
    chunks = [ring.chunk(tick) for tick in range(first, last + 1)]
    assert all(chunk is not None for chunk in chunks)
    return b"".join(bytes(chunk.pcm) for chunk in chunks if chunk is not None)


def rendered(tick: int, revision: str = "r1") -> bytes:
    start = (tick % 10) * CHUNK_BYTES
    return pcm_of(SPEC.stream_id, tick // 10, revision)[start : start + CHUNK_BYTES]


def worst_click(pcm: Pcm) -> float:
    """Largest jump between two neighbouring samples of the left channel.

    The test sounds mark the last sample of each chunk's right channel; the left one is a clean tone.
    """
    left = np.frombuffer(pcm, "<i2")[::2].astype(np.float64)
    return float(np.abs(np.diff(left)).max())


def test_a_ring_without_blocks_has_nothing() -> None:
    ring = ring_with()
    ring.advance(T, 10)
    assert (ring.origin, ring.front, ring.chunk(T)) == (None, None, None)


def test_chunks_are_the_blocks_bytes() -> None:
    ring = ring_with(B, B + 1)
    ring.advance(T + 3, 10)
    for tick in range(T, T + 13):
        chunk = ring.chunk(tick)
        assert chunk is not None
        assert bytes(chunk.pcm) == rendered(tick)


def test_a_timeline_begins_with_the_unbroken_history_before_the_live_tick() -> None:
    ring = ring_with(B - 5, B - 3, B - 2, B - 1, B, B + 1)
    ring.advance(T + 4, 5)
    assert ring.origin == T - 30
    assert sources(ring, T - 30, T + 8) == "l" * 39


@pytest.mark.parametrize("live", [T + 7, T + 8, T + 9])
def test_the_end_of_a_block_without_the_next_is_no_beginning(live: int) -> None:
    ring = ring_with(B)
    ring.advance(live, 10)
    assert ring.origin is None
    ring.add(block(B + 1), live)
    ring.advance(live, 10)
    assert sources(ring, T, live + 9) == "l" * (live - T + 10)


def test_a_new_stream_whose_second_block_comes_after_its_first_never_loops() -> None:
    """As it was seen: joined late in a block, the second block 0.13 s behind the first, a loop of 1.3 s."""
    for live in range(T, T + 10):
        ring = ring_with(B)
        ring.advance(live, 10)
        ring.advance(live + 1, 10)
        ring.add(block(B + 1), live + 1)
        ring.add(block(B + 2), live + 1)
        for later in range(live + 2, live + 9):
            ring.advance(later, 10)
        assert ring.origin is not None
        assert set(sources(ring, live + 2, live + 17)) == {"l"}


def test_a_timeline_may_begin_slightly_early_if_only_the_next_block_is_there() -> None:
    ring = ring_with(B + 1)
    ring.advance(T + 7, 10)
    assert ring.origin is None
    ring.advance(T + 8, 10)
    assert ring.origin == T + 10
    assert ring.chunk(T + 8) is None
    assert sources(ring, T + 10, T + 17) == "l" * 8


def test_the_timeline_is_drawn_no_further_than_wanted() -> None:
    ring = ring_with(B, B + 1, B + 2)
    ring.advance(T, 10)
    assert ring.front == T + 9
    ring.advance(T + 1, 15)
    assert ring.front == T + 15


def test_the_first_copy_of_a_block_wins() -> None:
    ring = ring_with(B, B + 1)
    other = replace(block(B), pcm=memoryview(pcm_of(SPEC.stream_id, B + 7)))
    assert ring.add(other, T) is Added.DUPLICATE
    ring.advance(T, 10)
    assert audio(ring, T, T + 5) == b"".join(rendered(tick) for tick in range(T, T + 6))


def test_a_block_whose_time_is_over_is_late() -> None:
    ring = ring_with(B, B + 1, B + 2, B + 3)
    ring.advance(T, 25)
    assert ring.add(block(B - 1), T) is Added.LATE
    assert ring.add(block(B - 30), T) is Added.LATE


def test_a_block_from_the_far_future_or_of_another_stream_is_not_kept() -> None:
    ring = ring_with(B)
    assert ring.add(block(B + AHEAD_BLOCKS + 1), T) is Added.EARLY
    assert ring.add(block(B + 1, StreamSpec(key="F#")), T) is Added.FOREIGN
    assert ring.add(block(B + 1, revision="r2"), T) is Added.FOREIGN


def test_the_last_chunk_before_a_hole_is_held_back_until_the_hole_is_filled() -> None:
    ring = ring_with(B, B + 1)
    ring.advance(T + 8, 25)
    assert ring.front == T + 18
    ring.add(block(B + 2), T + 8)
    ring.advance(T + 8, 25)
    assert sources(ring, T, T + 28) == "l" * 29


def test_at_the_reserve_the_timeline_goes_over_into_a_loop_and_never_ends() -> None:
    ring = ring_with(B, B + 1)
    for live in range(T, T + 100):
        ring.advance(live, 10)
        front = ring.front
        assert front is not None
        # Listeners keep at least the reserve.
        assert front >= live + RESERVE_CHUNKS - 1
    assert ring.degraded
    assert sources(ring, T, T + 30) == "l" * 19 + "o" * 12


def test_a_block_that_arrives_a_moment_too_late_costs_a_moment_of_loop() -> None:
    ring = ring_with(B, B + 1)
    for live in range(T, T + 17):
        ring.advance(live, 25)
    assert ring.degraded
    ring.add(block(B + 2), T + 16)
    ring.add(block(B + 3), T + 16)
    ring.advance(T + 17, 25)
    text = sources(ring, T, T + 38)
    assert text.startswith("l" * 19 + "o")
    assert text.count("o") <= 2 + 1
    assert text.endswith("f" + "l" * 17)


def test_a_long_loop_fills_listeners_up_again() -> None:
    ring = ring_with(B, B + 1)
    for live in range(T, T + 60):
        ring.advance(live, 25)
    assert ring.front == T + 59 + 24


def test_neither_end_of_a_loop_nor_its_seams_click() -> None:
    ring = ring_with(*range(B - 8, B + 2))
    for live in range(T, T + 120):
        ring.advance(live, 10)
    for number in range(B + 12, B + 15):
        ring.add(block(number), T + 119)
    for live in range(T + 120, T + 130):
        ring.advance(live, 10)
    assert not ring.degraded
    text = sources(ring, T - 60, T + 138)
    assert "lo" in text
    assert "ofl" in text
    clean = b"".join(rendered(tick) for tick in range(T - 20, T))
    assert worst_click(audio(ring, T - 60, T + 138)) < 1.5 * worst_click(clean)


def test_a_hole_in_the_middle_is_bridged() -> None:
    ring = ring_with(B, B + 1, B + 3, B + 4)
    for live in range(T, T + 30):
        ring.advance(live, 10)
    assert sources(ring, T, T + 38) == "l" * 19 + "o" * 11 + "f" + "l" * 8
    assert not ring.degraded


def test_a_block_that_arrives_while_the_loop_plays_is_used_from_the_front_on() -> None:
    ring = ring_with(B, B + 1)
    for live in range(T, T + 16):
        ring.advance(live, 5)
    assert ring.degraded
    assert ring.front == T + 19
    assert ring.add(block(B + 2), T + 15) is Added.KEPT
    ring.advance(T + 16, 5)
    assert sources(ring, T + 17, T + 20) == "llof"


def test_the_timeline_does_not_change_when_the_block_arrives_after_all() -> None:
    ring = ring_with(B, B + 1)
    for live in range(T, T + 25):
        ring.advance(live, 10)
    before = audio(ring, T, T + 30)
    assert ring.add(block(B + 2), T + 24) is Added.LATE
    ring.add(block(B + 3), T + 24)
    ring.advance(T + 25, 10)
    assert audio(ring, T, T + 30) == before


def test_history_is_twenty_seconds() -> None:
    ring = ring_with()
    for number in range(B, B + 40):
        ring.add(block(number), 10 * number)
        ring.advance(10 * (number - 1), 10)
    live = 10 * (B + 38)
    assert ring.origin == live - HISTORY_CHUNKS
    assert ring.chunk(live - HISTORY_CHUNKS) is not None
    assert ring.chunk(live - HISTORY_CHUNKS - 1) is None


def test_after_a_long_stall_the_timeline_goes_on_at_the_live_tick() -> None:
    ring = ring_with(B, B + 1)
    ring.advance(T, 10)
    ring.advance(T + 36_000, 10)
    assert ring.origin == T + 36_000
    for live in range(T + 36_000, T + 36_012):
        ring.advance(live, 10)
    assert sources(ring, T + 36_000, T + 36_015) == "o" * 16


JUMPS = pytest.mark.parametrize("ticks", [-36_000, -50, -31, 31, 50, 36_000])


@JUMPS
def test_after_a_jump_the_same_sound_goes_on_under_other_ticks_and_fades_into_the_new_time(ticks: int) -> None:
    ring = Ring(stream_hash(SPEC.stream_id), bpm=SPEC.bpm)
    for number in range(B, B + 4):
        ring.add(block(number, marked=False), T)
    ring.advance(T, 15)
    before = audio(ring, T, T + 14)
    live = T + ticks
    ring.jump(ticks, live)
    assert (ring.origin, ring.front) == (live, live + 14)
    assert audio(ring, live, live + 14) == before
    assert not ring.missing(live // 10), "what is due now needs no block"
    for number in range(live // 10, live // 10 + 6):
        ring.add(block(number, marked=False), live)
    ring.advance(live + 10, 15)
    assert sources(ring, live, live + 24) == "o" * 15 + "f" + "l" * 9
    assert worst_click(audio(ring, live, live + 24)) <= worst_click(before) + 1
    # Out of what would have come next, without a detour through the loop.
    following = pcm_of(SPEC.stream_id, B + 1, marked=False)[5 * CHUNK_BYTES : 6 * CHUNK_BYTES]
    new = pcm_of(SPEC.stream_id, (live + 15) // 10, marked=False)
    start = (live + 15) % 10 * CHUNK_BYTES
    assert audio(ring, live + 15, live + 15) == crossfade(following, new[start : start + CHUNK_BYTES])


@JUMPS
def test_after_a_jump_the_loop_bridges_the_time_until_the_first_block(ticks: int) -> None:
    ring = ring_with(B, B + 1, B + 2)
    ring.advance(T, 15)
    live = T + ticks
    ring.jump(ticks, live)
    # Blocks of the other time that happen to be near are used; those of this test are not.
    for number in range(B - 20, B + 20):
        ring._blocks["r1"].pop(number, None)
    for later in range(live, live + 30):
        ring.advance(later, 15)
        assert ring.front is not None
        assert ring.front >= later + RESERVE_CHUNKS - 1
    assert set(sources(ring, live, live + 34)) == {"o"}


def test_a_jump_while_the_loop_plays_goes_on_with_the_loop() -> None:
    ring = ring_with(B, B + 1)
    for live in range(T, T + 30):
        ring.advance(live, 10)
    assert ring.degraded
    front = ring.front
    assert front is not None
    ring.jump(-500, T + 29 - 500)
    ring.advance(T + 30 - 500, 10)
    assert ring.front == front + 1 - 500
    assert ring.degraded


def test_a_jump_before_the_first_block_changes_nothing() -> None:
    ring = ring_with()
    ring.jump(600, T + 600)
    ring.add(block(B + 60), T + 600)
    ring.advance(T + 600, 5)
    assert ring.origin == T + 600


def test_blocks_of_another_time_are_forgotten_with_a_jump() -> None:
    ring = ring_with(*range(B, B + 5))
    ring.jump(-36_000, T - 36_000)
    assert not any(ring.arrived(number) for number in range(B, B + 5))


def test_a_timeline_that_has_just_begun_waits_a_moment_for_its_second_block() -> None:
    ring = ring_with(B)
    ring.advance(T + 6, 10)
    assert sources(ring, T + 6, T + 9) == "lll."
    ring.advance(T + 7, 10)
    assert not ring.degraded
    ring.advance(T + 8, 10)
    assert sources(ring, T + 6, T + 10) == "lllo."
    ring.advance(T + 9, 10)
    assert sources(ring, T + 6, T + 11) == "lllo" + "o."


# --- revisions -------------------------------------------------------------------------------------------------------


def test_a_stream_moves_to_a_new_revision_with_one_crossfade_at_a_block_boundary() -> None:
    ring = ring_with(B, B + 1, B + 2, B + 3)
    ring.advance(T, 10)
    assert ring.move_to("r2") == B + 3
    assert ring.move_to("r2") is None
    assert not ring.has_block(B + 3)
    assert ring.has_block(B + 2)
    assert ring.add(block(B + 3, revision="r2"), T) is Added.KEPT
    assert ring.add(block(B + 4, revision="r2"), T) is Added.KEPT
    assert ring.add(block(B + 5, revision="r2"), T) is Added.KEPT
    for live in range(T, T + 40):
        ring.advance(live, 10)
    assert sources(ring, T, T + 48) == "l" * 30 + "f" + "l" * 18
    assert ring.revision == "r2"
    assert audio(ring, T + 31, T + 34) == b"".join(rendered(tick, "r2") for tick in range(T + 31, T + 35))


def test_without_a_common_block_the_loop_is_the_bridge_between_two_revisions() -> None:
    ring = ring_with(B, B + 1, B + 2)
    ring.advance(T, 10)
    ring.move_to("r2")
    ring.add(block(B + 3, revision="r2"), T)
    ring.add(block(B + 4, revision="r2"), T)
    for live in range(T, T + 35):
        ring.advance(live, 10)
    assert sources(ring, T, T + 43) == "l" * 29 + "o" + "f" + "l" * 13


def test_blocks_of_the_old_revision_are_foreign_after_the_move() -> None:
    ring = ring_with(B, B + 1)
    ring.advance(T, 5)
    ring.move_to("r2")
    ring.add(block(B + 1, revision="r2"), T)
    ring.add(block(B + 2, revision="r2"), T)
    for live in range(T, T + 8):
        ring.advance(live, 5)
    assert ring.revision == "r2"
    assert ring.add(block(B + 3, revision="r1"), T + 8) is Added.FOREIGN


def test_before_anything_was_heard_a_move_is_immediate() -> None:
    ring = ring_with(B)
    ring.move_to("r2")
    assert ring.revision == "r2"
    assert ring.add(block(B), T) is Added.FOREIGN


def test_old_blocks_play_until_the_new_revision_answers() -> None:
    ring = ring_with(B, B + 1, B + 2, B + 3)
    ring.advance(T, 10)
    ring.move_to("r2")
    for live in range(T, T + 25):
        ring.advance(live, 10)
    assert sources(ring, T, T + 33) == "l" * 34


# --- demand and display ----------------------------------------------------------------------------------------------


def test_a_block_that_the_loop_has_passed_need_not_be_asked_for() -> None:
    ring = ring_with(B, B + 1)
    ring.move_to("r1")
    assert not ring.has_block(B + 2)
    for live in range(T, T + 25):
        ring.advance(live, 10)
    assert ring.has_block(B + 2)
    assert not ring.arrived(B + 2)
    assert not ring.has_block(B + 4)


def test_the_chord_is_the_one_that_sounds() -> None:
    ring = ring_with(B, B + 1)
    assert ring.chord_at(T + 4) == "Am9"
    assert ring.chord_at(T + 5) == "Fmaj7"
    assert ring.chord_at(T + 50) is None
    without = Ring(stream_hash(SPEC.stream_id), bpm=70)
    without.add(block(B), T)
    without.add(replace(block(B + 1), chords=()), T)
    assert without.chord_at(T + 12) == "Fmaj7"


def test_loudness_is_that_of_the_block_that_sounds() -> None:
    ring = ring_with(B)
    assert ring.loudness(T + 3) == 0.17
    assert ring.loudness(T + 13) is None


# --- whatever happens ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-2, 9), st.sampled_from(["r1", "r1", "r2"])), min_size=60, max_size=60),
    st.integers(0, 60),
    st.sampled_from([2, 5, 10, 25]),
)
def test_once_begun_the_timeline_has_no_hole_never_changes_and_never_falls_behind(
    arrivals: list[tuple[int, str]], move_after: int, ahead: int
) -> None:
    ring = ring_with()
    given_out: dict[int, bytes] = {}
    began: int | None = None
    joined: list[str | None] = []
    for step, (offset, revision) in enumerate(arrivals):
        live = T + step
        if step == move_after:
            ring.move_to("r2")
        ring.add(block(live // 10 + offset, revision=revision), live)
        ring.advance(live, ahead)
        if ring.origin is None:
            continue
        front = ring.front
        assert front is not None
        began = live if began is None else began
        assert front >= live + min(ahead, RESERVE_CHUNKS, 1 + (live - began) // 2) - 1
        assert front <= live + ahead - 1
        for tick in range(ring.origin, front + 1):
            chunk = ring.chunk(tick)
            assert chunk is not None
            assert len(chunk.pcm) == CHUNK_BYTES
            pcm = bytes(chunk.pcm)
            assert given_out.setdefault(tick, pcm) == pcm
        joined.append(ring.revision)
    # It moves at most once, and forward.
    moves = [pair for pair in pairwise(joined) if pair[0] != pair[1]]
    assert len(moves) <= 1
