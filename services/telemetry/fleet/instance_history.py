"""Ten minutes of an instance's counters: increases, rates and recent histograms. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.telemetry.exposition import exposition as text
from services.telemetry.exposition.exposition import Exposition
from services.telemetry.exposition.histograms import MAX_COUNT, buckets
from services.telemetry.exposition.histograms import increase as histogram_increase

KEPT_S: Final = 600.0
"""How long snapshots are kept."""
SPACING_S: Final = 10.0
"""Time between two snapshots."""
MAX_SNAPSHOTS: Final = int(KEPT_S / SPACING_S) + 2
JITTER: Final = "chunk_delivery_jitter_ms"
LATENCY: Final = "synthesis_latency_seconds"
FIRST_AUDIO: Final = "auralis_first_audio_seconds"
HISTOGRAMS: Final = (JITTER, LATENCY, FIRST_AUDIO)
COUNTERS: Final = (
    "auralis_underruns_total",
    "auralis_blocks_missing_total",
    "auralis_bus_reconnects_total",
    "auralis_bus_streams_mended_total",
    "auralis_render_blocks_total",
    "auralis_render_out_of_memory_total",
)
SEND_ERRORS: Final = "websocket_send_errors_total"
REFUSALS: Final = "auralis_refusals_total"
REFUSALS_FOR_WANT: Final = ("connections", "streams", "overload", "unrenderable")
"""Reasons for refusals for want of room or workers."""
LABELLED: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    # A listener that has left is not an error.
    SEND_ERRORS: ("error_type", lambda kind: kind != "closed"),
    # Other refusals are the listener's own doing: its token, its page, its many connections.
    REFUSALS: ("reason", lambda reason: reason in REFUSALS_FOR_WANT),
}
"""Counters whose labels are added up: the label, and which of its values count."""

Count = dict[float, float]
"""A histogram as cumulative counts by upper bound; a counter as a single count at `_COUNTER`."""
_COUNTER: Final = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counts of an instance at one moment, by metric, as if it had never restarted."""

    time_s: float
    counts: Mapping[str, Count]


@dataclass(slots=True)
class InstanceHistory:
    """Ten minutes of snapshots of one instance; overflow drops the oldest.

    A process that restarts under the same name, such as a container in its pod, counts from zero again. The counts from
    before the restart are added from then on, as in Prometheus, so that increases span restarts.

    Attributes:
        snapshots: `SPACING_S` apart, oldest first.
        latest: the newest snapshot; it may not be among `snapshots`.
    """

    snapshots: deque[Snapshot] = field(default_factory=lambda: deque(maxlen=MAX_SNAPSHOTS))
    latest: Snapshot = field(default_factory=lambda: Snapshot(-math.inf, {}))
    _raw_counts: dict[str, Count] = field(default_factory=dict)
    """The newest counts as the instance itself gives them."""
    _counts_before_restart: dict[str, Count] = field(default_factory=dict)

    def add(self, exposition: Exposition, now_s: float) -> None:
        """Add the counts of an exposition."""
        counts = _counts(exposition)
        for name, count in counts.items():
            last = self._raw_counts.get(name, {})
            before = self._counts_before_restart.get(name, {})
            if last.keys() != count.keys():
                # The first exposition, or one of another version, with other bounds.
                self._counts_before_restart[name] = {}
            elif any(count[bound] < last[bound] for bound in count):
                self._counts_before_restart[name] = {bound: last[bound] + before.get(bound, 0.0) for bound in count}
        self._raw_counts = counts
        self.latest = Snapshot(now_s, {name: self._over_restarts(name, count) for name, count in counts.items()})
        if not self.snapshots or now_s - self.snapshots[-1].time_s >= SPACING_S:
            self.snapshots.append(self.latest)

    def increase(self, counter: str, window_s: float) -> float | None:
        """Increase of a counter in the last `window_s` seconds, or since its first snapshot; None without it."""
        now = self.latest.counts.get(counter)
        if now is None:
            return None
        then = self._snapshot_before(window_s)
        before = now if then is None else then.counts.get(counter, {})
        return now[_COUNTER] - before.get(_COUNTER, 0.0)

    def rate(self, counter: str, window_s: float) -> float | None:
        """Increase of a counter per second; None without it, or with a single snapshot."""
        increase, then = self.increase(counter, window_s), self._snapshot_before(window_s)
        if increase is None or then is None or self.latest.time_s <= then.time_s:
            return None
        return increase / (self.latest.time_s - then.time_s)

    def histogram_increase(self, histogram: str, window_s: float) -> dict[float, float]:
        """Increase of a histogram in the last `window_s` seconds; with a single snapshot, all of its counts."""
        now = self.latest.counts.get(histogram, {})
        then = self._snapshot_before(window_s)
        return histogram_increase({} if then is None else then.counts.get(histogram, {}), now)

    def _over_restarts(self, name: str, count: Count) -> Count:
        before = self._counts_before_restart.get(name)
        return {bound: each + before.get(bound, 0.0) for bound, each in count.items()} if before else count

    def _snapshot_before(self, window_s: float) -> Snapshot | None:
        """The newest snapshot that is at least `window_s` old, else the oldest; None if `latest` is the only one."""
        found: Snapshot | None = None
        for snapshot in self.snapshots:
            if snapshot is self.latest or (found is not None and snapshot.time_s > self.latest.time_s - window_s):
                break
            found = snapshot
        return found


def _counts(exposition: Exposition) -> dict[str, Count]:
    found = {name: {_COUNTER: value} for name in COUNTERS if (value := text.value(exposition, name)) is not None}
    for name, (label, counts_in) in LABELLED.items():
        values = text.by_label(exposition, name, label)
        if values:
            found[name] = {_COUNTER: sum(count for value, count in values.items() if counts_in(value))}
    found = {name: count for name, count in found.items() if 0 <= count[_COUNTER] < MAX_COUNT}
    return found | {name: counts for name in HISTOGRAMS if (counts := buckets(exposition, name))}
