"""The alerts that telemetry judges itself, if no Prometheus is configured. Pure.

Names, severities and limits are those of charts/auralis/files/alerts.yaml; a test compares the two. Prometheus judges
from its stored samples, telemetry from what it has seen since its start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.telemetry.fleet.report import FleetReport, InstanceReport

LATE_AFTER_MS: Final = 50.0
"""A chunk that is written later counts as late."""
LATE_ALLOWED: Final = 0.01
"""The objective: at most this share of the chunks is late."""
MAX_JITTER_P99_MS: Final = 50.0
MAX_UNDERRUNS_PER_LISTENER: Final = 0.05
"""In five minutes."""
MAX_SEND_ERRORS: Final = 5
"""In five minutes, of an edge without listeners …"""
MAX_SEND_ERRORS_PER_LISTENER: Final = 0.02
"""… and for each listener in addition."""
NEARLY_FULL: Final = 0.9
"""Share of an edge's limit of listeners."""
SILENT_BELOW_DBFS: Final = -60.0
MAX_RENDER_P99_MS: Final = 100.0
MAX_BLOCKS_MISSING_PER_STREAM: Final = 0.01
"""Blocks a second that are missing when they are due, for each stream."""
MAX_GPU_MB: Final = 4096.0
MAX_BUS_RECONNECTS: Final = 3
"""In ten minutes."""
MAX_CLOCK_OFFSET_S: Final = 0.5
RESOLVED_KEPT_S: Final = 900.0
"""How long a resolved alert is shown."""
MAX_ALERTS: Final = 500
"""Active alerts; overflow: later ones are not shown."""
_SAMPLE_SPACING_S: Final = 50.0
"""Least time between two samples of the budget; rounds are a few seconds apart."""


@dataclass(frozen=True, slots=True)
class AlertReport:
    """One alert.

    Attributes:
        name: as in the alert rules.
        severity: "critical" or "warning".
        state: "pending" (its condition has not held long enough), "firing", or "resolved" (within 15 minutes).
        instance: the instance that it is about; "" for the whole fleet.
        summary: the problem in a few words.
        description: the problem with its value.
        runbook: what to do: a URL, or a file of the repository.
        since: Unix seconds when it began; of a resolved one, when it ended.
    """

    name: str
    severity: str
    state: str
    instance: str
    summary: str
    description: str
    runbook: str
    since: float


@dataclass(frozen=True, slots=True)
class AlertsReport:
    """All alerts.

    Attributes:
        source: "prometheus" or "telemetry": the judge of the alerts.
        problem: why Prometheus' alerts cannot be fetched; "" if they can, or if telemetry judges.
        alerts: firing ones first, critical before warning.
    """

    source: str
    problem: str
    alerts: list[AlertReport]


Found = Iterable[tuple[str, str]]
"""(instance, description) of each problem that exists now."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert's rule.

    Attributes:
        name: of the alert.
        severity: "critical" or "warning".
        for_s: seconds for which the condition must hold before the alert fires.
        summary: the problem in a few words.
        find: yields the problems that exist now.
    """

    name: str
    severity: str
    for_s: float
    summary: str
    find: Callable[[FleetReport, LateBudget], Found]


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

    def burning(self, now_s: float) -> float | None:
        """The share of late chunks in the short window of a burn rate that is exceeded; None if none is."""
        for rate in BURN_RATES:
            limit = rate.factor * LATE_ALLOWED
            short = self.ratio(now_s, rate.short_s)
            if short > limit and self.ratio(now_s, rate.long_s) > limit:
                return short
        return None


def _rows(fleet: FleetReport, service: str = "") -> Iterator[InstanceReport]:
    return (row for row in fleet.instances if row.up and service in ("", row.service))


def _burning(fleet: FleetReport, budget: LateBudget) -> Found:
    share = budget.burning(fleet.generated_at)
    if share is not None:
        yield "", f"{share:.1%} of the chunks are written more than 50 ms late; the objective is at most 1 %"


