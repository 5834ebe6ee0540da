"""Statistics of received chunks: gaps, repeats, jitter, and when a player would have run dry. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.contract.timebase import TICK_S

_BIN_MS: Final = 0.25
_BINS: Final = 8000
"""Jitter is counted in bins of 0.25 ms up to 2 s, so that memory does not grow with time."""
_SMOOTHING: Final = 1 / 16
"""Share of each new value in the smoothed jitter, as RTP has it (RFC 3550, 6.4.1)."""


class JitterHistogram:
    """Percentiles of jitter in bounded memory."""

    def __init__(self) -> None:
        self._counts = [0] * (_BINS + 1)
        self._total = 0

    def add(self, jitter_ms: float) -> None:
        """Count one value; everything above 2 s counts as 2 s."""
        self._counts[min(_BINS, int(jitter_ms / _BIN_MS))] += 1
        self._total += 1

    def percentile_ms(self, fraction: float) -> float:
        """The value that `fraction` of all values do not exceed, to 0.25 ms; 0 without values."""
        wanted = fraction * self._total
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return (index + 1) * _BIN_MS
        return 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """A listener's figures.

    Attributes:
        chunks: chunks received, without repeats and late ones.
        gaps, missing_chunks: places where ids were missing, and how many ids.
        repeats: chunks that arrived twice without a splice.
        underruns: times that a player which started with the first chunk would have run dry.
        jitter_p50_ms, jitter_p95_ms, jitter_p99_ms: lateness against the earliest chunk of the last 10 s.
        first_audio_ms: from connecting to the first chunk; None before it.
        latency_p99_ms: arrival by this machine's clock minus sending by the edge's clock.
        seconds: from the first chunk's arrival to the last one's.
        splices: changes of the stream.
        reconnects, recovered: broken connections, and those that went on without gap or repeat.
    """

    chunks: int
    gaps: int
    missing_chunks: int
    repeats: int
    underruns: int
    jitter_p50_ms: float
    jitter_p95_ms: float
    jitter_p99_ms: float
    latency_p99_ms: float
    first_audio_ms: float | None
    seconds: float
    splices: int
    reconnects: int
    recovered: int

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


class Arrivals:
    """Statistics of arriving chunks.

    Args:
        window_s: jitter is measured against the earliest arrival of this many seconds. A new tier moves all arrivals
            together, so it starts the window anew.

    Attributes:
        chunks, gaps, missing_chunks, repeats, underruns, splices, reconnects, recovered: see `Summary`.
    """

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        # (received_s, delay_s), delays rising: the first is the window's least.
        self._least: deque[tuple[float, float]] = deque()
        self._tier = ""
        self._jitter = JitterHistogram()
        self._latency = JitterHistogram()
        self._recent_jitter_ms = 0.0
        self._begun_s: float | None = None
        self._first_audio_ms: float | None = None
        self._first_s: float | None = None
        self._last_s = 0.0
        self._last_id: int | None = None
        self._void_from: int | None = None
        # When a player that never waits needs chunk 0; moved later by each underrun.
        self._zero_s = 0.0
        self.chunks = 0
        self.gaps = 0
        self.missing_chunks = 0
        self.repeats = 0
        self.underruns = 0
        self.splices = 0
        self.reconnects = 0
        self.recovered = 0

    @property
    def jitter_ms(self) -> float:
        """Jitter of the last seconds, smoothed, for reports to the edge."""
        return self._recent_jitter_ms

    @property
    def next_id(self) -> int | None:
        """The id after the last chunk that arrived; None before the first."""
        return None if self._last_id is None else self._last_id + 1

    def buffer_s(self, now_s: float) -> float:
        """Seconds of sound that a player would still hold."""
        if self._last_id is None:
            return 0.0
        return max(0.0, self._zero_s + (self._last_id + 1) * TICK_S - now_s)

    def connecting(self, now_s: float) -> None:
        """The first attempt to connect begins."""
        if self._begun_s is None:
            self._begun_s = now_s

    def reconnected(self, *, recovered: bool | None) -> None:
        """The client has reconnected; `recovered`: the edge says that nothing is missing or repeated."""
        self.reconnects += 1
        self.recovered += recovered is True
        self._least.clear()

    def splice(self, chunk_id: int) -> None:
        """Chunks from `chunk_id` on will arrive again."""
        self.splices += 1
        self._void_from = chunk_id
        # They are sent out of step with their ids, so their arrival says nothing of the network.
        self._least.clear()

    def add(self, chunk_id: int, *, tier: str, received_s: float, latency_s: float = 0.0) -> None:
        """A chunk has arrived.

        Args:
            chunk_id, tier: of the chunk.
            received_s: monotonic seconds.
            latency_s: wall time of receipt minus the edge's time of sending.
        """
        if self._first_s is None:
            self._first_s = received_s
            self._zero_s = received_s - chunk_id * TICK_S
            if self._begun_s is not None:
                self._first_audio_ms = (received_s - self._begun_s) * 1000
        elif not self._follows(chunk_id):
            self.repeats += 1
            return
        self.chunks += 1
        self._last_id = chunk_id if self._last_id is None else max(self._last_id, chunk_id)
        self._last_s = received_s
        self._add_jitter(chunk_id, tier, received_s)
        self._latency.add(max(0.0, latency_s * 1000))
        late_s = received_s - (self._zero_s + chunk_id * TICK_S)
        if late_s > 0 and self.chunks > 1:
            self.underruns += 1
            self._zero_s += late_s

    def summary(self) -> Summary:
        """The figures so far."""
        return Summary(
            chunks=self.chunks,
            gaps=self.gaps,
            missing_chunks=self.missing_chunks,
            repeats=self.repeats,
            underruns=self.underruns,
            jitter_p50_ms=self._jitter.percentile_ms(0.5),
            jitter_p95_ms=self._jitter.percentile_ms(0.95),
            jitter_p99_ms=self._jitter.percentile_ms(0.99),
            latency_p99_ms=self._latency.percentile_ms(0.99),
            first_audio_ms=self._first_audio_ms,
            seconds=0.0 if self._first_s is None else self._last_s - self._first_s,
            splices=self.splices,
            reconnects=self.reconnects,
            recovered=self.recovered,
        )

    def _follows(self, chunk_id: int) -> bool:
        """Whether the chunk is new; counts the ids that are missing before it."""
        assert self._last_id is not None  # noqa: S101 - for the type checker: only after the first chunk
        if self._void_from is not None and chunk_id >= self._void_from:
            # The splice's chunks arrive again from its place on, which is neither a repeat nor a gap.
            expected = self._void_from
            self._void_from = None
            self._last_id = max(chunk_id, expected) - 1 if chunk_id <= self._last_id else self._last_id
        if chunk_id <= self._last_id:
            return False
        missing = chunk_id - self._last_id - 1
        if missing:
            self.gaps += 1
            self.missing_chunks += missing
        return True

    def _add_jitter(self, chunk_id: int, tier: str, received_s: float) -> None:
        delay_s = received_s - chunk_id * TICK_S
        if tier != self._tier:
            self._tier = tier
            self._least.clear()
        while self._least and self._least[-1][1] >= delay_s:
            self._least.pop()
        self._least.append((received_s, delay_s))
        while self._least[0][0] < received_s - self._window_s:
            self._least.popleft()
        jitter_ms = (delay_s - self._least[0][1]) * 1000
        self._jitter.add(jitter_ms)
        self._recent_jitter_ms += _SMOOTHING * (jitter_ms - self._recent_jitter_ms)
