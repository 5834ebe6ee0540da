"""Pure. The jobs that a worker holds: in which lane they wait, and which of them are rendered next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from services.contract.job import RenderJob
from services.contract.subjects import LANES, Lane
from services.runtime.bus import Job

PRESSING_S: Final = 3.0
"""A block presses from this long before it is due. Asked for five seconds ahead, it is usually rendered by then."""
BLOCK_S: Final = 1.0
"""How long a block plays: an edge can wait for it until its end, and should not wait beyond its beginning."""
PRESSING_ATTEMPT: Final = 2
"""The ask from which on a block presses, if its edge does not say how long it can wait: edges ask each second."""


@dataclass(eq=False, slots=True)
class Held:
    """A job in hand.

    Attributes:
        job: the bus's message.
        lane: that it came by.
        request: what it asks for.
        fetched_s: when it came, by the worker's clock.
    """

    job: Job
    lane: Lane
    request: RenderJob
    fetched_s: float

    def left_s(self, now_s: float) -> float | None:
        """For how long the edge can still wait for the end of the block; None: it did not say."""
        return None if self.job.left_s is None else self.job.left_s - (now_s - self.fetched_s)


class JobLanes:
    """Jobs in hand: those that wait, by lane, and those that are rendered or published and not settled yet."""

    def __init__(self) -> None:
        self._waiting: dict[Lane, deque[Held]] = {lane: deque() for lane in LANES}
        self._in_hand: set[Held] = set()

    def keep(self, job: Job, lane: Lane, request: RenderJob, now_s: float) -> None:
        """Take a job that was fetched: it waits in its lane."""
        held = Held(job, lane, request, now_s)
        self._in_hand.add(held)
        self._waiting[lane].append(held)

    def capacity(self, lane: Lane, limit: int) -> int:
        """How many more jobs a lane takes if it may hold `limit`: one batch, because other workers may be idle."""
        return max(0, limit - len(self._waiting[lane]))

    def next_batch(self, limit: int, now_s: float) -> list[Held]:
        """Take up to `limit` waiting jobs out of the lanes, see `choose`. They stay in hand until they are settled."""

        def pressing(held: Held) -> bool:
            return presses(held.request, held.left_s(now_s))

        return choose(list(self._waiting.values()), limit, pressing=pressing)

    def take_waiting(self) -> list[Held]:
        """Take all waiting jobs out of the lanes, to give them back. They stay in hand until they are settled."""
        waiting = [held for lane in self._waiting.values() for held in lane]
        for lane in self._waiting.values():
            lane.clear()
        return waiting

    def settle(self, held: Held) -> None:
        """Let a job go: it was acked, dropped, given back or lost."""
        self._in_hand.discard(held)

    @property
    def in_hand(self) -> list[Held]:
        """All jobs that are not settled."""
        return list(self._in_hand)


class _Delivered(Protocol):
    """The part of a message that `choose` reads."""

    @property
    def deliveries(self) -> int:
        """How often it has been delivered, this time included."""
        ...


class _InHand(Protocol):
    """The part of a job that `choose` reads."""

    @property
    def job(self) -> _Delivered:
        """Its message."""
        ...


def choose[Waiting: _InHand](
    lanes: Sequence[deque[Waiting]], limit: int, *, pressing: Callable[[Waiting], bool] = lambda _: False
) -> list[Waiting]:
    """Take up to `limit` jobs out of the lanes.

    A job that was delivered before is rendered alone: it may have ended the worker that had it, and must not end its
    neighbours' too. It goes before its lane, because it is older, and after the jobs of more urgent lanes.

    Pressing jobs go before all others, whatever their lane: new listeners may wait; existing listeners must not hear a
    loop.

    Args:
        lanes: waiting jobs, the most urgent lane first.
        limit: jobs of the batch at most.
        pressing: whether a job presses.
    """
    for number, lane in enumerate(lanes):
        for held in lane:
            if held.job.deliveries > 1:
                lane.remove(held)
                return [held]
        redelivered = [held for later in lanes[number + 1 :] for held in later if held.job.deliveries > 1]
        if lane and redelivered and not any(map(pressing, redelivered)):
            return [lane.popleft() for _ in range(min(limit, len(lane)))]
    batch: list[Waiting] = []
    for lane in lanes[1:]:
        taken = [held for held in lane if pressing(held)][: limit - len(batch)]
        for held in taken:
            lane.remove(held)
        batch += taken
    for lane in lanes:
        while lane and len(batch) < limit:
            batch.append(lane.popleft())
    return batch


def presses(request: RenderJob, left_s: float | None) -> bool:
    """Whether a block is due so soon that its listeners will miss it unless it is rendered now.

    Args:
        request: the ask.
        left_s: for how long the edge can still wait; None: it did not say.
    """
    if left_s is None:
        return request.attempt >= PRESSING_ATTEMPT
    return left_s - BLOCK_S < PRESSING_S
