"""Pure: what a simulation has shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from services.edge.stream.ring import Added
from services.simulation.plan import SETTLE_S, Plan
from services.simulation.tally import SETTLED_S, Tally


@dataclass(frozen=True, slots=True)
class Result:
    """Figures of one simulation.

    Attributes:
        plan: what was simulated.
        listened_ticks: ticks of all streams on all edges.
        quiet_ticks: those of them without disturbance: after all listeners have joined, and neither in an outage nor in
            the 15 s after it.
        missing: share of the quiet ticks that played a loop because rendered music was not there in time.
        beginning: the same within 5 s of a stream's start on its edge, while its blocks have no lead yet.
        silent: share of all ticks without any chunk.
        disturbed: share of the ticks that are not quiet that played a loop.
        asks_per_block: asks that edges sent for a block of a stream with listeners, on average.
        asks_per_seat_s: asks that an edge sent for each of its streams, each second.
        peak_asks_per_seat_s: the same in the worst second.
        asks_after_outage: asks from 15 s to a minute after the last outage, as a multiple of those before the first.
        jobs_per_block, renders_per_block: how often the queue accepted a block and workers rendered it.
        margin_p001_s, margin_median_s: how early a block arrives, 0.1 % quantile and median.
        first_sound_median_s, first_sound_p99_s: from joining to the first chunk.
        most_waiting: longest queue, jobs.
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
    """The figures that follow from the counts."""
    seconds = range(int(SETTLED_S), int(plan.seconds))
    asks = _sum(tally.asks, seconds)
    needed = max(1, _sum(tally.needed, seconds))
    per_stream = {second: tally.asks[second] / max(1, tally.edge_streams[second]) for second in seconds}
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
        asks_per_seat_s=asks / max(1, _sum(tally.edge_streams, seconds)),
        peak_asks_per_seat_s=max(per_stream.values(), default=0.0),
        asks_after_outage=_after_outages(plan, per_stream),
        jobs_per_block=_sum(tally.jobs, seconds) / needed,
        renders_per_block=_sum(tally.renders, seconds) / needed,
        margin_p001_s=_quantile(tally.margins, 0.001),
        margin_median_s=_quantile(tally.margins, 0.5),
        first_sound_median_s=_quantile(tally.beginnings, 0.5),
        first_sound_p99_s=_quantile(tally.beginnings, 0.99),
        most_waiting=tally.longest_queue,
        counts={
            "lost_blocks": tally.lost_blocks,
            "duplicate_blocks": tally.blocks[Added.DUPLICATE],
            "late_blocks": tally.blocks[Added.LATE],
            "kept_blocks": tally.blocks[Added.KEPT],
            "asks": sum(tally.asks.values()),
            "asks_refused_full": tally.full,
            "asks_while_the_bus_was_away": tally.lost_asks,
            "jobs_redelivered": tally.redelivered,
            "jobs_expired": tally.expired,
            "jobs_given_up": tally.exhausted,
            "streams_refused": tally.refused,
            "workers_died": tally.deaths,
        },
    )


def _after_outages(plan: Plan, per_stream: Mapping[int, float]) -> float | None:
    """Asks for a stream of an edge after the outages, as a multiple of those before."""
    if not plan.outages:
        return None
    begin = int(min(outage.begin_s for outage in plan.outages))
    end = int(max(outage.begin_s + outage.length_s for outage in plan.outages))
    before = [asks for second, asks in per_stream.items() if second < begin]
    after = [asks for second, asks in per_stream.items() if end + SETTLE_S <= second < end + 60]
    if not before or not after:
        return None
    return (sum(after) / len(after)) / max(1e-9, sum(before) / len(before))


def _sum(counts: Mapping[int, int], seconds: range) -> int:
    return sum(counts.get(second, 0) for second in seconds)


def _quantile(hundredths: Counter[int], share: float) -> float:
    """Quantile `share` of values that are counted by hundredths of a second; seconds."""
    left = share * hundredths.total()
    for value in sorted(hundredths):
        left -= hundredths[value]
        if left <= 0:
            return value / 100
    return 0.0
