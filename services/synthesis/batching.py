"""Pure. How large a worker's batches are, and which jobs are worth rendering."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final

BATCH_S: Final = 0.125
"""Rendering time of a batch. Larger batches gain nothing, and an urgent block waits for half of one on average."""
MAX_BATCH: Final = 256
"""Blocks of a batch at most."""
FIRST_BATCH: Final = 8
"""Blocks of a batch before the speed is known."""
MEASURE_BLOCKS: Final = 4
"""Batches of this size and more measure the speed; in smaller ones fixed costs hide it."""
MEMORY_RETRY_S: Final = 60.0
"""How long after a batch did not fit into the device's memory the limit is doubled, and doubled again."""
ACK_WAIT_S: Final = 1.0
"""How long the bus waits for a worker's word about a job before it gives the job to another worker."""
IN_PROGRESS_S: Final = 0.4
"""Interval at which a worker reports the jobs in hand as in progress; well within ACK_WAIT_S."""
MAX_DELIVERIES: Final = 4
"""A job that was delivered more often has ended several workers, or no worker can finish it in time."""
LATE_BACK_S: Final = 1.0
"""How long a job that one worker has found late waits for the judgement of a second one."""

_NEW_WEIGHT: Final = 0.1
"""Weight of a new measurement of the speed against all earlier ones."""


def batch_limit(capacity_streams: float, *, fixed: int | None, memory_limit: int) -> int:
    """How many blocks the next batch may have.

    Args:
        capacity_streams: streams in real time, as measured; 0 before the first measurement.
        fixed: the operator's setting; None follows the speed.
        memory_limit: what has fitted into the device's memory.
    """
    if fixed is not None:
        return min(fixed, memory_limit)
    wanted = int(capacity_streams * BATCH_S) if capacity_streams else FIRST_BATCH
    return max(1, min(wanted, memory_limit, MAX_BATCH))


def follow_speed(capacity_streams: float, blocks: int, render_s: float) -> float:
    """The capacity after a batch of `blocks` took `render_s`.

    The mean is of logarithms, so that one stall weighs no more than one lucky batch.
    """
    speed = blocks / max(render_s, 1e-6)
    return math.exp((1 - _NEW_WEIGHT) * math.log(capacity_streams or speed) + _NEW_WEIGHT * math.log(speed))


class BatchSize:
    """How many blocks the next batch may have, by the measured speed and the device's memory.

    Args:
        fixed: the operator's setting, 1 to MAX_BATCH; None follows the speed.

    Attributes:
        capacity_streams: streams in real time, as measured; 0 before the first measurement.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.capacity_streams = 0.0
        self._fixed = None if fixed is None else max(1, min(fixed, MAX_BATCH))
        self._memory_limit = MAX_BATCH
        self._limited_s = 0.0

    @property
    def limit(self) -> int:
        """Blocks of the next batch at most."""
        return batch_limit(self.capacity_streams, fixed=self._fixed, memory_limit=self._memory_limit)

    def rendered(self, blocks: int, render_s: float) -> bool:
        """Note a batch of `blocks` that took `render_s`; whether it was large enough to measure the speed."""
        measures = blocks >= min(MEASURE_BLOCKS, self._fixed or MEASURE_BLOCKS)
        if measures:
            self.capacity_streams = follow_speed(self.capacity_streams, blocks, render_s)
        return measures

    def out_of_memory(self, blocks: int, now_s: float) -> int:
        """Note a batch of `blocks` that did not fit into the memory; the new limit, half of it."""
        self._memory_limit = max(1, blocks // 2)
        self._limited_s = now_s
        return self._memory_limit

    def retry_memory(self, now_s: float) -> None:
        """Double the limit by memory if some time has passed: what filled the memory may be gone."""
        if self._memory_limit < MAX_BATCH and now_s - self._limited_s >= MEMORY_RETRY_S:
            self._memory_limit = min(MAX_BATCH, 2 * self._memory_limit)
            self._limited_s = now_s


class Verdict(Enum):
    """What to do with a job."""

    RENDER = auto()
    LATE = auto()
    """The edge that asked for it waits no more, because its second is over there."""
    EXHAUSTED = auto()
    """It was delivered too often."""


def judge(deliveries: int, left_s: float | None) -> Verdict:
    """Whether a job is worth rendering.

    The worker's own clock has no say in it: it may be wrong, and so may the edge's.

    Args:
        deliveries: how often it has been delivered, this time included.
        left_s: for how long the edge can still wait; None: it did not say, so the bus alone drops what is too old.
    """
    if left_s is not None and left_s <= 0:
        return Verdict.LATE
    return Verdict.EXHAUSTED if deliveries > MAX_DELIVERIES else Verdict.RENDER
