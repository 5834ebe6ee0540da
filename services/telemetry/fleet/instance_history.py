"""What an instance had counted some time ago: increases and recent quantiles. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.telemetry.exposition import exposition as text
from services.telemetry.exposition.exposition import Exposition
from services.telemetry.exposition.histograms import MOST, buckets, counted_since, quantile

KEPT_S: Final = 600.0
SPACING_S: Final = 10.0
MAX_LOOKS: Final = int(KEPT_S / SPACING_S) + 2
JITTER: Final = "chunk_delivery_jitter_ms"
LATENCY: Final = "synthesis_latency_seconds"
HISTOGRAMS: Final = (JITTER, LATENCY)
COUNTERS: Final = (
    "auralis_underruns_total",
    "auralis_blocks_missing_total",
    "auralis_bus_reconnects_total",
    "auralis_render_blocks_total",
    "auralis_render_out_of_memory_total",
)
SEND_ERRORS: Final = "websocket_send_errors_total"


Count = dict[float, float]
"""A histogram by upper bound, cumulative; a counter is one without bounds: its count is at `_PLAIN`."""
_PLAIN: Final = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """What an instance had counted at one moment, by metric, as if it had never been restarted."""

    time_s: float
    counts: Mapping[str, Count]


@dataclass(slots=True)
class Past:
    """Ten minutes of looks at one instance; overflow drops the oldest.

    A process that is restarted under its name (a container in its pod) counts from zero again. What it had counted
    before is added from then on, as Prometheus does, so that an increase is one whatever happens in between.
    """

    looks: deque[Look] = field(default_factory=lambda: deque(maxlen=MAX_LOOKS))
    now: Look = field(default_factory=lambda: Look(-1e9, {}))
    _told: dict[str, Count] = field(default_factory=dict)
    """As the instance itself told it at the last look."""
    _before: dict[str, Count] = field(default_factory=dict)
    """What it had counted before its last restart."""

    def add(self, exposition: Exposition, now_s: float) -> None:
        """Take a look."""
        told = _counts(exposition)
        for name, count in told.items():
            last = self._told.get(name, {})
            before = self._before.get(name, {})
            if last.keys() != count.keys():
                # The first look, or another version of it, with other bounds.
                self._before[name] = {}
            elif any(count[bound] < last[bound] for bound in count):
                self._before[name] = {bound: last[bound] + before.get(bound, 0.0) for bound in count}
        self._told = told
        self.now = Look(now_s, {name: self._since_ever(name, count) for name, count in told.items()})
        if not self.looks or now_s - self.looks[-1].time_s >= SPACING_S:
            self.looks.append(self.now)

    def increase(self, name: str, window_s: float) -> float | None:
        """By how much a counter rose in the last `window_s` seconds, or since it was first seen; None without it."""
        now = self.now.counts.get(name)
        if now is None:
            return None
        then = self._look_before(window_s)
        before = now if then is None else then.counts.get(name, {})
        return now[_PLAIN] - before.get(_PLAIN, 0.0)

    def rate(self, name: str, window_s: float) -> float | None:
        """A counter's increase a second; None without it, or while it has been seen once only."""
        increase, then = self.increase(name, window_s), self._look_before(window_s)
        if increase is None or then is None or self.now.time_s <= then.time_s:
            return None
        return increase / (self.now.time_s - then.time_s)

    def counted(self, histogram: str, window_s: float) -> dict[float, float]:
        """What a histogram counted in the last `window_s` seconds, or before it was first seen: cumulative by bound."""
        now = self.now.counts.get(histogram, {})
        then = self._look_before(window_s)
        return counted_since({} if then is None else then.counts.get(histogram, {}), now)

    def quantile(self, histogram: str, fraction: float, window_s: float) -> float | None:
        """A quantile of what was counted in the last `window_s` seconds; None where nothing was."""
        return quantile(self.counted(histogram, window_s), fraction)

    def _since_ever(self, name: str, count: Count) -> Count:
        before = self._before.get(name)
        return {bound: each + before.get(bound, 0.0) for bound, each in count.items()} if before else count

    def _look_before(self, window_s: float) -> Look | None:
        """The last look that is at least `window_s` old, else the first; None where there is none but this one."""
        found: Look | None = None
        for look in self.looks:
            if look is self.now or (found is not None and look.time_s > self.now.time_s - window_s):
                break
            found = look
        return found


def _counts(exposition: Exposition) -> dict[str, Count]:
    found = {name: {_PLAIN: value} for name in COUNTERS if (value := text.value(exposition, name)) is not None}
    errors = text.by_label(exposition, SEND_ERRORS, "error_type")
    if errors:
        # A listener that has gone is no error.
        found[SEND_ERRORS] = {_PLAIN: sum(count for kind, count in errors.items() if kind != "closed")}
    found = {name: count for name, count in found.items() if 0 <= count[_PLAIN] < MOST}
    return found | {name: counts for name in HISTOGRAMS if (counts := buckets(exposition, name))}
