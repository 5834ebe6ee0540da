from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.jitter_tracker import ChunkTimestamp, JitterTracker


def arrival(late_s: float, chunk_id: int = 0) -> ChunkTimestamp:
    return ChunkTimestamp(chunk_id=chunk_id, expected_time=1000.0, actual_time=1000.0 + late_s)


def test_the_first_deviation_is_the_mean_and_later_ones_move_it_by_alpha() -> None:
    tracker = JitterTracker(alpha=0.1)
    tracker.record_chunk(arrival(0.010))
    assert tracker.get_mean_jitter_ms() == pytest.approx(10)
    tracker.record_chunk(arrival(0.030))
    assert tracker.get_mean_jitter_ms() == pytest.approx(12)


def test_an_early_arrival_counts_as_much_as_a_late_one() -> None:
    tracker = JitterTracker()
    tracker.record_chunk(arrival(-0.020))
    assert tracker.get_mean_jitter_ms() == pytest.approx(20)


def test_without_arrivals_there_is_no_jitter_and_the_smallest_buffer() -> None:
    tracker = JitterTracker()
    assert tracker.get_mean_jitter_ms() == 0
    assert tracker.get_jitter_std() == 0
    assert tracker.get_underrun_rate() == 0
    assert tracker.get_recommended_buffer_ms() == 200


@given(st.lists(st.floats(0, 5), min_size=2, max_size=200))
def test_the_spread_is_that_of_the_window(lates_s: list[float]) -> None:
    tracker = JitterTracker(window_size=50)
    for late_s in lates_s:
        tracker.record_chunk(arrival(late_s))
    expected = statistics.pstdev([late_s * 1000 for late_s in lates_s[-50:]])
    assert tracker.get_jitter_std() == pytest.approx(expected, abs=0.02)


@given(st.lists(st.floats(0, 100), max_size=100), st.floats(0.5, 0.999))
def test_the_recommendation_stays_in_its_bounds(lates_s: list[float], confidence: float) -> None:
    tracker = JitterTracker()
    for late_s in lates_s:
        tracker.record_chunk(arrival(late_s))
    assert 200 <= tracker.get_recommended_buffer_ms(confidence) <= 3000


def test_more_confidence_needs_more_buffer() -> None:
    tracker = JitterTracker()
    for step in range(50):
        tracker.record_chunk(arrival((step * 7 % 50) / 50 * 0.3))
    assert tracker.get_recommended_buffer_ms(0.99) > tracker.get_recommended_buffer_ms(0.9) > 200


def test_underruns_leave_the_rate_with_the_window() -> None:
    tracker = JitterTracker(window_size=10)
    tracker.record_chunk(arrival(0), underrun=True)
    for _ in range(9):
        tracker.record_chunk(arrival(0))
    assert tracker.get_underrun_rate() == pytest.approx(0.1)
    tracker.record_chunk(arrival(0))
    assert tracker.get_underrun_rate() == 0


def test_a_tracker_that_forgot_is_like_a_new_one() -> None:
    tracker = JitterTracker()
    tracker.record_chunk(arrival(1), underrun=True)
    tracker.forget()
    assert (len(tracker), tracker.get_mean_jitter_ms(), tracker.get_underrun_rate()) == (0, 0, 0)


@pytest.mark.parametrize(("window", "alpha"), [(0, 0.1), (50, 0), (50, 1.5)])
def test_parameters_out_of_range_are_refused(window: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        JitterTracker(window, alpha)


def test_a_time_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        JitterTracker().record_chunk(arrival(float("nan")))


@pytest.mark.parametrize("before", [[], [3.0, 40.0, 7.0]])
def test_unmeasured_arrivals_count_like_arrivals_at_the_mean(before: list[float]) -> None:
    one_by_one, at_once = JitterTracker(window_size=10), JitterTracker(window_size=10)
    for tracker in (one_by_one, at_once):
        for deviation_ms in before:
            tracker.record_deviation(deviation_ms, underrun=True)
    for _ in range(8):
        one_by_one.record_deviation(one_by_one.get_mean_jitter_ms())
    at_once.record_steady(8)
    assert len(at_once) == len(one_by_one)
    assert at_once.get_mean_jitter_ms() == pytest.approx(one_by_one.get_mean_jitter_ms())
    assert at_once.get_jitter_std() == pytest.approx(one_by_one.get_jitter_std())
    assert at_once.get_underrun_rate() == one_by_one.get_underrun_rate()


@given(st.lists(st.tuples(st.sampled_from([0.0, 5.0, 40.0]), st.booleans(), st.integers(0, 14)), max_size=60))
def test_runs_of_equal_arrivals_count_like_single_arrivals(steps: list[tuple[float, bool, int]]) -> None:
    tracker, window = JitterTracker(window_size=10), list[tuple[float, bool]]()
    for deviation_ms, underrun, steady in steps:
        tracker.record_deviation(deviation_ms, underrun=underrun)
        window.append((deviation_ms, underrun))
        tracker.record_steady(steady)
        window += [(tracker.get_mean_jitter_ms(), False)] * steady
    kept = window[-10:]
    assert len(tracker) == len(kept)
    assert tracker.full == (len(kept) == 10)
    if kept:
        assert tracker.get_underrun_rate() == sum(underrun for _, underrun in kept) / len(kept)
        assert tracker.get_jitter_std() == pytest.approx(statistics.pstdev(ms for ms, _ in kept), abs=1e-4)
