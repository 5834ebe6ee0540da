"""Histograms as cumulative counts by upper bound: reading, differences, sums, quantiles. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf, isnan
from typing import Final

from services.telemetry.exposition.exposition import Exposition

MAX_BOUNDS: Final = 64
"""Bounds of a histogram; one with more is ignored, because ten minutes of it are stored. Ours have twenty."""
MAX_COUNT: Final = 1e15
"""Counts from here on are ignored: no counter of ours gets so far, and one wrong count would spoil all sums."""


def buckets(exposition: Exposition, name: str) -> dict[float, float]:
    """A histogram's counts, summed over its series; empty if it is missing or malformed."""
    counts: dict[float, float] = {}
    family = exposition.get(name)
    for series, text in family.samples if family else ():
        if series.name == f"{name}_bucket":
            try:
                bound = float(series.label_values()["le"])
            except (KeyError, ValueError):
                return {}
            counts[bound] = counts.get(bound, 0.0) + float(text)
            if isnan(bound) or len(counts) > MAX_BOUNDS:
                return {}
    in_order = [counts[bound] for bound in sorted(counts)]
    valid = inf in counts and 0 <= in_order[0] <= in_order[-1] < MAX_COUNT
    return counts if valid and all(a <= b for a, b in pairwise(in_order)) else {}


def increase(before: Mapping[float, float], now: Mapping[float, float]) -> dict[float, float]:
    """The increase of a histogram; all of `now` after a restart of the process or with other bounds."""
    if before.keys() != now.keys() or any(before[bound] > count for bound, count in now.items()):
        before = {}
    return {bound: count - before.get(bound, 0.0) for bound, count in now.items()}


def sum_histograms(histograms: Sequence[Mapping[float, float]]) -> dict[float, float]:
    """The sum of several histograms.

    If their bounds differ, as in the middle of an upgrade, the sum has the bounds of all, and the counts of each are
    interpolated linearly between its own bounds, as in `quantile`. Counts above its last finite bound stay above all
    bounds.
    """
    if all(each.keys() == histograms[0].keys() for each in histograms):
        return {bound: sum(each[bound] for each in histograms) for bound in (histograms[0] if histograms else ())}
    bounds = sorted({bound for each in histograms for bound in each})
    return {bound: sum(_count_at(bound, each) for each in histograms) for bound in bounds}


def quantile(counts: Mapping[float, float], fraction: float) -> float | None:
    """A quantile of a histogram, linear within a bucket.

    Args:
        counts: the histogram.
        fraction: 0 to 1.

    Returns:
        The value; the last finite bound if it lies above that; None without counts.
    """
    bounds = sorted(counts)
    if not bounds or counts[bounds[-1]] <= 0:
        return None
    wanted = fraction * counts[bounds[-1]]
    lower_bound, lower_count = 0.0, 0.0
    for bound in bounds:
        count = counts[bound]
        if count >= wanted:
            if bound == inf:
                return lower_bound
            inside = count - lower_count
            return lower_bound + (bound - lower_bound) * ((wanted - lower_count) / inside if inside else 1.0)
        lower_bound, lower_count = bound, count
    return lower_bound


def _count_at(bound: float, counts: Mapping[float, float]) -> float:
    if bound in counts:
        return counts[bound]
    lower_bound = max((each for each in counts if each < bound), default=0.0)
    upper_bound = min((each for each in counts if each > bound), default=inf)
    lower = counts.get(lower_bound, 0.0)
    if upper_bound == inf or bound <= lower_bound:
        return lower
    return lower + (counts[upper_bound] - lower) * (bound - lower_bound) / (upper_bound - lower_bound)
