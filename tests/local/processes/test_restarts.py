from hypothesis import given
from hypothesis import strategies as st

from services.local.processes.restarts import GiveUp, Restart, RestartPolicy, RestartState, describe_status

POLICY = RestartPolicy(first_delay_s=0.5, factor=2.0, max_delay_s=8.0, healthy_after_s=60.0, settings_within_s=30.0)


def test_the_wait_doubles_with_each_failure_up_to_a_bound() -> None:
    state = RestartState(POLICY)
    decisions = [state.ended(1, lived_s=0.1) for _ in range(6)]
    assert decisions == [Restart(delay_s, n) for n, delay_s in enumerate((0.5, 1, 2, 4, 8, 8), 1)]


def test_a_failure_after_a_long_life_counts_as_the_first() -> None:
    state = RestartState(POLICY)
    for _ in range(4):
        state.ended(1, lived_s=1.0)
    assert state.ended(1, lived_s=60.0) == Restart(0.5, 1)


def test_unusable_settings_are_not_restarted() -> None:
    decision = RestartState(POLICY).ended(2, lived_s=3.0)
    assert isinstance(decision, GiveUp)
    assert "settings" in decision.reason


def test_exit_status_2_after_a_long_life_is_an_ordinary_failure() -> None:
    assert RestartState(POLICY).ended(2, lived_s=31.0) == Restart(0.5, 1)


def test_an_end_without_error_is_restarted_too() -> None:
    assert RestartState(POLICY).ended(0, lived_s=5.0) == Restart(0.5, 1)


@given(failures=st.integers(1, 10**9))
def test_no_wait_is_longer_than_the_bound_or_shorter_than_the_first(failures: int) -> None:
    assert 0.5 <= POLICY.delay_s(failures) <= 8.0


def test_statuses_are_put_into_words() -> None:
    assert describe_status(3) == "exit status 3"
    assert describe_status(-15) == "SIGTERM"
    assert "memory" in describe_status(-9)
    assert describe_status(-200) == "signal 200"
