from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.spec import StreamSpec
from services.edge.stream.demand import LEAD_S, StreamDemand, ask_delay_s
from tests.edge.support import SPEC

NOW_S = 1_763_900_000.0
"""A block's first moment."""
B = int(NOW_S)


def asks(demand: StreamDemand, now_s: float, have: set[int]) -> list[tuple[str, int, int]]:
    """(lane, block relative to B, attempt) of the asks that are due."""
    due = demand.due(now_s, "r1", have.__contains__)
    return [(ask.lane, ask.job.block - B, ask.job.attempt) for ask in due]


def demand_of(spec: StreamSpec = SPEC, edge: str = "edge-1") -> StreamDemand:
    return StreamDemand(spec, edge)


def test_the_first_blocks_of_a_new_stream_are_asked_for_without_delay_and_the_rest_after_the_first_arrival() -> None:
    demand = demand_of()
    demand.hurry(B)
    first = asks(demand, NOW_S + 0.05, set())
    assert [(lane, block) for lane, block, _ in first] == [("now", 0), ("now", 1), ("ahead", 2)]
    assert asks(demand, NOW_S + 0.06, set()) == []
    rest = asks(demand, NOW_S + 0.1, {B})
    assert [(lane, block) for lane, block, _ in rest] == [("ahead", 3), ("ahead", 4)]


def test_a_new_listener_of_a_playing_stream_holds_no_ask_back() -> None:
    demand = demand_of()
    asks(demand, NOW_S - 1.0, {B - 1})
    demand.hurry(B)
    lanes = {block: lane for lane, block, _ in asks(demand, NOW_S + 0.7, set())}
    assert lanes == {0: "now", 1: "now", 2: "ahead", 3: "ahead", 4: "ahead"}


def test_later_blocks_are_asked_for_five_seconds_before_they_are_due_and_after_the_edges_own_delay() -> None:
    demand = demand_of()
    have = {B + offset for offset in range(5)}
    assert 0 < demand.delay_s < 1.0
    assert asks(demand, NOW_S + demand.delay_s - 0.001, have) == []
    assert asks(demand, NOW_S + demand.delay_s + 0.001, have) == [("ahead", 5, 0)]


def test_an_ask_says_how_long_the_edge_can_wait() -> None:
    demand = demand_of()
    demand.hurry(B)
    waits = {ask.job.block - B: ask.wait_s for ask in demand.due(NOW_S + 0.3, "r1", set().__contains__)}
    assert waits[0] == pytest.approx(0.7)
    assert waits[1] == pytest.approx(1.7)


def test_a_block_that_has_arrived_is_not_asked_for() -> None:
    demand = demand_of()
    assert asks(demand, NOW_S + 0.6, {B + offset for offset in range(6)}) == []


def test_attempts_follow_the_clock_every_second() -> None:
    demand = demand_of()
    have = {B + offset for offset in range(20)} - {B + 5}
    seen = []
    for step in range(0, 600, 5):
        seen += [(step / 100, attempt) for _, _, attempt in asks(demand, NOW_S + step / 100, have)]
    assert [attempt for _, attempt in seen] == [0, 1, 2, 3, 4]
    for at_s, attempt in seen:
        assert at_s - demand.delay_s == pytest.approx(1.0 * attempt, abs=0.05)


def test_all_edges_ask_with_the_same_ids() -> None:
    one, other = demand_of(edge="a"), demand_of(edge="b")
    have: set[int] = set()
    ids: list[set[str]] = []
    for demand in (one, other):
        demand.hurry(B)
        found = set()
        for step in range(0, 2000, 10):
            found |= {ask.message_id for ask in demand.due(NOW_S + step / 100, "r1", have.__contains__)}
        ids.append(found)
    assert f"r1.now.{SPEC.stream_id}.{B}.20" in ids[0]
    # They start at different moments, so at the two ends one may be ahead of the other.
    assert len(ids[0] & ids[1]) >= 0.75 * len(ids[0] | ids[1])


def test_an_edge_that_joins_late_does_not_count_from_zero() -> None:
    demand = demand_of()
    late = asks(demand, NOW_S + 2.0, {B + 2, B + 3, B + 4, B + 6, B + 7})
    assert [(block, attempt) for _, block, attempt in late] == [(5, 1)]


def test_a_block_that_is_nearly_over_is_not_asked_for() -> None:
    demand = demand_of()
    demand.hurry(B)
    assert ("now", 0, 22) in asks(demand, NOW_S + 0.7, set())
    late = demand_of()
    late.hurry(B)
    assert 0 not in [block for _, block, _ in asks(late, NOW_S + 0.9, set())]


def test_the_subject_names_revision_lane_stream_and_block() -> None:
    demand = demand_of()
    demand.hurry(B)
    ask = next(iter(demand.due(NOW_S, "r1", lambda _: False)))
    assert ask.subject == f"auralis.render.r1.now.c-dorian-70-50-drift-0.{B}"
    assert ask.message_id == f"r1.now.c-dorian-70-50-drift-0.{B}.20"
    assert ask.job.encode() == b'{"v":1,"stream":"c-dorian-70-50-drift-0","block":%d,"attempt":20}' % B


def test_another_revision_is_asked_although_the_first_was() -> None:
    demand = demand_of()
    have = set(range(B, B + 5))
    assert [ask.revision for ask in demand.due(NOW_S + 0.99, "r1", have.__contains__)] == ["r1"]
    assert [ask.revision for ask in demand.due(NOW_S + 0.99, "r2", have.__contains__)] == ["r2"]


def test_when_a_block_was_first_asked_for_is_known_until_it_is_over() -> None:
    demand = demand_of()
    demand.hurry(B)
    list(demand.due(NOW_S + 0.1, "r1", lambda _: False))
    assert demand.asked_at(B, "r1") == NOW_S + 0.1
    assert demand.asked_at(B + 50, "r1") is None
    list(demand.due(NOW_S + 2, "r1", lambda _: False))
    assert demand.asked_at(B, "r1") is None


@given(st.lists(st.floats(0.001, 0.4), max_size=200), st.sets(st.integers(-2, 40)))
def test_nothing_is_asked_twice_too_early_or_too_late(steps_s: list[float], missing: set[int]) -> None:
    demand = demand_of()
    demand.hurry(B)
    now_s = NOW_S
    seen = set()
    for step_s in steps_s:
        now_s += step_s
        for ask in demand.due(now_s, "r1", lambda block: block - B not in missing):
            assert ask.job.block - B in missing
            assert ask.message_id not in seen
            seen.add(ask.message_id)
            assert ask.job.block - LEAD_S <= now_s < ask.job.block + 1


@pytest.mark.parametrize("edges", [10, 100, 1_000])
def test_of_many_edges_a_few_ask_before_the_first_is_answered(edges: int) -> None:
    asking = []
    for stream in range(5):
        delays = [ask_delay_s(f"edge-{number}", f"stream-{stream}") for number in range(edges)]
        assert 0 <= min(delays) <= max(delays) < 1
        answered_s = min(delays) + 0.2
        asking.append(sum(delay_s < answered_s for delay_s in delays))
    assert 1 <= statistics.mean(asking) < 10


def test_the_delay_of_an_edge_is_always_the_same() -> None:
    assert ask_delay_s("a", "x") == ask_delay_s("a", "x") != ask_delay_s("a", "y")
