"""Pure. Whether late chunks use up the error budget of a month."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

LATE_AFTER_MS: Final = 50.0
"""A chunk that is written later counts as late."""
LATE_ALLOWED: Final = 0.01
"""The objective: at most this share of the chunks is late."""
_SAMPLE_SPACING_S: Final = 50.0
"""Least time between two samples of the budget; rounds are a few seconds apart."""


@dataclass(frozen=True, slots=True)
class BurnRate:
    """A rate of late chunks that is too high if two windows exceed it.

    The long window keeps a short disturbance from firing; the short one ends the alert soon after the problem.

    Attributes:
        short_s, long_s: the windows.
        factor: the rate, as a multiple of `LATE_ALLOWED`.
    """

    short_s: float
    long_s: float
    factor: float


BURN_RATES: Final = (
    BurnRate(short_s=300.0, long_s=3600.0, factor=14.4),  # a month's budget in two days
    BurnRate(short_s=1800.0, long_s=21600.0, factor=6.0),  # a month's budget in five days
)


MIN_CHUNKS_PER_S: Final = 50.0
"""Five listeners: with fewer, one bad network is a large share of the chunks."""


class LateBudget:
    """Counts late chunks, minute by minute, for six hours. Times are seconds of one clock."""

    def __init__(self) -> None:
        # (when, late chunks, all chunks) of each minute.
        self._minutes: deque[tuple[float, float, float]] = deque(maxlen=361)

    def add(self, now_s: float, late: float, total: float) -> None:
        """Add the last minute; calls within `_SAMPLE_SPACING_S` of the one before are ignored.

        Args:
            now_s: seconds.
            late: late chunks of the last minute.
            total: all chunks of the last minute.
        """
        if not self._minutes or now_s - self._minutes[-1][0] >= _SAMPLE_SPACING_S:
            self._minutes.append((now_s, late, total))

    def ratio(self, now_s: float, window_s: float) -> float:
        """Share of late chunks in the last `window_s` seconds; 0 without chunks."""
        inside = [minute for minute in self._minutes if minute[0] > now_s - window_s]
        total = sum(minute[2] for minute in inside)
        return sum(minute[1] for minute in inside) / total if total else 0.0

    def chunks_per_s(self, now_s: float, window_s: float) -> float:
        """Mean of the minutes that were added in the last `window_s` seconds; 0 without any."""
        totals = [total for when_s, _, total in self._minutes if when_s > now_s - window_s]
        return sum(totals) / (60.0 * len(totals)) if totals else 0.0

    def burning(self, now_s: float) -> float | None:
        """The share of late chunks in the short window of a burn rate that is exceeded; None if none is."""
        for rate in BURN_RATES:
            limit = rate.factor * LATE_ALLOWED
            short = self.ratio(now_s, rate.short_s)
            busy = self.chunks_per_s(now_s, rate.short_s) > MIN_CHUNKS_PER_S
            if busy and short > limit and self.ratio(now_s, rate.long_s) > limit:
                return short
        return None
