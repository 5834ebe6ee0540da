"""The alerts as telemetry judges them itself, where no Prometheus is configured. Pure.

Names, severities and limits are those of charts/auralis/files/alerts.yaml; a test holds the two together. What
Prometheus computes from months of samples is judged here from what telemetry has seen since it started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.telemetry.fleet.report import FleetReport, InstanceReport

LATE_ALLOWED: Final = 0.01
"""The promise: 99 % of the chunks within 50 ms."""
RESOLVED_KEPT_S: Final = 900.0
MAX_ALERTS: Final = 500
"""Active ones; overflow: later ones are not shown (a fleet in which everything is on fire needs no longer list)."""


@dataclass(frozen=True, slots=True)
class AlertReport:
    """One alert.

    Attributes:
        name: as in the alert rules.
        severity: "critical" or "warning".
        state: "pending" (not long enough yet), "firing" or "resolved" (within the last 15 minutes).
        instance: who it is about; "" for the whole fleet.
        summary: what is wrong, in a few words.
        description: with the value.
        runbook: where it says what to do: an address, or a file of the repository.
        since: unix seconds of when it began; of a resolved one, when it ended.
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
    """All of them.

    Attributes:
        source: "prometheus" or "telemetry": who judges.
        problem: why Prometheus' alerts cannot be had; "" where they can, or telemetry judges itself.
        alerts: firing ones first, critical before warning.
    """

    source: str
    problem: str
    alerts: list[AlertReport]


Found = Iterable[tuple[str, str]]
"""(instance, description) of what is wrong now."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that must hold for `for_s` seconds."""

    name: str
    severity: str
    for_s: float
    summary: str
    find: Callable[[FleetReport, LateBudget], Found]


class LateBudget:
    """How many chunks were late over some windows of up to six hours."""

    def __init__(self) -> None:
        # (when, late chunks a second, chunks a second) by the minute.
        self._minutes: deque[tuple[float, float, float]] = deque(maxlen=361)

    def add(self, now_s: float, late: float, every: float) -> None:
        """Take a minute in; a second call within 50 s is ignored.

        Args:
            now_s: seconds.
            late, every: chunks of the last minute: more than 50 ms late, and all.
        """
        if not self._minutes or now_s - self._minutes[-1][0] >= 50:
            self._minutes.append((now_s, late, every))

    def ratio(self, now_s: float, window_s: float) -> float:
        """Share of late chunks in the last `window_s` seconds; 0 without chunks."""
        inside = [minute for minute in self._minutes if minute[0] > now_s - window_s]
        every = sum(minute[2] for minute in inside)
        return sum(minute[1] for minute in inside) / every if every else 0.0

    def burn(self, now_s: float) -> float | None:
        """The share of late chunks of the window that burns the budget too quickly; None where none does."""
        for short_s, long_s, factor in ((300.0, 3600.0, 14.4), (1800.0, 21600.0, 6.0)):
            short = self.ratio(now_s, short_s)
            if short > factor * LATE_ALLOWED and self.ratio(now_s, long_s) > factor * LATE_ALLOWED:
                return short
        return None


def _rows(fleet: FleetReport, service: str = "") -> Iterator[InstanceReport]:
    return (row for row in fleet.instances if row.up and service in ("", row.service))


def _burning(fleet: FleetReport, budget: LateBudget) -> Found:
    share = budget.burn(fleet.generated_at)
    if share is not None:
        yield "", f"{share:.1%} of the chunks are written more than 50 ms late; the objective is at most 1 %"


def _jitter(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if (row.jitter_p99_ms or 0) > 50:
            yield row.instance, f"p99 chunk lateness {row.jitter_p99_ms:.0f} ms; the target is 50 ms"


def _underruns(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.listeners and (row.underruns_5m or 0) / row.listeners > 0.05:
            yield row.instance, f"{(row.underruns_5m or 0) / row.listeners:.2f} underruns per listener in five minutes"


def _send_errors(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if (row.send_errors_5m or 0) > 5 + 0.02 * (row.listeners or 0):
            yield row.instance, f"{row.send_errors_5m} failed sends in five minutes"


def _near_limit(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.listeners_limit and (row.listeners or 0) / row.listeners_limit > 0.9:
            yield row.instance, f"{row.listeners} of {row.listeners_limit} listeners"


def _silence(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.loudness_dbfs is not None and row.loudness_dbfs < -60 and row.demanded_streams:
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
        if (row.render_p99_ms or 0) > 100:
            yield row.instance, f"p99 render latency {row.render_p99_ms:.0f} ms; the target is 100 ms"


def _backlog(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        missing_per_s = (row.blocks_missing_2m or 0) / 120
        if row.overloaded:
            yield row.instance, "new streams are refused, because blocks are late"
        elif missing_per_s > 0.01 * (row.demanded_streams or 0):
            yield row.instance, f"{row.blocks_missing_2m or 0} blocks were missing when due, in two minutes"


def _gpu_memory(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        held_mb = (row.memory.gpu_mb if row.memory else None) or 0
        if held_mb > 4096 or row.out_of_memory_10m:
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
        return  # then everybody looks silent
    for row in fleet.instances:
        if not row.up:
            yield row.instance, f"no answer for {row.silent_s:.0f} s"


def _reconnecting(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        if row.bus_connected is False or (row.bus_reconnects_10m or 0) > 3:
            yield row.instance, f"{row.bus_reconnects_10m or 0} reconnects in ten minutes"
    if not fleet.bus_connected:
        yield "", "telemetry is disconnected from NATS"


def _clock(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        if abs(row.clock_offset_s or 0) > 0.5:
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
    """Which alerts are pending, firing, or were until lately."""

    budget: LateBudget = field(default_factory=LateBudget)
    _active: dict[tuple[str, str], _Active] = field(default_factory=dict)
    _resolved: dict[tuple[str, str], AlertReport] = field(default_factory=dict)

    def judge(self, fleet: FleetReport, jitter: Mapping[float, float]) -> None:
        """Look at the fleet; call it every few seconds.

        Args:
            fleet: as it is now.
            jitter: lateness in ms of the last minute's chunks: cumulative counts by upper bound.
        """
        now_s = fleet.generated_at
        every = jitter.get(float("inf"), 0.0)
        self.budget.add(now_s, max(0.0, every - jitter.get(50.0, every)), every)
        wrong: dict[tuple[str, str], tuple[Rule, str]] = {}
        for rule in RULES:
            for instance, description in rule.find(fleet, self.budget):
                wrong[rule.name, instance] = (rule, description)
        for key, (rule, description) in wrong.items():
            active = self._active.get(key)
            if active is None:
                if len(self._active) >= MAX_ALERTS:
                    continue
                active = self._active[key] = _Active(rule, key[1], now_s, description)
            active.description = description
            active.fired = active.fired or now_s - active.began_s >= rule.for_s
        for key in [key for key in self._active if key not in wrong]:
            active = self._active.pop(key)
            if active.fired:
                self._resolved[key] = _told(active, "resolved", now_s)
        for key in [k for k, a in self._resolved.items() if k in self._active or now_s - a.since > RESOLVED_KEPT_S]:
            del self._resolved[key]

    def report(self) -> AlertsReport:
        """All of them."""
        alerts = [
            _told(active, "firing" if active.fired else "pending", active.began_s) for active in self._active.values()
        ]
        return AlertsReport("telemetry", "", in_order([*alerts, *self._resolved.values()]))


def in_order(alerts: Iterable[AlertReport]) -> list[AlertReport]:
    """Firing ones first, critical before warning, then by name."""
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


def _told(active: _Active, state: str, since_s: float) -> AlertReport:
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
