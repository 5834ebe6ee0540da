from __future__ import annotations

import pytest

from services.runtime.bus.nats.bus_clock import WINDOW_S, BusClock, written_s

SERVER_S = 1_763_900_000.0
"""The server's clock at monotonic 0."""


def test_a_clock_that_has_heard_nothing_says_nothing() -> None:
    assert BusClock().now_s(5.0) is None


def test_the_quickest_message_counts() -> None:
    clock = BusClock()
    clock.heard(SERVER_S + 1.0, 3.0)
    assert clock.now_s(10.0) == SERVER_S + 8.0
    clock.heard(SERVER_S + 4.0, 4.01)
    clock.heard(SERVER_S + 5.0, 9.0)
    assert clock.now_s(10.0) == pytest.approx(SERVER_S + 9.99)


def test_a_server_clock_that_is_set_forward_is_followed_with_the_next_message() -> None:
    clock = BusClock()
    clock.heard(SERVER_S, 0.0)
    clock.heard(SERVER_S + 3601.0, 1.0)
    assert clock.now_s(2.0) == SERVER_S + 3602.0


def test_a_server_clock_that_is_set_back_is_followed_with_the_next_answer() -> None:
    clock = BusClock()
    clock.heard(SERVER_S, 0.0)
    clock.answered(SERVER_S - 3599.0, 0.99, 1.0)
    assert clock.now_s(2.0) == SERVER_S - 3598.0


def test_a_slow_answer_changes_nothing() -> None:
    clock = BusClock()
    clock.heard(SERVER_S, 0.0)
    clock.answered(SERVER_S + 1.5, 1.0, 3.0)
    assert clock.now_s(4.0) == SERVER_S + 4.0


def test_without_answers_a_clock_that_is_set_back_is_followed_within_two_windows() -> None:
    clock = BusClock()
    clock.heard(SERVER_S, 0.0)
    for second in range(1, int(2 * WINDOW_S) + 2):
        clock.heard(SERVER_S - 100.0 + second, float(second))
    assert clock.now_s(70.0) == SERVER_S - 30.0


def test_times_are_read_as_jetstream_writes_them() -> None:
    assert written_s("1970-01-01T00:00:01.500000169Z") == pytest.approx(1.5)
    for nonsense in (None, 3, "", "yesterday", "2026-13-01T00:00:00Z"):
        assert written_s(nonsense) is None
