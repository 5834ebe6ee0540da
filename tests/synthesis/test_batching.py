from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import pytest

from services.synthesis.batching import (
    FIRST_BATCH,
    MAX_BATCH,
    MAX_DELIVERIES,
    Verdict,
    batch_limit,
    choose,
    follow_speed,
    judge,
    presses,
)


@dataclass(frozen=True)
class Message:
    deliveries: int = 1


@dataclass(frozen=True)
class Held:
    name: str
    job: Message = Message()


def lanes(now: list[Held], ahead: list[Held]) -> list[deque[Held]]:
    return [deque(now), deque(ahead)]


def test_urgent_jobs_come_first_and_the_rest_of_the_batch_is_filled_up() -> None:
    both = lanes([Held("n1")], [Held("a1"), Held("a2"), Held("a3")])
    assert [held.name for held in choose(both, 3)] == ["n1", "a1", "a2"]
    assert [held.name for held in choose(both, 3)] == ["a3"]
    assert choose(both, 3) == []


def test_a_job_that_has_come_back_is_rendered_alone_and_before_its_lane() -> None:
    both = lanes([], [Held("a1"), Held("back", Message(2)), Held("a2")])
    assert [held.name for held in choose(both, 8)] == ["back"]
    assert [held.name for held in choose(both, 8)] == ["a1", "a2"]


def test_urgent_jobs_do_not_wait_for_those_that_have_come_back() -> None:
    # A renderer has died, and all that it held is here at once, each to be rendered alone.
    back = [Held(f"b{number}", Message(2)) for number in range(30)]
    both = lanes([Held("n1"), Held("n2"), Held("n3")], [*back, Held("a1")])
    assert [held.name for held in choose(both, 2)] == ["n1", "n2"]
    assert [held.name for held in choose(both, 2)] == ["n3"]
    assert [held.name for held in choose(both, 2)] == ["b0"]
    both[0].append(Held("n4"))
    assert [held.name for held in choose(both, 2)] == ["n4"]


def test_an_urgent_job_that_has_come_back_is_alone_too() -> None:
    both = lanes([Held("n1"), Held("back", Message(2))], [Held("a1")])
    assert [[held.name for held in choose(both, 8)] for _ in range(2)] == [["back"], ["n1", "a1"]]


def test_whoever_begins_waits_before_a_listener_hears_a_loop() -> None:
    both = lanes([Held("n1"), Held("n2")], [Held("a1"), Held("soon"), Held("a2"), Held("sooner")])

    def pressing(held: Held) -> bool:
        return held.name.startswith("soon")

    assert [held.name for held in choose(both, 3, pressing=pressing)] == ["soon", "sooner", "n1"]
    assert [held.name for held in choose(both, 3, pressing=pressing)] == ["n2", "a1", "a2"]
    # More than a batch of them: the rest stay first.
    both = lanes([Held("n1")], [Held("soon1"), Held("soon2")])
    assert [held.name for held in choose(both, 1, pressing=pressing)] == ["soon1"]
    assert [held.name for held in choose(both, 2, pressing=pressing)] == ["soon2", "n1"]


def test_a_block_presses_from_three_seconds_before_it_is_due_on() -> None:
    assert not presses(100, 97.0)
    assert presses(100, 97.01)


@pytest.mark.parametrize(
    ("capacity", "fixed", "memory", "expected"),
    [
        (0.0, None, MAX_BATCH, FIRST_BATCH),
        (80.0, None, MAX_BATCH, 10),
        (3.0, None, MAX_BATCH, 1),
        (1e6, None, MAX_BATCH, MAX_BATCH),
        (80.0, None, 4, 4),
        (80.0, 16, MAX_BATCH, 16),
        (80.0, 16, 2, 2),
    ],
)
def test_a_batch_is_what_renders_in_an_eighth_of_a_second_and_fits(
    capacity: float, fixed: int | None, memory: int, expected: int
) -> None:
    assert batch_limit(capacity, fixed=fixed, memory_limit=memory) == expected


def test_a_block_is_rendered_until_its_second_is_over() -> None:
    assert judge(100, 1, 100.99) is Verdict.RENDER
    assert judge(100, 1, 101.0) is Verdict.LATE
    assert judge(100, MAX_DELIVERIES, 99.0) is Verdict.RENDER
    assert judge(100, MAX_DELIVERIES + 1, 99.0) is Verdict.EXHAUSTED
    # What is late is nobody's fault: it does not count against the stream.
    assert judge(100, MAX_DELIVERIES + 1, 101.0) is Verdict.LATE


def test_one_stall_hardly_changes_the_measured_speed() -> None:
    assert follow_speed(0.0, 10, 0.1) == pytest.approx(100.0)
    assert 75.0 < follow_speed(100.0, 10, 1.0) < 100.0
    speed = 100.0
    for _ in range(60):
        speed = follow_speed(speed, 10, 1.0)
    assert speed == pytest.approx(10.0, rel=0.01)
