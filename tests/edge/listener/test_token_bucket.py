from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.listener.token_bucket import TokenBucket


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    bucket = TokenBucket(50, 25)
    assert sum(bucket.take(100.0) for _ in range(100)) == 25
    assert sum(bucket.take(100.1) for _ in range(100)) == 5
    assert sum(bucket.take(110.0) for _ in range(100)) == 25


def test_exactly_one_tick_brings_exactly_one_token_at_ten_a_second() -> None:
    bucket = TokenBucket(10, 1)
    assert bucket.take(0.0)
    assert all(bucket.take(tick / 10) for tick in range(1, 1000))


def test_taking_more_than_there_is_takes_nothing() -> None:
    bucket = TokenBucket(1, 5)
    assert not bucket.take(0, 6)
    assert bucket.take(0, 5)


def test_a_clock_that_stands_or_goes_back_brings_nothing() -> None:
    bucket = TokenBucket(10, 1)
    assert bucket.take(100)
    assert not bucket.take(100)
    assert not bucket.take(50)
    assert not bucket.take(100.05)


@given(st.floats(0.1, 1000), st.integers(1, 100), st.lists(st.floats(0, 2), max_size=100))
def test_no_more_than_burst_and_rate_allow_passes(rate: float, burst: int, waits_s: list[float]) -> None:
    bucket = TokenBucket(rate, burst)
    now_s, passed = 0.0, 0
    for wait_s in waits_s:
        now_s += wait_s
        while bucket.take(now_s):
            passed += 1
    assert passed <= burst + rate * now_s + 1e-3 * (len(waits_s) + 1)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_senseless_buckets_are_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        TokenBucket(rate, burst)
