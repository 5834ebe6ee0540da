from __future__ import annotations

import json

import pytest

from services.client.statistics import Arrivals
from services.loadtest.tally import MAX_ERRORS, Histogram, Position, Tally


def hear(tally: Tally, position: Position, arrivals: list[tuple[int, float]]) -> None:
    for chunk_id, now_s in arrivals:
        tally.chunk(position, chunk_id, 1, now_s)


def steady(first_id: int, count: int, began_s: float = 100.0) -> list[tuple[int, float]]:
    return [(first_id + number, began_s + number * 0.1) for number in range(count)]


def test_percentiles_are_accurate_to_two_percent() -> None:
    histogram = Histogram()
    for value in range(1, 1001):
        histogram.add(value)
    for share in (0.05, 0.5, 0.95, 0.99, 1.0):
        assert histogram.percentile_ms(share) == pytest.approx(1000 * share, rel=0.03)
    assert Histogram().percentile_ms(0.5) is None
    assert list(histogram.figures_ms()) == ["p50", "p95", "p99", "max"]
    assert histogram.figures_ms()["p95"] == pytest.approx(950, rel=0.03)
    assert set(Histogram().figures_ms().values()) == {None}


def test_a_steady_stream_has_no_fault() -> None:
    tally, position = Tally(), Position(began_s=99.75)
    hear(tally, position, steady(1000, 200))
    assert (tally.heard, tally.chunks) == (1, 200)
    assert (tally.missing, tally.gaps, tally.repeats, tally.underruns) == (0, 0, 0, 0)
    assert tally.first_audio_ms.percentile_ms(1.0) == pytest.approx(250, rel=0.03)
    assert tally.jitter_ms.percentile_ms(1.0) == pytest.approx(0.1)


def test_missing_and_repeated_chunks_are_counted() -> None:
    tally, position = Tally(), Position(began_s=100.0)
    hear(tally, position, [(1, 100.0), (2, 100.1), (5, 100.4), (5, 100.4), (9, 100.8)])
    assert (tally.chunks, tally.gaps, tally.missing, tally.repeats) == (4, 2, 5, 1)


def test_a_late_chunk_is_one_underrun() -> None:
    tally, position = Tally(), Position(began_s=100.0)
    hear(tally, position, [(1, 100.0), (2, 100.1), (3, 100.5), (4, 100.6), (5, 100.7)])
    assert tally.underruns == 1


def test_jitter_is_lateness_against_the_least_delay_of_the_last_seconds() -> None:
    tally, position = Tally(), Position(began_s=100.0)
    arrivals = steady(1, 100)
    arrivals[60] = (arrivals[60][0], arrivals[60][1] + 0.03)
    hear(tally, position, arrivals)
    assert tally.jitter_ms.percentile_ms(1.0) == pytest.approx(30, rel=0.03)
    # Chunks are early while the buffer fills; these do not count.
    assert tally.jitter_ms.counts.total() == 79


def test_a_splice_replaces_chunks_that_were_sent() -> None:
    tally, position = Tally(), Position(began_s=100.0)
    hear(tally, position, steady(1, 10))
    tally.splice(position, 6)
    hear(tally, position, [(number, 101.0 + number / 100) for number in range(6, 12)])
    assert (tally.repeats, tally.missing, position.next_id) == (0, 0, 12)


def test_gaps_repeats_and_underruns_are_counted_as_in_the_client() -> None:
    # Two counters of the same events must agree.
    arrivals = [(1, 10.0), (2, 10.1), (4, 10.35), (4, 10.36), (5, 10.9), (6, 10.9), (7, 10.95), (9, 11.6)]
    tally, position, client = Tally(), Position(began_s=9.9), Arrivals()
    hear(tally, position, arrivals)
    for chunk_id, now_s in arrivals:
        client.add(chunk_id, tier="normal", received_s=now_s)
    summary = client.summary()
    for name in ("chunks", "gaps", "repeats", "underruns"):
        assert getattr(tally, name) == getattr(summary, name), name
    assert tally.missing == summary.missing_chunks


def test_sums_survive_json_and_add_up() -> None:
    one, two = Tally(listeners=3), Tally(listeners=4)
    hear(one, Position(99.0), steady(1, 50))
    hear(two, Position(99.5), steady(1, 70))
    two.failed("the edge answered 503")
    two.reconnected(Position(0.0), recovered=True)
    total = Tally.from_json(json.loads(json.dumps(one.to_json())))
    total.add(Tally.from_json(json.loads(json.dumps(two.to_json()))))
    assert (total.listeners, total.heard, total.chunks) == (7, 2, 120)
    assert (total.reconnects, total.recovered) == (1, 1)
    assert total.errors == {"the edge answered 503": 1}
    assert total.first_audio_ms.counts.total() == 2


def test_the_number_of_different_errors_is_bounded() -> None:
    tally = Tally()
    for number in range(100):
        tally.failed(f"port {number}")
    assert len(tally.errors) == MAX_ERRORS + 1
    assert tally.errors["other"] == 100 - MAX_ERRORS
