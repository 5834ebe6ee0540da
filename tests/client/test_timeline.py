import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.client.timeline import Placed, Timeline, continuation, crossfade, frames
from services.contract.timebase import CHUNK_BYTES, CHUNK_FRAMES, SAMPLE_RATE_HZ


def tone(chunk_id: int, frequency_hz: float = 220.0, phase: float = 0.0) -> bytes:
    """A sine that goes on from chunk to chunk."""
    n = np.arange(CHUNK_FRAMES) + chunk_id * CHUNK_FRAMES
    wave = 8000 * np.sin(2 * np.pi * frequency_hz * n / SAMPLE_RATE_HZ + phase)
    return np.repeat(wave[:, None], 2, axis=1).astype("<i2").tobytes()


def largest_step(sound: bytes) -> float:
    return float(np.abs(np.diff(frames(sound), axis=0)).max())


def taken(timeline: Timeline) -> list[tuple[int, bytes]]:
    chunks = []
    while (chunk := timeline.take()) is not None:
        chunks.append(chunk)
    return chunks


@given(order=st.permutations(range(8)))
def test_chunks_come_out_in_order_however_they_came_in(order: list[int]) -> None:
    timeline = Timeline()
    for chunk_id in order:
        assert timeline.add(chunk_id, tone(chunk_id)) is Placed.HELD
    assert taken(timeline) == [(chunk_id, tone(chunk_id)) for chunk_id in range(8)]


def test_the_first_copy_wins_and_late_chunks_are_dropped_both_counted() -> None:
    timeline = Timeline()
    timeline.add(5, tone(5))
    assert timeline.add(5, tone(5, 330)) is Placed.REPEAT
    assert timeline.take() == (5, tone(5))
    assert timeline.add(5, tone(5)) is Placed.LATE
    assert timeline.add(4, tone(4)) is Placed.LATE
    assert (timeline.repeats, timeline.late) == (1, 2)


def test_more_than_it_may_hold_is_refused_and_counted() -> None:
    timeline = Timeline(max_chunks=3)
    assert [timeline.add(n, tone(n)) for n in range(5)] == [Placed.HELD] * 3 + [Placed.REFUSED] * 2
    assert timeline.refused == 2
    assert [chunk_id for chunk_id, _ in taken(timeline)] == [0, 1, 2]


def test_void_chunks_count_towards_what_may_be_held() -> None:
    timeline = Timeline(max_chunks=4)
    for n in range(3):
        timeline.add(n, tone(n))
    timeline.splice(0)
    assert [timeline.add(n, tone(n, 330)) for n in range(3)] == [Placed.HELD, Placed.REFUSED, Placed.REFUSED]


def test_a_splice_replaces_what_is_held_and_crossfades_at_its_place() -> None:
    timeline = Timeline()
    for n in range(6):
        timeline.add(n, tone(n))
    timeline.splice(3)
    for n in range(3, 6):
        assert timeline.add(n, tone(n, 330)) is Placed.HELD
    chunks = dict(taken(timeline))
    assert [chunks[n] for n in (0, 1, 2)] == [tone(n) for n in (0, 1, 2)]
    assert chunks[3] == crossfade(tone(3), tone(3, 330))
    assert [chunks[n] for n in (4, 5)] == [tone(n, 330) for n in (4, 5)]
    # Nowhere is a step larger than the steeper of the two tones makes by itself, both together.
    steepest = 8000 * 2 * np.pi * (220 + 330) / SAMPLE_RATE_HZ
    assert largest_step(b"".join(chunks[n] for n in range(6))) < steepest
    assert timeline.crossfades == 1


def test_while_the_replacement_is_late_the_old_music_goes_on() -> None:
    timeline = Timeline()
    for n in range(4):
        timeline.add(n, tone(n))
    timeline.splice(1)
    assert timeline.take() == (0, tone(0))
    assert timeline.take() == (1, tone(1))
    timeline.add(1, tone(1, 330))
    timeline.add(2, tone(2, 330))
    assert timeline.late == 1
    assert timeline.take() == (2, crossfade(tone(2), tone(2, 330)))


