"""Which jobs a worker takes next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import cast

from services.contract.job import RenderJob
from services.contract.spec import StreamSpec
from services.contract.subjects import Lane
from services.synthesis.job_lanes import Held as HeldJob
from services.synthesis.job_lanes import JobLanes, choose, presses


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


def test_a_redelivered_job_is_rendered_alone_and_before_its_lane() -> None:
    both = lanes([], [Held("a1"), Held("back", Message(2)), Held("a2")])
    assert [held.name for held in choose(both, 8)] == ["back"]
    assert [held.name for held in choose(both, 8)] == ["a1", "a2"]


def test_urgent_jobs_do_not_wait_for_redelivered_ones() -> None:
    # A worker has died, and all jobs that it held come together, each to be rendered alone.
    back = [Held(f"b{number}", Message(2)) for number in range(30)]
    both = lanes([Held("n1"), Held("n2"), Held("n3")], [*back, Held("a1")])
    assert [held.name for held in choose(both, 2)] == ["n1", "n2"]
    assert [held.name for held in choose(both, 2)] == ["n3"]
    assert [held.name for held in choose(both, 2)] == ["b0"]
    both[0].append(Held("n4"))
    assert [held.name for held in choose(both, 2)] == ["n4"]


def test_an_urgent_redelivered_job_is_alone_too() -> None:
    both = lanes([Held("n1"), Held("back", Message(2))], [Held("a1")])
    assert [[held.name for held in choose(both, 8)] for _ in range(2)] == [["back"], ["n1", "a1"]]


def test_blocks_that_press_go_before_those_of_new_listeners() -> None:
    both = lanes([Held("n1"), Held("n2")], [Held("a1"), Held("soon"), Held("a2"), Held("sooner")])

    def pressing(held: Held) -> bool:
        return held.name.startswith("soon")

    assert [held.name for held in choose(both, 3, pressing=pressing)] == ["soon", "sooner", "n1"]
    assert [held.name for held in choose(both, 3, pressing=pressing)] == ["n2", "a1", "a2"]
    # More than a batch of them: the rest stay first.
    both = lanes([Held("n1")], [Held("soon1"), Held("soon2")])
    assert [held.name for held in choose(both, 1, pressing=pressing)] == ["soon1"]
    assert [held.name for held in choose(both, 2, pressing=pressing)] == ["soon2", "n1"]


def test_a_block_presses_from_three_seconds_before_it_is_due() -> None:
    job = RenderJob(StreamSpec(), 100)
    assert not presses(job, 4.0)
    assert presses(job, 3.99)


def test_without_a_word_from_its_edge_a_block_presses_from_the_third_ask_on() -> None:
    assert not presses(RenderJob(StreamSpec(), 100, attempt=1), None)
    assert presses(RenderJob(StreamSpec(), 100, attempt=2), None)


class Job:
    """A message of the bus, delivered once."""

    data = b""
    deliveries = 1

    def __init__(self, left_s: float | None = None) -> None:
        self.left_s = left_s

    async def ack(self) -> None: ...
    async def drop(self) -> None: ...
    async def give_back(self, *, delay_s: float = 0.0) -> None: ...
    async def in_progress(self) -> None: ...


def filled(**blocks: list[int]) -> JobLanes:
    """Lanes with a job for each block, asked for at 99.0 by an edge with the same clock."""
    held = JobLanes()
    for lane, numbers in blocks.items():
        for number in numbers:
            job = Job(left_s=number + 1 - 99.0)
            held.keep(job, cast("Lane", lane), RenderJob(StreamSpec(), number, 0), 99.0)
    return held


def blocks_of(batch: list[HeldJob]) -> list[int]:
    return [held.request.block for held in batch]


def test_a_lane_takes_one_batch_and_no_more() -> None:
    held = filled(now=[100], ahead=[101, 102, 103])
    assert held.capacity("now", 3) == 2
    assert held.capacity("ahead", 3) == 0
    # The batch has become smaller meanwhile.
    assert held.capacity("ahead", 2) == 0


def test_a_batch_is_filled_with_pressing_blocks_then_from_now_then_from_ahead() -> None:
    held = filled(now=[110, 111], ahead=[112, 101, 113])
    assert blocks_of(held.next_batch(4, now_s=100.0)) == [101, 110, 111, 112]
    assert blocks_of(held.next_batch(4, now_s=100.0)) == [113]
    assert held.next_batch(4, now_s=100.0) == []


def test_a_job_stays_in_hand_until_it_is_settled() -> None:
    held = filled(now=[110], ahead=[111])
    [first] = held.next_batch(1, now_s=100.0)
    assert sorted(blocks_of(held.in_hand)) == [110, 111]
    held.settle(first)
    held.settle(first)
    assert blocks_of(held.in_hand) == [111]


def test_waiting_jobs_are_taken_out_to_be_given_back_and_rendered_ones_are_not() -> None:
    held = filled(now=[110, 111], ahead=[112])
    [rendered] = held.next_batch(1, now_s=100.0)
    waiting = held.take_waiting()
    assert blocks_of(waiting) == [111, 112]
    assert held.next_batch(8, now_s=100.0) == []
    assert set(held.in_hand) == {rendered, *waiting}
