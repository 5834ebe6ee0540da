"""What an instance had counted some time ago: increases and recent quantiles. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.telemetry import exposition as text
from services.telemetry.exposition import Exposition

KEPT_S: Final = 600.0
SPACING_S: Final = 10.0
MAX_LOOKS: Final = int(KEPT_S / SPACING_S) + 2
HISTOGRAMS: Final = ("chunk_delivery_jitter_ms", "synthesis_latency_seconds")
COUNTERS: Final = (
    "auralis_underruns_total",
    "auralis_blocks_missing_total",
    "auralis_bus_reconnects_total",
    "auralis_render_blocks_total",
    "auralis_render_out_of_memory_total",
)
SEND_ERRORS: Final = "websocket_send_errors_total"


@dataclass(frozen=True, slots=True)
class Look:
    """What an instance had counted at one moment; `buckets` by histogram, cumulative by upper bound."""

    time_s: float
    counters: Mapping[str, float]
    buckets: Mapping[str, Mapping[float, float]]


@dataclass(slots=True)
class Past:
    """Ten minutes of looks at one instance; overflow drops the oldest."""

    looks: deque[Look] = field(default_factory=lambda: deque(maxlen=MAX_LOOKS))
    now: Look = field(default_factory=lambda: Look(-1e9, {}, {}))

    def add(self, exposition: Exposition, now_s: float) -> None:
        """Take a look."""
        self.now = _look(exposition, now_s)
        if not self.looks or now_s - self.looks[-1].time_s >= SPACING_S:
            self.looks.append(self.now)

    def increase(self, name: str, window_s: float) -> float | None:
        """By how much a counter rose in the last `window_s` seconds, or since it was first seen; None without it."""
        now = self.now.counters.get(name)
        if now is None:
            return None
        then = self._before(window_s)
        before = now if then is None else then.counters.get(name, 0.0)
        # A restarted process counts from zero again: then everything it has counted is new.
        return now - before if now >= before else now

    def rate(self, name: str, window_s: float) -> float | None:
        """A counter's increase a second; None without it, or while it has been seen once only."""
        increase, then = self.increase(name, window_s), self._before(window_s)
        if increase is None or then is None or self.now.time_s <= then.time_s:
            return None
        return increase / (self.now.time_s - then.time_s)

    def counted(self, histogram: str, window_s: float) -> dict[float, float]:
        """What a histogram counted in the last `window_s` seconds, or before it was first seen: cumulative by bound."""
        now = self.now.buckets.get(histogram, {})
        then = self._before(window_s)
        before: Mapping[float, float] = {} if then is None else then.buckets.get(histogram, {})
        if any(before.get(bound, 0.0) > count for bound, count in now.items()):
            before = {}
        return {bound: count - before.get(bound, 0.0) for bound, count in now.items()}

    def quantile(self, histogram: str, fraction: float, window_s: float) -> float | None:
        """A quantile of what was counted in the last `window_s` seconds; None where nothing was."""
        return text.quantile(self.counted(histogram, window_s), {}, fraction)

    def _before(self, window_s: float) -> Look | None:
        """The last look that is at least `window_s` old, else the first; None where there is none but this one."""
        found: Look | None = None
        for look in self.looks:
            if look is self.now or (found is not None and look.time_s > self.now.time_s - window_s):
                break
            found = look
        return found


def _look(exposition: Exposition, now_s: float) -> Look:
    counters = {name: value for name in COUNTERS if (value := text.value(exposition, name)) is not None}
    errors = text.by_label(exposition, SEND_ERRORS, "error_type")
    if errors:
        # A listener that has gone is no error.
        counters[SEND_ERRORS] = sum(count for kind, count in errors.items() if kind != "closed")
    return Look(now_s, counters, {name: text.buckets(exposition, name) for name in HISTOGRAMS if name in exposition})
