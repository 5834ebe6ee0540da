"""What a worker renders next. Pure: the shell (worker.py) fetches, renders and settles."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final, Protocol

from services.contract.timebase import due_s, first_tick

BATCH_S: Final = 0.125
"""A batch is as large as renders in so long: larger ones gain nothing, and an urgent block waits for half of one."""
MAX_BATCH: Final = 256
PRESSING_S: Final = 3.0
"""Before a block is due. Asked for five seconds ahead, it has usually been rendered four seconds before."""
FIRST_BATCH: Final = 8
"""Until the speed is known."""
ACK_WAIT_S: Final = 1.0
IN_PROGRESS_S: Final = 0.4
MAX_DELIVERIES: Final = 4
"""A job delivered more often has cost several workers their lives, or none can finish it in time."""


class Delivered(Protocol):
    """What is asked of a job's message."""

    @property
    def deliveries(self) -> int:
        """How often it has been delivered, this time included."""
        ...


class InHand(Protocol):
    """A job that a worker holds."""

    @property
    def job(self) -> Delivered:
        """Its message."""
        ...


def batch_limit(capacity_streams: float, *, fixed: int | None, memory_limit: int) -> int:
    """How many blocks the next batch may have.

    Args:
        capacity_streams: streams in real time, as measured; 0 before anything was.
        fixed: what the operator has set; None follows the speed.
        memory_limit: what has fitted into the device's memory.
    """
    if fixed is not None:
        return min(fixed, memory_limit)
    wanted = int(capacity_streams * BATCH_S) if capacity_streams else FIRST_BATCH
    return max(1, min(wanted, memory_limit, MAX_BATCH))


def choose[Held: InHand](
    lanes: Sequence[deque[Held]], limit: int, *, pressing: Callable[[Held], bool] = lambda _: False
) -> list[Held]:
    """Take up to `limit` jobs out of the lanes; one that has come back is alone.

    Alone, because what cost one worker its life must not take its neighbours along a second time. It is older than what
    else its lane holds, but somebody waits for what stands in a lane before its own: that goes first, and by itself.

    What presses comes before all that does not, whatever its lane: whoever begins may wait, before somebody who listens
    hears a loop.
    """
    for number, lane in enumerate(lanes):
        for held in lane:
            if held.job.deliveries > 1:
                lane.remove(held)
                return [held]
        back = [held for later in lanes[number + 1 :] for held in later if held.job.deliveries > 1]
        if lane and back and not any(map(pressing, back)):
            return [lane.popleft() for _ in range(min(limit, len(lane)))]
    batch: list[Held] = []
    for lane in lanes[1:]:
        taken = [held for held in lane if pressing(held)][: limit - len(batch)]
        for held in taken:
            lane.remove(held)
        batch += taken
    for lane in lanes:
        while lane and len(batch) < limit:
            batch.append(lane.popleft())
    return batch


def presses(block: int, now_s: float) -> bool:
    """Whether a block that somebody listens for will soon be missed."""
    return due_s(first_tick(block)) - now_s < PRESSING_S


class Verdict(Enum):
    """What to do with a job."""

    RENDER = auto()
    LATE = auto()
    """Its second is over: nobody can hear it any more."""
    EXHAUSTED = auto()
    """Delivered too often."""


def judge(block: int, deliveries: int, now_s: float) -> Verdict:
    """Whether a block is worth rendering at `now_s` (unix seconds)."""
    if due_s(first_tick(block + 1)) <= now_s:
        return Verdict.LATE
    return Verdict.EXHAUSTED if deliveries > MAX_DELIVERIES else Verdict.RENDER


def follow_speed(capacity_streams: float, blocks: int, render_s: float) -> float:
    """The capacity after a batch of `blocks` took `render_s`.

    In the logarithm, so that one stall weighs no more than one lucky batch.
    """
    speed = blocks / max(render_s, 1e-6)
    return math.exp(0.9 * math.log(capacity_streams or speed) + 0.1 * math.log(speed))
