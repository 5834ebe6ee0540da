"""Whether memory leaks: a robust slope of samples, with an interval. Pure.

Resident memory is a sawtooth: it rises between collections and falls. A leak raises the teeth's feet. So samples are
cut into equal spans of time, the least of each span is taken, and a line is laid through those with the Theil-Sen
estimator (the median of all pairwise slopes), which a few odd spans do not move. The interval comes from the order
statistics of the same slopes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final

LEAK_MB_PER_HOUR: Final = 20.0
WARM_UP_S: Final = 300.0
"""Caches fill, pools grow, code is compiled: nobody calls that a leak."""
MIN_SPAN_S: Final = 1200.0
"""After warm-up; less than that says nothing about an hour."""
RECENT_S: Final = 7200.0
"""A leak that begins after hours is looked for in the last two, whose spans hold a collector's tooth of ten minutes."""
SPANS: Final = 12
_Z_95: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Growth:
    """What a memory curve does.

    Attributes:
        initial_mb, final_mb: medians of the first and last few samples after warm-up.
        slope_mb_per_hour: Theil-Sen slope of the spans' minima.
        low_mb_per_hour, high_mb_per_hour: its 95 % interval.
        confidence: 0 to 1 that the feet of the curve rise at all (Mann-Kendall, one-sided); 0 with too little data.
        leak: half the threshold is certain, and the threshold itself cannot be ruled out.
    """

    initial_mb: float
    final_mb: float
    slope_mb_per_hour: float
    low_mb_per_hour: float
    high_mb_per_hour: float
    confidence: float
    leak: bool

    @property
    def growth_mb(self) -> float:
        """`final_mb - initial_mb`."""
        return self.final_mb - self.initial_mb


def growth(
    times_s: Sequence[float],
    values_mb: Sequence[float],
    *,
    threshold_mb_per_hour: float = LEAK_MB_PER_HOUR,
    warm_up_s: float = WARM_UP_S,
    min_span_s: float = MIN_SPAN_S,
) -> Growth:
    """Judge a memory curve.

    A sawtooth whose teeth are longer than about a third of the curve cannot be told from a leak.

    Args:
        times_s: [samples], rising.
        values_mb: [samples], MiB.
        threshold_mb_per_hour: what counts as a leak.
        warm_up_s: left out at the beginning, but never more than a fifth of the curve.
        min_span_s: a shorter curve is never called a leak.

    Raises:
        ValueError: no samples, or as many times as values there are not.
    """
    if not times_s or len(times_s) != len(values_mb):
        raise ValueError(
            f"growth: got {len(times_s)} times and {len(values_mb)} values, expected as many, at least one"
        )
    start_s = times_s[0] + min(warm_up_s, (times_s[-1] - times_s[0]) / 5)
    kept = [(time_s, value) for time_s, value in zip(times_s, values_mb, strict=True) if time_s >= start_s]
    ends = max(1, min(5, len(kept) // 4))
    initial_mb = median(value for _, value in kept[:ends])
    final_mb = median(value for _, value in kept[-ends:])

    feet = _feet(kept)
    slopes = sorted(
        (later - earlier) / (later_s - earlier_s)
        for index, (earlier_s, earlier) in enumerate(feet)
        for later_s, later in feet[index + 1 :]
    )
    if not slopes:
        return Growth(initial_mb, final_mb, 0.0, 0.0, 0.0, confidence=0.0, leak=False)
    count = len(feet)
    # Kendall's variance: how far the rank of the true slope strays from the middle of all pairwise slopes.
    spread = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = slopes[max(0, math.floor((len(slopes) - _Z_95 * spread) / 2))]
    high = slopes[min(len(slopes) - 1, math.ceil((len(slopes) + _Z_95 * spread) / 2))]
    rising = sum(slope > 0 for slope in slopes) - sum(slope < 0 for slope in slopes)
    # One less, because ranks are whole numbers and the normal curve is not.
    confidence = NormalDist().cdf((rising - 1) / spread) if rising > 0 else 0.0
    long_enough = kept[-1][0] - kept[0][0] >= min_span_s and count >= SPANS // 2
    slope_h, low_h, high_h = (value * 3600 for value in (median(slopes), low, high))
    return Growth(
        initial_mb,
        final_mb,
        slope_h,
        low_h,
        high_h,
        confidence=confidence if long_enough else 0.0,
        leak=long_enough and low_h >= threshold_mb_per_hour / 2 and high_h >= threshold_mb_per_hour,
    )


def recent[T](samples: Sequence[T], time_s: Callable[[T], float], span_s: float = RECENT_S) -> Sequence[T]:
    """The samples of the last `span_s` seconds, without the warm-up that `growth` leaves out of them once more."""
    if not samples:
        return samples
    start_s = time_s(samples[-1]) - span_s
    return [each for each in samples if time_s(each) >= start_s]


def _feet(samples: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The least sample of each of `SPANS` equal spans of time, as (time, value)."""
    first_s, last_s = samples[0][0], samples[-1][0]
    if last_s <= first_s:
        return []
    least: dict[int, tuple[float, float]] = {}
    for time_s, value in samples:
        span = min(SPANS - 1, int((time_s - first_s) / (last_s - first_s) * SPANS))
        if span not in least or value < least[span][1]:
            least[span] = (time_s, value)
    return [least[span] for span in sorted(least)]
