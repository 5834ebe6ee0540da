import pytest

from services.client.statistics import Arrivals, JitterHistogram
from services.contract.timebase import TICK_S


def arrive(arrivals: Arrivals, *ids: int, ahead_s: float = 1.0, late_s: float = 0.0, tier: str = "normal") -> None:
    """Chunks arrive `ahead_s` before they are due (at tick times 0.1 s), plus `late_s`."""
    for chunk_id in ids:
        arrivals.add(chunk_id, tier=tier, received_s=chunk_id * TICK_S - ahead_s + late_s)


def test_steady_chunks_have_no_jitter_gaps_or_underruns() -> None:
    arrivals = Arrivals()
    arrive(arrivals, *range(100, 700))
    summary = arrivals.summary()
    assert (summary.chunks, summary.gaps, summary.repeats, summary.underruns) == (600, 0, 0, 0)
    assert summary.jitter_p99_ms <= 0.25
    assert summary.seconds == pytest.approx(59.9)


def test_missing_ids_are_one_gap_of_so_many_chunks() -> None:
    arrivals = Arrivals()
    arrive(arrivals, 1, 2, 3, 7, 8, 10)
    assert (arrivals.gaps, arrivals.missing_chunks) == (2, 4)


def test_a_chunk_that_comes_twice_is_a_repeat_and_counts_once() -> None:
    arrivals = Arrivals()
    arrive(arrivals, 1, 2, 3, 2, 3, 4)
    assert (arrivals.repeats, arrivals.chunks, arrivals.gaps) == (2, 4, 0)


def test_after_a_splice_the_same_ids_are_neither_repeats_nor_gaps() -> None:
    arrivals = Arrivals()
    arrive(arrivals, *range(1, 11))
    arrivals.splice(4)
    arrive(arrivals, *range(4, 15))
    assert (arrivals.repeats, arrivals.gaps, arrivals.splices) == (0, 0, 1)


def test_a_splice_is_not_jitter() -> None:
    arrivals = Arrivals()
    arrive(arrivals, *range(100))
    arrivals.splice(92)
    for chunk_id in range(92, 100):
        arrivals.add(chunk_id, tier="normal", received_s=9.05)
    arrive(arrivals, *range(100, 200))
    assert arrivals.summary().jitter_p99_ms <= 0.25


def test_a_splice_further_on_than_what_has_come_leaves_a_gap_to_be_seen() -> None:
    arrivals = Arrivals()
    arrive(arrivals, 1, 2, 3)
    arrivals.splice(4)
    arrive(arrivals, 6)
    assert (arrivals.gaps, arrivals.missing_chunks) == (1, 2)


def test_a_burst_is_not_jitter() -> None:
    arrivals = Arrivals()
    for chunk_id in range(10):
        arrivals.add(chunk_id, tier="normal", received_s=50.0)
    for chunk_id in range(10, 100):
        arrivals.add(chunk_id, tier="normal", received_s=50.0 + (chunk_id - 9) * TICK_S)
    assert arrivals.summary().jitter_p99_ms <= 0.25
    assert arrivals.underruns == 0


def test_lateness_against_the_earliest_of_the_last_seconds_is_jitter() -> None:
    arrivals = Arrivals()
    for chunk_id in range(200):
        arrive(arrivals, chunk_id, late_s=0.03 if chunk_id % 10 == 5 else 0.0)
    summary = arrivals.summary()
    assert summary.jitter_p50_ms <= 0.25
    assert summary.jitter_p95_ms == pytest.approx(30, abs=0.5)


def test_a_slow_shift_of_the_clocks_is_forgotten_after_the_window() -> None:
    arrivals = Arrivals(window_s=10.0)
    arrive(arrivals, *range(200))
    arrive(arrivals, *range(200, 2000), late_s=0.05)
    assert arrivals.jitter_ms < 0.1


def test_a_new_tier_is_not_jitter() -> None:
    arrivals = Arrivals()
    arrive(arrivals, *range(100), ahead_s=2.5, tier="defensive")
    arrive(arrivals, *range(100, 200), ahead_s=1.0, tier="normal")
    assert arrivals.summary().jitter_p99_ms <= 0.25


def test_a_chunk_after_its_time_is_an_underrun_once() -> None:
    arrivals = Arrivals()
    arrive(arrivals, *range(10))
    # Two seconds of nothing, then everything at once.
    for chunk_id in range(10, 30):
        arrivals.add(chunk_id, tier="normal", received_s=2.0)
    assert arrivals.underruns == 1
    arrive(arrivals, *range(30, 60), ahead_s=1.0)
    assert arrivals.underruns == 1


def test_the_buffer_is_what_came_and_is_not_over() -> None:
    arrivals = Arrivals()
    assert arrivals.buffer_s(0.0) == 0.0
    for chunk_id in range(10):
        arrivals.add(chunk_id, tier="normal", received_s=50.0)
    assert arrivals.buffer_s(50.0) == pytest.approx(1.0)
    assert arrivals.buffer_s(50.75) == pytest.approx(0.25)
    assert arrivals.buffer_s(60.0) == 0.0
    assert arrivals.next_id == 10


def test_first_audio_is_measured_from_connecting() -> None:
    arrivals = Arrivals()
    arrivals.connecting(10.0)
    arrivals.connecting(11.0)
    arrivals.add(3, tier="normal", received_s=10.2, latency_s=0.004)
    summary = arrivals.summary()
    assert summary.first_audio_ms == pytest.approx(200)
    assert summary.latency_p99_ms == pytest.approx(4, abs=0.3)


def test_reconnections_are_counted_with_those_that_went_on() -> None:
    arrivals = Arrivals()
    for recovered in (True, False, None):
        arrivals.reconnected(recovered=recovered)
    assert (arrivals.reconnects, arrivals.recovered) == (3, 1)


def test_percentiles_are_those_of_the_values() -> None:
    histogram = JitterHistogram()
    assert histogram.percentile_ms(0.5) == 0.0
    for value in range(1, 101):
        histogram.add(float(value))
    assert histogram.percentile_ms(0.5) == pytest.approx(50, abs=0.3)
    assert histogram.percentile_ms(0.99) == pytest.approx(99, abs=0.3)
    histogram.add(1e9)
    assert histogram.percentile_ms(1.0) == pytest.approx(2000, abs=0.3)
