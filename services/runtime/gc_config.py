"""Python's garbage collector, tuned for a process that must not pause (shell: Prometheus, a clock)."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any, Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.runtime.metrics import PrometheusMetrics

THRESHOLDS: Final = (50_000, 500, 1_000)
"""Allocations before a young collection, young collections before a middle one, middle ones before a full one.

The defaults (700, 10, 10) visit every object of a large process many times a minute, although reference counting frees
nearly all of them."""
GENERATIONS: Final = 3


class RealTimeGCConfig:
    """Makes collections fewer and shorter, and counts them.

    Call `configure` at the start, and `freeze` when everything long-lived is built.

    Args:
        metrics: where `gc_collections_total{generation}` is counted, and `auralis_gc_pause_seconds_total` and
            `auralis_gc_longest_pause_seconds` are exposed.
    """

    def __init__(self, metrics: PrometheusMetrics | None = None) -> None:
        self._metrics = metrics
        self._before: tuple[int, int, int] | None = None
        self._started_s = 0.0
        # Plain numbers: a collection may begin while a metric's lock is held, and its callback must not wait for it.
        self.collections = [0] * GENERATIONS
        self.pause_s = [0.0] * GENERATIONS
        self.longest_pause_s = 0.0

    def configure(self) -> None:
        """Set the thresholds and count collections from now on; a second call does nothing."""
        if self._before is not None:
            return
        self._before = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._on_collection)
        if self._metrics is not None:
            self._metrics.registry.register(_GcCollector(self, self._metrics))

    def freeze(self) -> int:
        """Collect once, then exempt all live objects from later collections; returns their number."""
        gc.collect()
        gc.freeze()
        return gc.get_freeze_count()

    def restore(self) -> None:
        """Undo `configure` and `freeze`, for tests and tools."""
        if self._before is not None:
            gc.set_threshold(*self._before)
            self._before = None
            gc.callbacks.remove(self._on_collection)
        gc.unfreeze()

    def _on_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._started_s = time.perf_counter()
            return
        pause_s = time.perf_counter() - self._started_s
        generation = min(info["generation"], GENERATIONS - 1)
        self.collections[generation] += 1
        self.pause_s[generation] += pause_s
        self.longest_pause_s = max(self.longest_pause_s, pause_s)


class _GcCollector(Collector):
    """Copies the plain numbers into metrics when they are read."""

    def __init__(self, config: RealTimeGCConfig, metrics: PrometheusMetrics) -> None:
        self._config = config
        self._counter = metrics.gc_collections_total
        self._exposed = [0] * GENERATIONS
        for generation in range(GENERATIONS):
            self._counter.labels(generation=str(generation))

    def collect(self) -> Iterator[Metric]:
        for generation, count in enumerate(list(self._config.collections)):
            self._counter.labels(generation=str(generation)).inc(count - self._exposed[generation])
            self._exposed[generation] = count
        pauses = CounterMetricFamily(
            "auralis_gc_pause_seconds",
            "Seconds that Python's garbage collector stopped this process, by generation.",
            labels=["generation"],
        )
        for generation, pause_s in enumerate(self._config.pause_s):
            pauses.add_metric([str(generation)], pause_s)
        yield pauses
        yield GaugeMetricFamily(
            "auralis_gc_longest_pause_seconds",
            "Longest pause by Python's garbage collector since the start.",
            value=self._config.longest_pause_s,
        )
