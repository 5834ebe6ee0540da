from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.clock import JUMP_AFTER_S, JUMP_S, MAX_SLEW, SystemClock, unix_s


class Times:
    """A wall clock and a monotonic one, turned by hand."""

    def __init__(self, wall_s: float = 1_000_000.0) -> None:
        self.wall_s = wall_s
        self.monotonic_s = 50.0

    def clock(self) -> SystemClock:
        return SystemClock(wall=lambda: self.wall_s, monotonic=lambda: self.monotonic_s)

    def go_on(self, seconds: float, *, wall: float | None = None) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds if wall is None else wall


def test_the_clock_starts_at_wall_time_and_follows_it() -> None:
    times = Times()
    clock = times.clock()
    assert clock.now() == 1_000_000.0
    times.go_on(12.5)
    assert clock.now() == pytest.approx(1_000_012.5)
    assert clock.offset_s == pytest.approx(0, abs=1e-6)


def test_a_step_of_the_wall_clock_is_not_followed_at_once_but_reported() -> None:
    times = Times()
    clock = times.clock()
    times.wall_s += 5.0
    times.go_on(1.0)
    assert clock.now() == pytest.approx(1_000_001.0 + MAX_SLEW)
    assert clock.offset_s == pytest.approx(5.0 - MAX_SLEW)


def test_a_step_is_made_good_at_one_part_in_a_thousand() -> None:
    times = Times()
    clock = times.clock()
    times.wall_s += 0.5
    for _ in range(499):
        times.go_on(1.0)
        clock.now()
    assert clock.offset_s == pytest.approx(0.001, abs=1e-6)
    times.go_on(2.0)
    assert clock.now() == pytest.approx(times.wall_s)
    assert clock.offset_s == pytest.approx(0, abs=1e-6)


def test_a_step_back_never_turns_the_clock_back() -> None:
    times = Times()
    clock = times.clock()
    times.wall_s -= 3600.0
    previous = clock.now()
    for _ in range(100):
        times.go_on(0.1)
        now = clock.now()
        assert now - previous == pytest.approx(0.1 * (1 - MAX_SLEW), rel=1e-6)
        previous = now


def test_a_monotonic_clock_that_stands_still_or_goes_back_stops_ours() -> None:
    times = Times()
    clock = times.clock()
    first = clock.now()
    times.monotonic_s -= 10
    assert clock.now() == first
    assert clock.now() == first


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(-1000, 1000)),
        max_size=50,
    )
)
def test_whatever_the_wall_clock_does_ours_runs_within_a_thousandth_of_real_time(
    moves: list[tuple[float, float]],
) -> None:
    times = Times()
    clock = times.clock()
    previous = clock.now()
    for seconds, wall in moves:
        times.go_on(seconds, wall=wall)
        now = clock.now()
        slack = 1e-6
        assert seconds * (1 - MAX_SLEW) - slack <= now - previous <= seconds * (1 + MAX_SLEW) + slack
        previous = now


@pytest.mark.parametrize("step_s", [-3600.0, -60.0, -3.1, 3.1, 7.04, 60.0, 3600.0])
def test_a_large_step_is_followed_in_one_jump_and_durations_do_not_notice(step_s: float) -> None:
    times = Times()
    clock = times.clock()
    times.wall_s += step_s
    assert clock.jump() == 0, "it may be stepped back in a moment"
    before_s = clock.now()
    times.go_on(1.01 * JUMP_AFTER_S)
    jumped_s = clock.jump()
    assert jumped_s == pytest.approx(step_s, abs=0.051)
    assert clock.shift_s == jumped_s
    assert unix_s(clock) == pytest.approx(times.wall_s, abs=0.051)
    assert clock.now() - before_s == pytest.approx(1.01 * JUMP_AFTER_S, rel=2 * MAX_SLEW)
    # The rest is slewed, and nothing more is jumped.
    for _ in range(100):
        times.go_on(1.0)
        assert clock.jump() == 0
    assert unix_s(clock) == pytest.approx(times.wall_s)
    assert clock.offset_s == pytest.approx(0, abs=1e-6)


def test_a_sleep_stops_the_monotonic_clock_and_is_a_jump() -> None:
    times = Times()
    clock = times.clock()
    times.go_on(0.0, wall=600.0)
    clock.jump()
    times.go_on(1.01 * JUMP_AFTER_S)
    assert clock.jump() == 600.0


@pytest.mark.parametrize("step_s", [-JUMP_S, -1.0, 1.0, JUMP_S])
def test_a_small_step_is_not_jumped(step_s: float) -> None:
    times = Times()
    clock = times.clock()
    times.wall_s += step_s
    for _ in range(20):
        times.go_on(1.0)
        assert clock.jump() == 0
    assert clock.offset_s == pytest.approx(step_s - 20 * MAX_SLEW * (1 if step_s > 0 else -1))


def test_a_step_that_is_taken_back_at_once_is_not_jumped() -> None:
    times = Times()
    clock = times.clock()
    for step_s in (10.0, -10.0, 10.0, -10.0):
        times.wall_s += step_s
        assert clock.jump() == 0
        times.go_on(0.9 * JUMP_AFTER_S)
        assert clock.jump() == 0
    assert clock.shift_s == 0


def test_jumps_add_up_without_rounding() -> None:
    times = Times()
    clock = times.clock()
    for _ in range(1000):
        times.wall_s += 3.1
        clock.jump()
        times.go_on(1.01 * JUMP_AFTER_S)
        clock.jump()
    assert clock.shift_s * 10 == round(clock.shift_s * 10)
    assert unix_s(clock) == pytest.approx(times.wall_s, abs=0.051)


def test_the_real_clock_is_near_wall_time() -> None:
    assert SystemClock().now() == pytest.approx(time.time(), abs=0.5)
