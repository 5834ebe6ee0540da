"""Figures of many listeners, counted together in little memory. Pure.

A listener of `services.client` has histograms of its own; thousands in one process share one of each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.contract.timebase import TICK_S

_LEAST_MS: Final = 0.1
"""Upper bound of the first bin."""
_STEP: Final = math.log(1.02)
"""Width of a bin, in the logarithm: 2 %."""
WINDOW_S: Final = 10.0
"""Jitter is lateness against the least delay of this window and the one before."""
STARTING_S: Final = 2.0
"""How long after its first chunk a listener's jitter is not counted: chunks come early while its buffer fills."""
MAX_ERRORS: Final = 20
"""Different error messages that are counted; overflow: later ones count as `other`."""


class Histogram:
    """Counts of durations in steps of 2 %, from 0.1 ms up."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts = Counter(counts or {})

    def add(self, value_ms: float) -> None:
        """Count one duration."""
        self.counts[0 if value_ms <= _LEAST_MS else 1 + int(math.log(value_ms / _LEAST_MS) / _STEP)] += 1

    def percentile_ms(self, share: float) -> float | None:
        """The value that `share` (0 to 1) of all values do not exceed, within 2 %; None without values."""
        wanted = share * self.counts.total()
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= wanted:
                return _LEAST_MS * math.exp(index * _STEP)
        return None

    def figures_ms(self) -> dict[str, float | None]:
        """Percentiles by name, rounded for people; None without values."""
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        found = {name: self.percentile_ms(share) for name, share in shares.items()}
        return {name: None if value is None else round(value, 1) for name, value in found.items()}

    def to_json(self) -> dict[str, int]:
        """Index of each bin that is not empty -> count."""
        return {str(index): count for index, count in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> Histogram:
        """The inverse of `to_json`."""
        return cls({int(index): count for index, count in value.items()})


@dataclass(slots=True)
class Position:
    """One listener's position in its stream. Times are monotonic seconds.

    A chunk's delay is its arrival minus its number times a tick; only differences of delays mean anything.

    Attributes:
        began_s: when the first attempt to connect began.
        last_id: the newest chunk that arrived; None before the first.
        first_chunk_s: when the first chunk arrived.
        playout_delay_s: delay at which a player without a further buffer plays chunks; an underrun raises it.
        tier: buffer tier of the last chunk; -1 if unknown.
        least_delay_s: least delay in the current window.
        previous_least_delay_s: least delay in the window before.
        window_ends_s: when the current window ends.
    """

    began_s: float
    last_id: int | None = None
    first_chunk_s: float = 0.0
    playout_delay_s: float = 0.0
    tier: int = -1
    least_delay_s: float = math.inf
    previous_least_delay_s: float = math.inf
    window_ends_s: float = 0.0

    @property
    def next_id(self) -> int | None:
        """The first chunk that has not arrived; None before the first."""
        return None if self.last_id is None else self.last_id + 1

    def forget_delays(self) -> None:
        """Start measuring jitter afresh: from now on all chunks are earlier or later than before."""
        self.least_delay_s = self.previous_least_delay_s = math.inf


@dataclass(slots=True)
class Tally:
    """Sums over all listeners of a process.

    Attributes:
        listeners: listeners that were started.
        heard: listeners that received a chunk.
        listening: listeners that are connected now.
        chunks: chunks that arrived, without repeats.
        missing: chunks that never arrived.
        gaps: places in a stream where chunks are missing.
        repeats: chunks that arrived twice.
        underruns: times when a player that started with the first chunk would have run dry.
        reconnects: connections that were opened again after a loss.
        recovered: those that resumed without gap or repeat.
        refused: attempts that an edge refused.
        skips: times when an edge skipped chunks because the listener was too slow.
        bytes: bytes that arrived.
        first_audio_ms: from the first attempt to connect to the first chunk.
        jitter_ms: lateness of chunks against the least delay of the last seconds.
        errors: message -> listeners that it ended.
    """

    listeners: int = 0
    heard: int = 0
    listening: int = 0
    chunks: int = 0
    missing: int = 0
    gaps: int = 0
    repeats: int = 0
    underruns: int = 0
    reconnects: int = 0
    recovered: int = 0
    refused: int = 0
    skips: int = 0
    bytes: int = 0
    first_audio_ms: Histogram = field(default_factory=Histogram)
    jitter_ms: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)

    def chunk(self, position: Position, chunk_id: int, tier: int, now_s: float) -> None:
        """A chunk arrived at the listener at `position`."""
        last = position.last_id
        delay_s = now_s - chunk_id * TICK_S
        if last is None:
            self.heard += 1
            self.first_audio_ms.add((now_s - position.began_s) * 1000)
            position.first_chunk_s = now_s
            position.playout_delay_s = delay_s
        elif chunk_id <= last:
            self.repeats += 1
            return
        elif chunk_id != last + 1:
            self.gaps += 1
            self.missing += chunk_id - last - 1
        self.chunks += 1
        position.last_id = chunk_id
        if delay_s > position.playout_delay_s:
            self.underruns += 1
            position.playout_delay_s = delay_s
        if tier != position.tier:
            # Another tier sends all chunks earlier or later.
            position.tier = tier
            position.forget_delays()
        if now_s >= position.window_ends_s:
            position.previous_least_delay_s, position.least_delay_s = position.least_delay_s, delay_s
            position.window_ends_s = now_s + WINDOW_S
        position.least_delay_s = min(position.least_delay_s, delay_s)
        if now_s - position.first_chunk_s > STARTING_S:
            least_delay_s = min(position.least_delay_s, position.previous_least_delay_s)
            self.jitter_ms.add((delay_s - least_delay_s) * 1000)

    def splice(self, position: Position, chunk_id: int) -> None:
        """The edge sends chunks from `chunk_id` on again, as other music: neither repeats nor a gap."""
        if position.last_id is not None and chunk_id <= position.last_id:
            position.last_id = chunk_id - 1
        position.forget_delays()

    def reconnected(self, position: Position, *, recovered: bool | None) -> None:
        """A listener connected again after a loss; `recovered`: the edge resumed its stream, None if it did not say."""
        self.reconnects += 1
        self.recovered += recovered is True
        position.forget_delays()

    def failed(self, message: str) -> None:
        """A listener gave up."""
        counted = message in self.errors or len(self.errors) < MAX_ERRORS
        self.errors[message if counted else "other"] += 1

    def progress(self) -> dict[str, int]:
        """The counts of a line of progress."""
        names = ("listening", "heard", "chunks", "missing", "underruns", "reconnects", "refused", "bytes")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """All figures, for `from_json`."""
        values: dict[str, Any] = {name: getattr(self, name) for name in COUNTS}
        values["first_audio_bins"] = self.first_audio_ms.to_json()
        values["jitter_bins"] = self.jitter_ms.to_json()
        values["errors"] = dict(self.errors)
        return values

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tally:
        """The inverse of `to_json`.

        Raises:
            KeyError: a figure is missing.
        """
        return cls(
            **{name: int(value[name]) for name in COUNTS},
            first_audio_ms=Histogram.from_json(value["first_audio_bins"]),
            jitter_ms=Histogram.from_json(value["jitter_bins"]),
            errors=Counter(value["errors"]),
        )

    def add(self, other: Tally) -> None:
        """Add the figures of another process."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_audio_ms.counts.update(other.first_audio_ms.counts)
        self.jitter_ms.counts.update(other.jitter_ms.counts)
        self.errors.update(other.errors)


COUNTS: Final = (
    "listeners", "heard", "listening", "chunks", "missing", "gaps", "repeats", "underruns", "reconnects", "recovered",
    "refused", "skips", "bytes",
)  # fmt: skip
"""Attributes of a tally that are plain sums."""
