"""Whether memory leaks: a robust slope of samples, with an interval. Pure.

Resident memory is a sawtooth: it rises between collections and falls. A leak raises its minima. So the samples are cut
into equal spans of time, and a line is fitted to the minima of the spans with the Theil-Sen estimator (the median of
all pairwise slopes), which a few outliers do not move. The interval comes from the order statistics of the same slopes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final

LEAK_MB_PER_HOUR: Final = 20.0
"""Growth in MiB an hour that counts as a leak."""
WARM_UP_S: Final = 300.0
"""Seconds that are left out at the start: caches fill, pools grow and code is compiled, which is no leak."""
MIN_SPAN_S: Final = 1200.0
"""Seconds after warm-up before a leak is reported; less says nothing about an hour."""
RECENT_S: Final = 7200.0
"""The last two hours are judged apart, to find a leak that begins late. Their spans are as long as the longest tooth of
the collector, ten minutes."""
SPANS: Final = 12
"""Equal spans of time whose minima are used."""
_Z_95: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Growth:
    """The growth of memory.

    Attributes:
        initial_mb, final_mb: medians of the first and last few samples after warm-up.
        slope_mb_per_hour: Theil-Sen slope of the spans' minima.
        low_mb_per_hour, high_mb_per_hour: its 95 % interval.
        confidence: 0 to 1 that the minima rise at all (Mann-Kendall, one-sided); 0 with too little data.
        leak: the interval lies above half the threshold, and contains the threshold or lies above it.
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
    """Estimate the growth of memory.

    A sawtooth whose teeth are longer than about a third of the samples cannot be told from a leak.

    Args:
        times_s: [samples], rising.
        values_mb: [samples], MiB.
        threshold_mb_per_hour: growth that counts as a leak.
        warm_up_s: seconds left out at the beginning, at most a fifth of all.
        min_span_s: seconds after warm-up below which no leak is reported.

    Raises:
        ValueError: there are no samples, or not as many times as values.
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

    minima = _minima(kept)
    slopes = sorted(
        (later - earlier) / (later_s - earlier_s)
        for index, (earlier_s, earlier) in enumerate(minima)
        for later_s, later in minima[index + 1 :]
    )
    if not slopes:
        return Growth(initial_mb, final_mb, 0.0, 0.0, 0.0, confidence=0.0, leak=False)
    count = len(minima)
    # Kendall's variance, of the rank of the true slope among all pairwise slopes.
    spread = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = slopes[max(0, math.floor((len(slopes) - _Z_95 * spread) / 2))]
    high = slopes[min(len(slopes) - 1, math.ceil((len(slopes) + _Z_95 * spread) / 2))]
    rising = sum(slope > 0 for slope in slopes) - sum(slope < 0 for slope in slopes)
    # Less one: continuity correction, because ranks are whole numbers.
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
    """The samples of the last `span_s` seconds; `growth` leaves out their first part as warm-up."""
    if not samples:
        return samples
    start_s = time_s(samples[-1]) - span_s
    return [each for each in samples if time_s(each) >= start_s]


def _minima(samples: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
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
