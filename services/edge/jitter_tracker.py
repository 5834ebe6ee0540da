"""Pure: measures how much arrivals of chunks vary, and recommends a buffer that covers it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from services.contract.timebase import CHUNK_MS

MIN_BUFFER_MS: Final = 200.0
MAX_BUFFER_MS: Final = 3000.0
"""Range of recommended buffers: two chunks, up to a little more than the deepest tier."""

_FLOOR_MS: Final = 2.0 * CHUNK_MS
"""Buffer for perfectly steady delivery: one chunk plays while the next one arrives."""
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class ChunkTimestamp:
    """Expected and actual arrival of a chunk.

    Attributes:
        chunk_id: the chunk's tick.
        expected_time, actual_time: seconds since the same epoch.
    """

    chunk_id: int
    expected_time: float
    actual_time: float


class JitterTracker:
    """Deviation of arrivals: mean by exponential moving average, spread and underruns by window.

    Args:
        window_size: newest chunks that spread and underrun rate cover, at least 1.
        alpha: weight of the newest chunk in the moving average, above 0 and at most 1.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, window_size: int = 50, alpha: float = 0.1) -> None:
        if window_size < 1:
            raise ValueError(f"window_size: got {window_size}, expected at least 1 chunk")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha: got {alpha}, expected above 0 and at most 1")
        self._alpha = alpha
        self._mean_ms: float | None = None
        self._window_size = window_size
        # Runs of equal arrivals, the oldest first: deviation, underrun, number of arrivals. Steady delivery is one run
        # and not fifty entries, for each of thousands of listeners.
        self._runs: list[tuple[float, bool, int]] = []
        self._count = 0
        # Running sums over the window, so that the cost of a statistic does not grow with the window.
        self._sum = 0.0
        self._sum_of_squares = 0.0
        self._underruns = 0

    def __len__(self) -> int:
        """Chunks in the window."""
        return self._count

    @property
    def full(self) -> bool:
        """Whether the window holds as many chunks as it can."""
        return self._count == self._window_size

    def record_chunk(self, timestamp: ChunkTimestamp, underrun: bool = False) -> None:  # noqa: FBT001, FBT002 - a published signature
        """Take one arrival into account.

        Args:
            timestamp: the chunk's expected and actual time.
            underrun: the listener's buffer was empty before this chunk.

        Raises:
            ValueError: a time is not finite.
        """
        deviation_ms = abs(timestamp.actual_time - timestamp.expected_time) * 1000.0
        if not math.isfinite(deviation_ms):
            raise ValueError(f"timestamp: got {timestamp}, expected finite times")
        self.record_deviation(deviation_ms, underrun=underrun)

    def record_deviation(self, deviation_ms: float, *, underrun: bool = False) -> None:
        """Take one arrival into account whose deviation was measured elsewhere."""
        self._append(deviation_ms, underrun=underrun, arrivals=1)
        if self._mean_ms is None:
            self._mean_ms = deviation_ms
        else:
            self._mean_ms += self._alpha * (deviation_ms - self._mean_ms)

    def record_steady(self, chunks: int) -> None:
        """Take `chunks` unmeasured arrivals into account: each counts as the mean, without underrun."""
        if chunks <= 0:
            return
        if self._mean_ms is None:
            self._mean_ms = 0.0
        self._append(self._mean_ms, underrun=False, arrivals=chunks)

    def _append(self, deviation_ms: float, *, underrun: bool, arrivals: int) -> None:
        runs = self._runs
        arrivals = min(arrivals, self._window_size)
        if runs and runs[-1][0] == deviation_ms and runs[-1][1] == underrun:
            if len(runs) == 1 and self._count == self._window_size:
                return  # nothing in the window would change
            runs[-1] = (deviation_ms, underrun, runs[-1][2] + arrivals)
        else:
            runs.append((deviation_ms, underrun, arrivals))
        self._add(deviation_ms, arrivals, underrun=underrun)
        while (excess := self._count - self._window_size) > 0:
            old_ms, old_underrun, length = runs[0]
            if length <= excess:
                del runs[0]
            else:
                runs[0] = (old_ms, old_underrun, length - excess)
            self._add(old_ms, -min(length, excess), underrun=old_underrun)

    def _add(self, deviation_ms: float, arrivals: int, *, underrun: bool) -> None:
        """Add arrivals to count and sums; a negative number removes them."""
        self._count += arrivals
        self._sum += arrivals * deviation_ms
        self._sum_of_squares += arrivals * deviation_ms * deviation_ms
        self._underruns += arrivals * underrun

    def get_mean_jitter_ms(self) -> float:
        """Exponential moving average of the deviation in milliseconds; 0 before the first chunk."""
        return 0.0 if self._mean_ms is None else self._mean_ms

    def get_jitter_std(self) -> float:
        """Standard deviation over the window, in milliseconds."""
        count = self._count
        if count < 2:
            return 0.0
        mean = self._sum / count
        # Rounding of the running sums can leave a tiny negative number.
        return math.sqrt(max(0.0, self._sum_of_squares / count - mean * mean))

    def get_recommended_buffer_ms(self, confidence: float = 0.95) -> float:
        """The buffer that is long enough for a share `confidence` of the chunks.

        Args:
            confidence: from 0.5 to below 1.

        Returns:
            Milliseconds, from 200 to 3000.

        Raises:
            ValueError: `confidence` is out of range.
        """
        if not 0.5 <= confidence < 1:
            raise ValueError(f"confidence: got {confidence}, expected from 0.5 to below 1")
        spread_ms = self.get_mean_jitter_ms() + _NORMAL.inv_cdf(confidence) * self.get_jitter_std()
        return min(max(_FLOOR_MS + spread_ms, MIN_BUFFER_MS), MAX_BUFFER_MS)

    def get_underrun_rate(self) -> float:
        """Share of the window's chunks that arrived at an empty buffer, from 0 to 1."""
        return self._underruns / self._count if self._count else 0.0

    def forget(self) -> None:
        """Forget all arrivals, because the conditions have changed that they were measured in."""
        self._runs.clear()
        self._count = 0
        self._sum = self._sum_of_squares = 0.0
        self._underruns = 0
        self._mean_ms = None
