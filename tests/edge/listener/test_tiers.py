from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.listener.tiers import QUIET_S, WINDOW_CHUNKS, TierController, TierLimits

LIMITS = TierLimits.clamped("normal", min_capacity_ms=200, max_capacity_ms=3000)


def controller(initial: str = "normal") -> TierController:
    return TierController(TierLimits(initial, LIMITS.chunks))


def report_for(
    tiers: TierController, seconds: float, *, from_s: float, underruns: int = 0, jitter_ms: float = 2
) -> float:
    """Reports every 5 s, as players send them; returns the time of the last one."""
    now_s = from_s
    for step in range(round(seconds / 5)):
        now_s = from_s + 5 * (step + 1)
        tiers.on_report(round(now_s * 10), underruns, jitter_ms, now_s)
    return now_s


def test_the_tiers_are_5_10_15_and_25_chunks() -> None:
    assert LIMITS.chunks == {"minimal": 5, "normal": 10, "stable": 15, "defensive": 25}
    assert LIMITS.deepest == 25


def test_capacity_settings_clamp_every_tier() -> None:
    limits = TierLimits.clamped("normal", min_capacity_ms=750, max_capacity_ms=1200)
    assert limits.chunks == {"minimal": 8, "normal": 10, "stable": 12, "defensive": 12}


def test_five_percent_underruns_promote() -> None:
    tiers = controller("stable")
    tiers.on_report(1000, 0, 2, 100)
    tiers.on_report(1049, 2, 2, 105)
    assert tiers.tier == "stable"
    tiers.on_report(1050, 3, 2, 105.1)
    assert tiers.tier == "defensive"
    assert tiers.target(105.1) == 25


def test_underruns_of_a_few_chunks_do_not_promote() -> None:
    tiers = controller()
    tiers.on_report(1000, 0, 2, 100)
    tiers.on_report(1010, 2, 2, 101)
    assert tiers.tier == "normal"


def test_one_report_per_chunk_with_every_fifth_an_underrun_promotes_within_fifty_chunks() -> None:
    tiers = controller("stable")
    underruns = 0
    for chunk in range(50):
        underruns += chunk % 5 == 4
        tiers.on_report(1000 + chunk, underruns, 100.0, 100 + chunk / 10)
    assert tiers.tier == "defensive"


def test_jitter_that_outgrows_the_tier_promotes_as_far_as_needed() -> None:
    tiers = controller("minimal")
    for step in range(30):
        tiers.on_delay(1000.0 if step % 2 else 900.0, 100 + step)
    assert tiers.tier == "stable"


def test_the_deepest_tier_is_not_left_upward() -> None:
    tiers = controller("defensive")
    for step in range(60):
        tiers.on_report(1000 + step, step, 5000, 100 + step / 10)
    assert tiers.tier == "defensive"


def test_a_promotion_starts_the_judgement_anew() -> None:
    tiers = controller("normal")
    tiers.on_report(1000, 0, 2, 100)
    tiers.on_report(1050, 10, 2, 105)
    assert tiers.tier == "stable"
    tiers.on_report(1055, 10, 2, 105.5)
    assert tiers.tier == "stable"


def test_a_long_quiet_time_with_reports_demotes_one_tier() -> None:
    tiers = controller("stable")
    now_s = report_for(tiers, QUIET_S - 5, from_s=100)
    assert tiers.tier == "stable"
    report_for(tiers, 15, from_s=now_s)
    assert tiers.tier == "normal"


def test_time_alone_never_demotes() -> None:
    tiers = controller("defensive")
    for second in range(3600):
        tiers.on_delivered(10)
        assert tiers.target(100.0 + second) == 25
    assert tiers.tier == "defensive"


def test_a_promoted_listener_needs_a_longer_quiet_time() -> None:
    tiers = controller("stable")
    tiers.on_report(1000, 0, 2, 100)
    tiers.on_report(1050, 5, 2, 105)
    assert tiers.tier == "defensive"
    now_s = report_for(tiers, QUIET_S + 20, from_s=105, underruns=5)
    assert tiers.tier == "defensive"
    report_for(tiers, QUIET_S, from_s=now_s, underruns=5)
    assert tiers.tier == "stable"


def test_jitter_near_the_lower_tier_keeps_the_higher_one() -> None:
    tiers = controller("normal")
    report_for(tiers, 20 * QUIET_S, from_s=100, jitter_ms=250)
    assert tiers.tier == "normal"


def test_a_demoted_listener_runs_down_slowly() -> None:
    tiers = controller("defensive")
    now_s = 100.0
    while tiers.tier == "defensive":
        now_s = report_for(tiers, 5, from_s=now_s)
    targets = [tiers.target(now_s + tick / 10) for tick in range(100)]
    assert targets[0] == 25
    assert targets[-1] == 15
    # The live tick moves on by one each time: at least every second one brings a chunk.
    steps = [before - after for before, after in pairwise(targets)]
    assert max(steps) == 1
    assert all(steps[i] + steps[i + 1] < 2 for i in range(len(steps) - 1))


def test_a_restarted_player_may_count_from_zero() -> None:
    tiers = controller()
    assert tiers.on_report(1000, 7, 2, 100) == 7
    assert tiers.on_report(1050, 0, 2, 105) == 0
    assert tiers.on_report(1100, 1, 2, 110) == 1


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 10), st.floats(0, 5000), st.floats(0.01, 30)), max_size=100)
)
def test_any_report_changes_the_tier_only_with_evidence_and_to_one_of_the_four(
    reports: list[tuple[int, int, float, float]],
) -> None:
    tiers = controller()
    chunk, underruns, now_s = 1000, 0, 100.0
    for played, fresh, jitter_ms, wait_s in reports:
        before = tiers.tier
        assert tiers.target(now_s) >= LIMITS.chunks[before]
        assert tiers.tier == before
        chunk, underruns, now_s = chunk + played, underruns + fresh, now_s + wait_s
        tiers.on_report(chunk, underruns, jitter_ms, now_s)
        assert tiers.tier in LIMITS.chunks
        assert len(tiers.tracker) <= WINDOW_CHUNKS


@pytest.mark.parametrize("initial", ["minimal", "normal", "stable", "defensive"])
def test_a_listener_begins_with_the_initial_tier(initial: str) -> None:
    assert controller(initial).target(0) == LIMITS.chunks[initial]
