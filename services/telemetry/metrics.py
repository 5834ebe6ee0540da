"""Telemetry's metrics of its own work (shell: prometheus_client)."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.runtime.metrics import PrometheusMetrics
from services.telemetry.fleet.fleet import AnswerResult

PATCH_RESULTS: Final = ("done", "gone", "refused", "failed")
"""Results of patching a pod; "gone": the pod does not exist any more."""
_GATHER_BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class TelemetryMetrics:
    """Telemetry's metrics, on the process's registry.

    Args:
        metrics: the process's metrics.
    """

    def __init__(self, metrics: PrometheusMetrics) -> None:
        registry = metrics.registry
        self.instances = Gauge(
            "auralis_fleet_instances",
            "Instances by service and state; silent: no answer for 10 s.",
            ["fleet_service", "state"],
            registry=registry,
        )
        self.clock_difference = Gauge(
            "auralis_fleet_clock_difference_seconds",
            "Seconds by which an instance's clock is ahead of the median of all clocks.",
            ["fleet_service", "fleet_instance"],
            registry=registry,
        )
        self.gather_seconds = Histogram(
            "auralis_gather_seconds",
            "Time to ask the whole fleet for its metrics.",
            buckets=_GATHER_BUCKETS_S,
            registry=registry,
        )
        self.answers = Counter(
            "auralis_gather_answers_total",
            "Answers of instances, by what became of them.",
            ["result"],
            registry=registry,
        )
        self.missing = Counter(
            "auralis_gather_missing_total",
            "Answers that were expected and did not come in time; late ones are ignored.",
            registry=registry,
        )
        self.forgotten = Counter(
            "auralis_fleet_forgotten_total",
            "Instances dropped from the table after ten minutes of silence.",
            registry=registry,
        )
        self.viewers = Gauge("auralis_dashboard_viewers", "Pages that watch the dashboard's events.", registry=registry)
        self.patches = Counter(
            "auralis_pod_deletion_cost_patches_total",
            "Edge pods whose deletion cost was to be set, by what became of it; nothing outside Kubernetes.",
            ["result"],
            registry=registry,
        )
        for result in PATCH_RESULTS:
            self.patches.labels(result=result)
        for result in AnswerResult:
            self.answers.labels(result=str(result))
