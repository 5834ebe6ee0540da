from __future__ import annotations

import pytest

from services.runtime.clock_spread import MAX_CLOCKS, OWN, WINDOW_S, ClockSpread, describe


def spread(**ahead_s: float) -> ClockSpread:
    clocks = ClockSpread()
    for name, value in ahead_s.items():
        clocks.heard(name, value, 0.0)
    return clocks


def test_without_another_clock_there_is_nothing_to_compare() -> None:
    assert ClockSpread().differences(0.0) == {}


def test_a_clock_is_compared_with_the_median_of_all() -> None:
    assert spread(a=0.01, b=120.0, c=-0.01).differences(1.0) == pytest.approx(
        {OWN: -0.005, "a": 0.005, "b": 119.995, "c": -0.015}
    )


def test_the_own_clock_may_be_the_one_that_differs() -> None:
    differences = spread(a=7.0, b=7.1, c=6.9).differences(1.0)
    assert describe(differences, own="edge-1") == "edge-1 is 7.0 s behind the median of 4 clocks"


def test_of_two_clocks_both_are_named() -> None:
    assert describe(spread(a=4.0).differences(0.0), own="this edge") == (
        "this edge is 2.0 s behind, a is 2.0 s ahead of the median of 2 clocks"
    )


def test_clocks_that_agree_are_not_named() -> None:
    assert describe(spread(a=0.3, b=-0.3, c=0.49).differences(0.0), own="this edge") == ""
    assert describe({}, own="this edge") == ""


def test_of_many_clocks_the_worst_are_named() -> None:
    good = {str(number): 0.0 for number in range(20)}
    differences = good | {f"bad-{number}": float(number) for number in range(1, 6)}
    assert describe(differences, own="telemetry") == (
        "bad-5 is 5.0 s ahead of, bad-4 is 4.0 s ahead of, bad-3 is 3.0 s ahead of (and 2 more) the median of 25 clocks"
    )


def test_the_quickest_message_counts_until_it_is_old() -> None:
    clocks = spread(a=0.0, b=0.0, c=0.0)
    for second in range(1, int(WINDOW_S) + 1):
        for name in "bc":
            clocks.heard(name, 0.0, float(second))
        clocks.heard("a", -0.9, float(second))
    assert clocks.differences(WINDOW_S)["a"] == 0.0
    assert clocks.differences(WINDOW_S + 0.1)["a"] == -0.9


def test_a_clock_that_is_heard_no_more_is_forgotten() -> None:
    clocks = spread(a=0.0, b=9.0)
    clocks.heard("a", 0.0, WINDOW_S)
    assert set(clocks.differences(WINDOW_S + 1)) == {OWN, "a"}


def test_the_number_of_clocks_is_bounded() -> None:
    clocks = ClockSpread()
    for number in range(MAX_CLOCKS + 5):
        clocks.heard(str(number), 0.0, 0.0)
    assert len(clocks.differences(0.0)) == MAX_CLOCKS + 1
