"""Histograms of instances: read, added up and asked for quantiles; all as cumulative counts by upper bound. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf, isnan
from typing import Final

from services.telemetry.exposition.exposition import Exposition

MAX_BOUNDS: Final = 64
"""Bounds that a histogram may have; ours have twenty. One with more is left out: ten minutes of it are remembered."""
MOST: Final = 1e15
"""No counter of ours gets so far; what claims to would hide what all others say."""


def buckets(exposition: Exposition, name: str) -> dict[float, float]:
    """A histogram's counts, its series added up; empty where there is none, or what there is cannot be one."""
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
    sound = inf in counts and 0 <= in_order[0] <= in_order[-1] < MOST and all(a <= b for a, b in pairwise(in_order))
    return counts if sound else {}


def counted_since(before: Mapping[float, float], now: Mapping[float, float]) -> dict[float, float]:
    """What was counted between two looks at a histogram; after a restart, or with other bounds, all of it is new."""
    if before.keys() != now.keys() or any(before[bound] > count for bound, count in now.items()):
        before = {}
    return {bound: count - before.get(bound, 0.0) for bound, count in now.items()}


def together(histograms: Sequence[Mapping[float, float]]) -> dict[float, float]:
    """One histogram out of several.

    Their bounds may differ, as in the middle of an upgrade: then each has the bounds of all, and its counts are linear
    between its own, as in `quantile`. Between its last finite bound and infinity nothing is known, so that what lies
    there stays there.
    """
    if all(each.keys() == histograms[0].keys() for each in histograms):
        return {bound: sum(each[bound] for each in histograms) for bound in (histograms[0] if histograms else ())}
    bounds = sorted({bound for each in histograms for bound in each})
    return {bound: sum(_count_at(bound, each) for each in histograms) for bound in bounds}


def quantile(counts: Mapping[float, float], fraction: float) -> float | None:
    """A quantile of what a histogram counted, linear within a bucket.

    Returns:
        The value; None where nothing was counted. Above the last finite bound, that bound.
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
