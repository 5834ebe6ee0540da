"""What many listeners heard, counted together in little memory. Pure.

A listener of `services.client` keeps its own histograms; thousands in one process share these.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.contract.timebase import TICK_S

_LEAST_MS: Final = 0.1
_STEP: Final = math.log(1.02)
WINDOW_S: Final = 10.0
"""Jitter is told against the earliest arrival of the last one to two windows."""
STARTING_S: Final = 2.0
"""So long a listener's buffer may still be filling: its chunks come early then, which is no jitter."""
MAX_ERRORS: Final = 20
"""Different sentences that are kept; further ones count as `other`."""


class Histogram:
    """Counts of durations in steps of 2 %, from 0.1 ms up."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts = Counter(counts or {})

    def add(self, value_ms: float) -> None:
        """Count one."""
        self.counts[0 if value_ms <= _LEAST_MS else 1 + int(math.log(value_ms / _LEAST_MS) / _STEP)] += 1

    def percentile_ms(self, share: float) -> float | None:
        """What `share` (0 to 1) of all values do not exceed, to 2 %; None without values."""
        wanted = share * self.counts.total()
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= wanted:
                return _LEAST_MS * math.exp(index * _STEP)
        return None

    def figures_ms(self) -> dict[str, float | None]:
        """Percentiles for a person."""
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        found = {name: self.percentile_ms(share) for name, share in shares.items()}
        return {name: None if value is None else round(value, 1) for name, value in found.items()}

    def to_json(self) -> dict[str, int]:
        """Bins that are not empty: number of the bin -> how many; `percentile_ms` knows what a bin is worth."""
        return {str(index): count for index, count in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> Histogram:
        """What `to_json` made."""
        return cls({int(index): count for index, count in value.items()})


@dataclass(slots=True)
class Place:
    """Where one listener is in its stream.

    Attributes:
        began_s: when its first attempt to connect began, monotonic.
        last_id: the newest chunk that came; None before the first.
    """

    began_s: float
    last_id: int | None = None
    first_s: float = 0.0
    zero_s: float = 0.0
    tier: int = -1
    least_s: float = math.inf
    least_before_s: float = math.inf
    window_ends_s: float = 0.0

    @property
    def next_id(self) -> int | None:
        """The first chunk that is not here yet."""
        return None if self.last_id is None else self.last_id + 1


@dataclass(slots=True)
class Tally:
    """Sums over all listeners of a process.

    Attributes:
        listeners: that were begun; heard: that had a first chunk; listening: that are connected now.
        chunks: received, without repeats. missing: ids that never came. repeats: that came twice.
        underruns: times that a player which started with the first chunk would have run dry.
        gaps: places where ids were missing.
        reconnects, recovered: broken connections; those that went on without gap or repeat.
        refused: attempts that an edge turned away. skips: times that an edge said a listener was too slow.
        bytes: received. errors: what ended a listener, and how often.
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

    def chunk(self, place: Place, chunk_id: int, tier: int, now_s: float) -> None:
        """A chunk came to the listener at `place`."""
        last = place.last_id
        if last is None:
            self.heard += 1
            self.first_audio_ms.add((now_s - place.began_s) * 1000)
            place.first_s = now_s
            place.zero_s = now_s - chunk_id * TICK_S
        elif chunk_id <= last:
            self.repeats += 1
            return
        elif chunk_id != last + 1:
            self.gaps += 1
            self.missing += chunk_id - last - 1
        self.chunks += 1
        place.last_id = chunk_id
        delay_s = now_s - chunk_id * TICK_S
        if delay_s > place.zero_s:
            if last is not None:
                self.underruns += 1
            place.zero_s = delay_s
        if tier != place.tier:
            # A new tier moves all arrivals at once.
            place.tier = tier
            place.least_s = place.least_before_s = math.inf
        if now_s >= place.window_ends_s:
            place.least_before_s, place.least_s = place.least_s, delay_s
            place.window_ends_s = now_s + WINDOW_S
        place.least_s = min(place.least_s, delay_s)
        if now_s - place.first_s > STARTING_S:
            self.jitter_ms.add((delay_s - min(place.least_s, place.least_before_s)) * 1000)

    def splice(self, place: Place, chunk_id: int) -> None:
        """Chunks from `chunk_id` on come again, as another revision or stream: neither repeats nor a gap."""
        if place.last_id is not None and chunk_id <= place.last_id:
            place.last_id = chunk_id - 1
        place.least_s = place.least_before_s = math.inf

    def reconnected(self, place: Place, *, recovered: bool | None) -> None:
        """A broken connection is there again; `recovered` is what the edge says of it."""
        self.reconnects += 1
        self.recovered += recovered is True
        place.least_s = place.least_before_s = math.inf

    def failed(self, sentence: str) -> None:
        """A listener gave up."""
        known = sentence in self.errors or len(self.errors) < MAX_ERRORS
        self.errors[sentence if known else "other"] += 1

    def moment(self) -> dict[str, int]:
        """What changes from second to second, for a line of progress."""
        names = ("listening", "heard", "chunks", "missing", "underruns", "reconnects", "refused", "bytes")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """Everything, for `from_json`."""
        values: dict[str, Any] = {name: getattr(self, name) for name in COUNTS}
        values["first_audio_bins"] = self.first_audio_ms.to_json()
        values["jitter_bins"] = self.jitter_ms.to_json()
        values["errors"] = dict(self.errors)
        return values

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tally:
        """What `to_json` made."""
        return cls(
            **{name: int(value[name]) for name in COUNTS},
            first_audio_ms=Histogram.from_json(value["first_audio_bins"]),
            jitter_ms=Histogram.from_json(value["jitter_bins"]),
            errors=Counter(value["errors"]),
        )

    def add(self, other: Tally) -> None:
        """Take in what another process counted."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_audio_ms.counts.update(other.first_audio_ms.counts)
        self.jitter_ms.counts.update(other.jitter_ms.counts)
        self.errors.update(other.errors)


COUNTS: Final = (
    "listeners", "heard", "listening", "chunks", "missing", "gaps", "repeats", "underruns", "reconnects", "recovered",
    "refused", "skips", "bytes",
)  # fmt: skip
