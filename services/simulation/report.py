"""What is counted in a simulation, and what it comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Final

from services.contract.timebase import TICKS_PER_S, tick_at
from services.edge.stream.demand import LEAD_S
from services.edge.stream.ring import Added
from services.simulation.plan import SETTLE_S, Plan
from services.simulation.timeline import START_S

JOINING_S: Final = 10.0
"""Everybody joins in these seconds, as nobody ever does."""
SETTLED_S: Final = JOINING_S + SETTLE_S
"""What is said of asks, renders and blocks is counted from here on."""


class Tally:
    """Counts of the whole fleet.

    Attributes:
        heard: ticks that listeners' streams played.
        quiet: those of them that nothing disturbs: everybody has joined, no outage explains what is heard.
        blocks: what became of blocks that arrived.
        lost_blocks, full, unheard, redelivered, expired, exhausted, refused, deaths: how often.
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
        self.unheard = 0
        self.redelivered = 0
        self.expired = 0
        self.exhausted = 0
        self.refused = 0
        self.deaths = 0
        self.most_waiting = 0
        self.asks: Counter[int] = Counter()
        self.jobs: Counter[int] = Counter()
        self.renders: Counter[int] = Counter()
        self.needed: Counter[int] = Counter()
        self.seats: Counter[int] = Counter()
        # in steps of 10 ms
        self.margins: Counter[int] = Counter()
        self.beginnings: Counter[int] = Counter()

    def listened(self, first: int, last: int) -> None:
        """A stream was heard on an edge from tick `first` to tick `last`."""
        self.heard += max(0, last - first + 1)
        begin, end = (min(max(0, tick - tick_at(START_S)), len(self._quiet_before) - 1) for tick in (first, last + 1))
        self.quiet += max(0, self._quiet_before[end] - self._quiet_before[begin])

    def _is_quiet(self, second: float) -> bool:
        return second >= SETTLED_S and not self._plan.disturbed(second)

    def asked(self, now_s: float) -> None:
        """An edge has sent an ask."""
        self.asks[int(now_s - START_S)] += 1

    def accepted(self, now_s: float) -> None:
        """The queue has taken it."""
        self.jobs[int(now_s - START_S)] += 1

    def rendered(self, now_s: float) -> None:
        """A worker has rendered a block."""
        self.renders[int(now_s - START_S)] += 1

    def waiting(self, jobs: int) -> None:
        """So many jobs wait."""
        self.most_waiting = max(self.most_waiting, jobs)

    def arrived(self, margin_s: float, now_s: float) -> None:
        """A block has arrived so long before it is due."""
        if now_s >= START_S + SETTLED_S:
            self.margins[round(margin_s * 100)] += 1

    def began(self, waited_s: float) -> None:
        """A stream has its first sound."""
        self.beginnings[round(waited_s * 100)] += 1

    def patched(self, due: float, heard_s: float) -> None:
        """A chunk is a loop's, or fades into or out of one.

        Args:
            due: when it is heard, unix seconds.
            heard_s: since when the stream has been heard on this edge, seconds.
        """
        if not self._is_quiet(due - START_S):
            self.patched_disturbed += 1
        elif heard_s < LEAD_S:
            self.patched_beginning += 1
        else:
            self.patched_quiet += 1

    def silent(self) -> None:
        """There is nothing to send at all."""
        self.silent_ticks += 1


