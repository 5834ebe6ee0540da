"""Pure: what a simulation counts."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import Final

from services.contract.timebase import TICKS_PER_S, tick_at
from services.edge.stream.demand import LEAD_S
from services.edge.stream.ring import Added
from services.simulation.event_queue import START_S
from services.simulation.plan import SETTLE_S, Plan

JOINING_S: Final = 10.0
"""All listeners join within these seconds, which no real fleet ever sees."""
SETTLED_S: Final = JOINING_S + SETTLE_S
"""Seconds after the start from which asks, renders and blocks are counted."""


class Tally:
    """Counts of the whole fleet.

    Attributes:
        heard: ticks that streams with listeners played, summed over all edges.
        quiet: those of them without disturbance: all listeners have joined, and no outage has effects.
        patched_quiet, patched_disturbed: quiet and other ticks that played a loop.
        patched_beginning: quiet ticks that played a loop within `LEAD_S` of a stream's start on its edge.
        silent_ticks: ticks without any chunk.
        blocks: blocks that arrived, by what the ring did with them.
        lost_blocks: blocks that never arrived.
        full, lost_asks: asks that a full queue refused, and that an absent bus did not take.
        redelivered, expired, exhausted: jobs delivered again, too late, and too often.
        refused: streams that an overloaded edge refused.
        deaths: workers that died.
        longest_queue: jobs that waited together, at most.
        asks, jobs, renders: events in each second.
        needed: streams with listeners, in each second.
        edge_streams: streams with listeners, counted on each edge, in each second.
        margins, beginnings: how early blocks arrived and how long first chunks took, by hundredths of a second.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._quiet_before = list(
            accumulate(
                (self._is_quiet(second / TICKS_PER_S) for second in range(int(plan.seconds * TICKS_PER_S))), initial=0
            )
        )
        self.heard = 0
        self.quiet = 0
        self.patched_quiet = 0
        self.patched_disturbed = 0
        self.patched_beginning = 0
        self.silent_ticks = 0
        self.blocks: Counter[Added] = Counter()
        self.lost_blocks = 0
        self.full = 0
        self.lost_asks = 0
        self.redelivered = 0
        self.expired = 0
        self.exhausted = 0
        self.refused = 0
        self.deaths = 0
        self.longest_queue = 0
        self.asks: Counter[int] = Counter()
        self.jobs: Counter[int] = Counter()
        self.renders: Counter[int] = Counter()
        self.needed: Counter[int] = Counter()
        self.edge_streams: Counter[int] = Counter()
        self.margins: Counter[int] = Counter()
        self.beginnings: Counter[int] = Counter()

    def listened(self, first: int, last: int) -> None:
        """Count that listeners of an edge heard a stream from tick `first` to tick `last`."""
        self.heard += max(0, last - first + 1)
        begin, end = (min(max(0, tick - tick_at(START_S)), len(self._quiet_before) - 1) for tick in (first, last + 1))
        self.quiet += max(0, self._quiet_before[end] - self._quiet_before[begin])

    def _is_quiet(self, second: float) -> bool:
        return second >= SETTLED_S and not self._plan.disturbed(second)

    def asked(self, now_s: float) -> None:
        """Count an ask that an edge has sent."""
        self.asks[int(now_s - START_S)] += 1

    def accepted(self, now_s: float) -> None:
        """Count an ask that the queue has accepted as a job."""
        self.jobs[int(now_s - START_S)] += 1

    def rendered(self, now_s: float) -> None:
        """Count a block that a worker has rendered."""
        self.renders[int(now_s - START_S)] += 1

    def waiting(self, jobs: int) -> None:
        """Note how many jobs wait in the queue."""
        self.longest_queue = max(self.longest_queue, jobs)

    def arrived(self, margin_s: float, now_s: float) -> None:
        """Count a block that has arrived `margin_s` seconds before it is due."""
        if now_s >= START_S + SETTLED_S:
            self.margins[round(margin_s * 100)] += 1

    def began(self, waited_s: float) -> None:
        """Count a stream that has its first chunk `waited_s` seconds after its listener joined."""
        self.beginnings[round(waited_s * 100)] += 1

    def patched(self, due: float, heard_s: float) -> None:
        """Count a chunk that is a loop, or fades into or out of one.

        Args:
            due: when it is heard, unix seconds.
            heard_s: how long the edge has played the stream, seconds.
        """
        if not self._is_quiet(due - START_S):
            self.patched_disturbed += 1
        elif heard_s < LEAD_S:
            self.patched_beginning += 1
        else:
            self.patched_quiet += 1

    def silent(self) -> None:
        """Count a tick for which there is no chunk."""
        self.silent_ticks += 1
