"""Pure. The alerts that telemetry judges itself, if no Prometheus is configured: pending, firing, resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.telemetry.alerting.late_budget import LATE_AFTER_MS, LateBudget
from services.telemetry.alerting.rules import RULES, Rule
from services.telemetry.fleet.report import FleetReport

RESOLVED_KEPT_S: Final = 900.0
"""How long a resolved alert is shown."""
MAX_ALERTS: Final = 500
"""Active alerts; overflow: later ones are not shown."""


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