@dataclass(frozen=True, slots=True)
class Result:
    """What a simulation has shown.

    Attributes:
        listened_ticks: of all streams on all edges.
        quiet_ticks: those of them that are neither of the beginning, when everybody joins at once, nor of an outage or
            the 15 s after it.
        missing: share of the quiet ones for which rendered music was not there in time: a loop played.
        beginning: the same within 5 s of the stream's beginning on the edge: its blocks have no lead yet.
        silent: share of all for which there was nothing at all.
        disturbed: share of those that are not quiet for which a loop played.
        asks_per_block: asks that edges sent for a block (of a stream that somebody hears), on average.
        asks_per_seat_s: the same for each stream of each edge and second: what an edge sends.
        peak_asks_per_seat_s: the same in the worst second.
        asks_after_outage: asks from 15 s to a minute after the last outage, as a multiple of those before the first.
        jobs_per_block, renders_per_block: how often the queue took a block and workers rendered it.
        margin_p001_s, margin_median_s: how long before it is due a block arrives: one in a thousand, half of them.
        first_sound_median_s, first_sound_p99_s: from joining to the first chunk.
        most_waiting: jobs in the queue.
        counts: everything else.
    """

    plan: Mapping[str, object]
    listened_ticks: int
    quiet_ticks: int
    missing: float
    beginning: float
    silent: float
    disturbed: float
    asks_per_block: float
    asks_per_seat_s: float
    peak_asks_per_seat_s: float
    asks_after_outage: float | None
    jobs_per_block: float
    renders_per_block: float
    margin_p001_s: float
    margin_median_s: float
    first_sound_median_s: float
    first_sound_p99_s: float
    most_waiting: int
    counts: Mapping[str, int]


def result(plan: Plan, tally: Tally) -> Result:
    """What the counts come to."""
    seconds = range(int(SETTLED_S), int(plan.seconds))
    asks = _sum(tally.asks, seconds)
    needed = max(1, _sum(tally.needed, seconds))
    per_seat = {second: tally.asks[second] / max(1, tally.seats[second]) for second in seconds}
    quiet = max(1, tally.quiet)
    return Result(
        plan=asdict(plan),
        listened_ticks=tally.heard,
        quiet_ticks=tally.quiet,
        missing=tally.patched_quiet / quiet,
        beginning=tally.patched_beginning / quiet,
        silent=tally.silent_ticks / max(1, tally.heard),
        disturbed=tally.patched_disturbed / max(1, tally.heard - tally.quiet),
        asks_per_block=asks / needed,
        asks_per_seat_s=asks / max(1, _sum(tally.seats, seconds)),
        peak_asks_per_seat_s=max(per_seat.values(), default=0.0),
        asks_after_outage=_after_outages(plan, per_seat),
        jobs_per_block=_sum(tally.jobs, seconds) / needed,
        renders_per_block=_sum(tally.renders, seconds) / needed,
        margin_p001_s=_quantile(tally.margins, 0.001),
        margin_median_s=_quantile(tally.margins, 0.5),
        first_sound_median_s=_quantile(tally.beginnings, 0.5),
        first_sound_p99_s=_quantile(tally.beginnings, 0.99),
        most_waiting=tally.most_waiting,
        counts={
            "lost_blocks": tally.lost_blocks,
            "duplicate_blocks": tally.blocks[Added.DUPLICATE],
            "late_blocks": tally.blocks[Added.LATE],
            "kept_blocks": tally.blocks[Added.KEPT],
            "asks": sum(tally.asks.values()),
            "asks_refused_full": tally.full,
            "asks_while_the_bus_was_away": tally.unheard,
            "jobs_redelivered": tally.redelivered,
            "jobs_expired": tally.expired,
            "jobs_given_up": tally.exhausted,
            "streams_refused": tally.refused,
            "workers_died": tally.deaths,
        },
    )


def _after_outages(plan: Plan, per_seat: Mapping[int, float]) -> float | None:
    """Asks of a stream on an edge once outages are over, as a multiple of those before."""
    if not plan.outages:
        return None
    begin = int(min(outage.begin_s for outage in plan.outages))
    end = int(max(outage.begin_s + outage.length_s for outage in plan.outages))
    before = [asks for second, asks in per_seat.items() if second < begin]
    after = [asks for second, asks in per_seat.items() if end + SETTLE_S <= second < end + 60]
    if not before or not after:
        return None
    return (sum(after) / len(after)) / max(1e-9, sum(before) / len(before))


def _sum(counts: Mapping[int, int], seconds: range) -> int:
    return sum(counts.get(second, 0) for second in seconds)


def _quantile(hundredths: Counter[int], share: float) -> float:
    """Of values counted in steps of 10 ms; seconds."""
    left = share * hundredths.total()
    for value in sorted(hundredths):
        left -= hundredths[value]
        if left <= 0:
            return value / 100
    return 0.0