def _jitter(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if (row.jitter_p99_ms or 0) > MAX_JITTER_P99_MS:
            yield row.instance, f"p99 chunk lateness {row.jitter_p99_ms:.0f} ms; the target is 50 ms"


def _underruns(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.listeners and (row.underruns_5m or 0) / row.listeners > MAX_UNDERRUNS_PER_LISTENER:
            yield row.instance, f"{(row.underruns_5m or 0) / row.listeners:.2f} underruns per listener in five minutes"


def _send_errors(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if (row.send_errors_5m or 0) > MAX_SEND_ERRORS + MAX_SEND_ERRORS_PER_LISTENER * (row.listeners or 0):
            yield row.instance, f"{row.send_errors_5m} failed sends in five minutes"


def _near_limit(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.listeners_limit and (row.listeners or 0) / row.listeners_limit > NEARLY_FULL:
            yield row.instance, f"{row.listeners} of {row.listeners_limit} listeners"


def _silence(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.loudness_dbfs is not None and row.loudness_dbfs < SILENT_BELOW_DBFS and row.demanded_streams:
            yield row.instance, f"the quietest stream with listeners is at {row.loudness_dbfs:.0f} dBFS"


def _degraded(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.degraded_streams:
            yield row.instance, f"{row.degraded_streams} streams loop their last seconds"


def _no_workers(fleet: FleetReport, _: LateBudget) -> Found:
    heard = [row.ready_renderers or 0 for row in _rows(fleet, "edge")]
    if heard and max(heard) == 0:
        yield "", "edges have seen no ready worker"


def _slow(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "synthesis"):
        if (row.render_p99_ms or 0) > MAX_RENDER_P99_MS:
            yield row.instance, f"p99 render latency {row.render_p99_ms:.0f} ms; the target is 100 ms"


def _backlog(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        missing_per_s = (row.blocks_missing_2m or 0) / 120
        if row.overloaded:
            yield row.instance, "new streams are refused, because blocks are late"
        elif missing_per_s > MAX_BLOCKS_MISSING_PER_STREAM * (row.demanded_streams or 0):
            yield row.instance, f"{row.blocks_missing_2m or 0} blocks were missing when due, in two minutes"


def _gpu_memory(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        held_mb = (row.memory.gpu_mb if row.memory else None) or 0
        if held_mb > MAX_GPU_MB or row.out_of_memory_10m:
            yield (
                row.instance,
                f"{held_mb:.0f} MiB are allocated; {row.out_of_memory_10m} batches were halved because memory ran out",
            )


def _leak(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        if row.memory and row.memory.leak:
            yield (
                row.instance,
                f"memory grows by {row.memory.growth_mb_per_hour or 0:.0f} MiB per hour; the limit is 20",
            )


def _gone(fleet: FleetReport, _: LateBudget) -> Found:
    if not fleet.bus_connected:
        return  # all instances look silent
    for row in fleet.instances:
        if not row.up:
            yield row.instance, f"no answer for {row.silent_s:.0f} s"


def _reconnecting(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        if row.bus_connected is False or (row.bus_reconnects_10m or 0) > MAX_BUS_RECONNECTS:
            yield row.instance, f"{row.bus_reconnects_10m or 0} reconnects in ten minutes"
    if not fleet.bus_connected:
        yield "", "telemetry is disconnected from NATS"


def _clock(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        if abs(row.clock_offset_s or 0) > MAX_CLOCK_OFFSET_S:
            yield row.instance, f"{abs(row.clock_offset_s or 0):.1f} s from the machine's clock"


RULES: Final = (
    Rule("DeliveryBudgetBurning", "critical", 0, "Late chunks use up the error budget", _burning),
    Rule("ChunkJitterHigh", "warning", 120, "p99 chunk lateness is above 50 ms", _jitter),
    Rule("BufferUnderrunsHigh", "warning", 60, "Listeners' buffers run empty", _underruns),
    Rule("WebSocketErrorsHigh", "warning", 60, "Sends to listeners fail", _send_errors),
    Rule("ConnectionsNearLimit", "warning", 120, "An edge is nearly full", _near_limit),
    Rule("EdgeSilent", "critical", 30, "A stream with listeners is silent", _silence),
    Rule("StreamsDegraded", "warning", 30, "Streams loop their last seconds", _degraded),
    Rule("NoSynthesisWorkers", "critical", 60, "No worker is ready to render", _no_workers),
    Rule("SynthesisLatencyHigh", "warning", 60, "p99 render latency is above 100 ms", _slow),
    Rule("RenderBacklog", "critical", 60, "Blocks arrive too late", _backlog),
    Rule("GPUMemoryHigh", "warning", 60, "A worker's GPU memory is high", _gpu_memory),
    Rule("MemoryLeakDetected", "warning", 300, "A process leaks memory", _leak),
    Rule("InstanceSilent", "warning", 30, "A process does not answer", _gone),
    Rule("NatsReconnecting", "warning", 30, "The connection to NATS is unstable", _reconnecting),
    Rule("ClockOffsetHigh", "warning", 60, "A process's clock differs from its machine's", _clock),
)


@dataclass(slots=True)
class _Active:
    rule: Rule
    instance: str
    began_s: float
    description: str
    fired: bool = False


@dataclass(slots=True)
class Alerts:
    """Tracks which alerts are pending, firing or resolved."""

    budget: LateBudget = field(default_factory=LateBudget)
    _active: dict[tuple[str, str], _Active] = field(default_factory=dict)
    _resolved: dict[tuple[str, str], AlertReport] = field(default_factory=dict)

    def judge(self, fleet: FleetReport, jitter: Mapping[float, float]) -> None:
        """Apply all rules to the fleet; to be called every few seconds.

        Args:
            fleet: its present state.
            jitter: lateness in ms of the last minute's chunks: cumulative counts by upper bound.
        """
        now_s = fleet.generated_at
        total = jitter.get(float("inf"), 0.0)
        self.budget.add(now_s, max(0.0, total - jitter.get(LATE_AFTER_MS, total)), total)
        problems: dict[tuple[str, str], tuple[Rule, str]] = {}
        for rule in RULES:
            for instance, description in rule.find(fleet, self.budget):
                problems[rule.name, instance] = (rule, description)
        for key, (rule, description) in problems.items():
            active = self._active.get(key)
            if active is None:
                if len(self._active) >= MAX_ALERTS:
                    continue
                active = self._active[key] = _Active(rule, key[1], now_s, description)
            active.description = description
            active.fired = active.fired or now_s - active.began_s >= rule.for_s
        for key in [key for key in self._active if key not in problems]:
            active = self._active.pop(key)
            if active.fired:
                self._resolved[key] = _alert_report(active, "resolved", now_s)
        for key in [k for k, a in self._resolved.items() if k in self._active or now_s - a.since > RESOLVED_KEPT_S]:
            del self._resolved[key]

    def report(self) -> AlertsReport:
        """All alerts."""
        alerts = [
            _alert_report(active, "firing" if active.fired else "pending", active.began_s)
            for active in self._active.values()
        ]
        return AlertsReport("telemetry", "", in_order([*alerts, *self._resolved.values()]))


def in_order(alerts: Iterable[AlertReport]) -> list[AlertReport]:
    """Sort alerts: firing ones first, critical before warning, then by name."""
    states, severities = ("firing", "pending", "resolved"), ("critical", "warning")
    return sorted(
        alerts,
        key=lambda each: (
            states.index(each.state) if each.state in states else len(states),
            severities.index(each.severity) if each.severity in severities else len(severities),
            each.name,
            each.instance,
        ),
    )


def _alert_report(active: _Active, state: str, since_s: float) -> AlertReport:
    rule = active.rule
    return AlertReport(
        name=rule.name,
        severity=rule.severity,
        state=state,
        instance=active.instance,
        summary=rule.summary,
        description=active.description,
        runbook=f"docs/runbooks/{rule.name}.md",
        since=round(since_s, 1),
    )