def test_a_splice_that_comes_after_everything_was_given_out_fades_from_how_it_would_have_gone_on() -> None:
    timeline = Timeline()
    timeline.add(0, tone(0))
    timeline.take()
    timeline.splice(0)
    timeline.add(0, tone(0, 330))
    timeline.add(1, tone(1, 330))
    chunk_id, joined = timeline.take() or (None, b"")
    assert chunk_id == 1
    assert joined == crossfade(continuation(tone(0)), tone(1, 330))
    steepest = 8000 * 2 * np.pi * (220 + 330) / SAMPLE_RATE_HZ
    assert largest_step(tone(0) + joined) < steepest


def test_two_splices_in_a_row_fade_twice_or_once_by_what_is_heard_between() -> None:
    timeline = Timeline()
    for n in range(8):
        timeline.add(n, tone(n))
    timeline.splice(2)
    for n in range(2, 8):
        timeline.add(n, tone(n, 330))
    timeline.splice(5)
    for n in range(5, 8):
        timeline.add(n, tone(n, 440))
    chunks = dict(taken(timeline))
    assert chunks[2] == crossfade(tone(2), tone(2, 330))
    assert chunks[4] == tone(4, 330)
    assert chunks[5] == crossfade(tone(5, 330), tone(5, 440))
    assert timeline.crossfades == 2


def test_a_second_splice_at_the_same_place_goes_from_the_first_music_to_the_last() -> None:
    timeline = Timeline()
    for n in range(4):
        timeline.add(n, tone(n))
    timeline.take()
    timeline.splice(1)
    timeline.splice(1)
    timeline.add(1, tone(1, 440))
    assert timeline.take() == (1, crossfade(tone(1), tone(1, 440)))


def test_a_chunk_before_the_splices_place_still_belongs_to_the_old_music() -> None:
    timeline = Timeline()
    timeline.add(0, tone(0))
    timeline.splice(2)
    timeline.add(1, tone(1))
    timeline.add(2, tone(2, 330))
    chunks = dict(taken(timeline))
    assert chunks[1] == tone(1)
    assert chunks[2] != tone(2, 330)


def test_a_gap_is_crossed_without_a_step() -> None:
    timeline = Timeline()
    timeline.add(0, tone(0, phase=1.0))
    timeline.add(5, tone(5, 330))
    (_, first), (chunk_id, second) = taken(timeline)
    assert chunk_id == 5
    assert largest_step(first + second) < 8000 * 2 * np.pi * 550 / SAMPLE_RATE_HZ
    assert timeline.next_id == 6


def test_a_crossfade_keeps_the_power_of_unlike_music() -> None:
    rng = np.random.default_rng(1)
    old, new = (rng.normal(0, 4000, (CHUNK_FRAMES, 2)).astype("<i2").tobytes() for _ in range(2))
    power = np.square(frames(crossfade(old, new))).reshape(10, -1).mean(axis=1)
    assert power == pytest.approx(np.square(frames(old)).mean(), rel=0.15)


def test_a_crossfade_begins_as_the_old_and_ends_as_the_new() -> None:
    mixed = frames(crossfade(tone(0), tone(0, 330, 1.0)))
    assert np.abs(mixed[:5] - frames(tone(0))[:5]).max() < 15
    assert np.abs(mixed[-5:] - frames(tone(0, 330, 1.0))[-5:]).max() < 15
    assert len(crossfade(tone(0), tone(0))) == CHUNK_BYTES


def test_full_scale_is_clipped_and_does_not_wrap() -> None:
    loud = (np.full((CHUNK_FRAMES, 2), 32767, "<i2")).tobytes()
    assert frames(crossfade(loud, loud)).min() > 0
