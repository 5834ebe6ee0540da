"""How unsteadily chunks reach one listener, and how much buffer that asks for."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from services.contract.timebase import CHUNK_MS

MIN_BUFFER_MS: Final = 200.0
MAX_BUFFER_MS: Final = 3000.0

_FLOOR_MS: Final = 2.0 * CHUNK_MS
"""One chunk is being played while the next is on its way: what a perfectly steady delivery needs."""
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class ChunkTimestamp:
    """When a chunk should have arrived and when it did.

    Attributes:
        chunk_id: the chunk's tick.
        expected_time, actual_time: seconds since the same epoch.
    """

    chunk_id: int
    expected_time: float
    actual_time: float


class JitterTracker:
    """Deviation of arrivals: an exponential moving average for the mean, a window for spread and underruns.

    Args:
        window_size: chunks that spread and underrun rate look back on.
        alpha: weight of the newest chunk in the moving average, above 0 and at most 1.
    """

    def __init__(self, window_size: int = 50, alpha: float = 0.1) -> None:
        if window_size < 1:
            raise ValueError(f"window_size: got {window_size}, expected at least 1 chunk")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha: got {alpha}, expected above 0 and at most 1")
        self._alpha = alpha
        self._mean_ms: float | None = None
        self._window: deque[tuple[float, bool]] = deque(maxlen=window_size)
        # Sums over the window, kept up to date, so that asking costs the same however long the window is.
        self._sum = 0.0
        self._sum_of_squares = 0.0
        self._underruns = 0

    def __len__(self) -> int:
        """Chunks in the window."""
        return len(self._window)

    @property
    def full(self) -> bool:
        """Whether the window holds as many chunks as it can."""
        return len(self._window) == self._window.maxlen

    def record_chunk(self, timestamp: ChunkTimestamp, underrun: bool = False) -> None:  # noqa: FBT001, FBT002 - a published signature
        """Take one arrival into account.

        Args:
            timestamp: the chunk's expected and actual time.
            underrun: the listener had run dry before this chunk.
        """
        deviation_ms = abs(timestamp.actual_time - timestamp.expected_time) * 1000.0
        if not math.isfinite(deviation_ms):
            raise ValueError(f"timestamp: got {timestamp}, expected finite times")
        self.record_deviation(deviation_ms, underrun=underrun)

    def record_deviation(self, deviation_ms: float, *, underrun: bool = False) -> None:
        """As `record_chunk`, for a deviation that somebody else has measured."""
        self._append((deviation_ms, underrun))
        if self._mean_ms is None:
            self._mean_ms = deviation_ms
        else:
            self._mean_ms += self._alpha * (deviation_ms - self._mean_ms)

    def record_steady(self, chunks: int) -> None:
        """`chunks` arrivals that nobody has measured, as steady as the mean: they change spread and underrun rate."""
        if self._mean_ms is None and chunks > 0:
            self._mean_ms = 0.0
        # One tuple for all of them: there are thousands of listeners, and fifty entries each.
        entry = (self.get_mean_jitter_ms(), False)
        for _ in range(chunks):
            self._append(entry)

    def _append(self, entry: tuple[float, bool]) -> None:
        if self.full:
            old_ms, old_underrun = self._window[0]
            self._sum -= old_ms
            self._sum_of_squares -= old_ms * old_ms
            self._underruns -= old_underrun
        self._window.append(entry)
        deviation_ms, underrun = entry
        self._sum += deviation_ms
        self._sum_of_squares += deviation_ms * deviation_ms
        self._underruns += underrun

    def get_mean_jitter_ms(self) -> float:
        """Exponential moving average of the deviation in milliseconds; 0 before the first chunk."""
        return 0.0 if self._mean_ms is None else self._mean_ms

    def get_jitter_std(self) -> float:
        """Standard deviation over the window, in milliseconds."""
        count = len(self._window)
        if count < 2:
            return 0.0
        mean = self._sum / count
        # Rounding of the running sums can leave a tiny negative number.
        return math.sqrt(max(0.0, self._sum_of_squares / count - mean * mean))

    def get_recommended_buffer_ms(self, confidence: float = 0.95) -> float:
        """The buffer that keeps playing through a deviation that `confidence` of the chunks stay below.

        Args:
            confidence: a share between 0.5 and 1, exclusive of 1.

        Returns:
            Milliseconds from 200 to 3000.
        """
        if not 0.5 <= confidence < 1:
            raise ValueError(f"confidence: got {confidence}, expected from 0.5 to below 1")
        spread_ms = self.get_mean_jitter_ms() + _NORMAL.inv_cdf(confidence) * self.get_jitter_std()
        return min(max(_FLOOR_MS + spread_ms, MIN_BUFFER_MS), MAX_BUFFER_MS)

    def get_underrun_rate(self) -> float:
        """Share of the window's chunks that came to a dry buffer, 0 to 1."""
        return self._underruns / len(self._window) if self._window else 0.0

    def forget(self) -> None:
        """Start anew: what was measured belongs to circumstances that are over."""
        self._window.clear()
        self._sum = self._sum_of_squares = 0.0
        self._underruns = 0
        self._mean_ms = None
