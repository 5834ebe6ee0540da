"""What a synthesis worker measures (shell: Prometheus)."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.contract.subjects import LANES
from services.runtime.metrics import LATENCY_BUCKETS_S, PrometheusMetrics

_BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LEAD_BUCKETS_S: Final = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
MODES: Final = ("compiled", "eager")


class SynthesisMetrics:
    """The worker's metrics, on the process's registry.

    Args:
        metrics: the process's metrics.
    """

    def __init__(self, metrics: PrometheusMetrics) -> None:
        self.process = metrics
        self.latency = metrics.synthesis_latency_seconds
        self.gpu_memory_mb = metrics.gpu_memory_allocated_mb
        registry = metrics.registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self.blocks = counter("auralis_render_blocks_total", "Blocks rendered and published, by lane.", "lane")
        self.batch_seconds = Histogram(
            "auralis_render_batch_seconds", "Time to render a batch.", buckets=LATENCY_BUCKETS_S, registry=registry
        )
        self.batch_blocks = Histogram(
            "auralis_render_batch_blocks", "Blocks in a batch.", buckets=_BATCH_BUCKETS, registry=registry
        )
        self.lead = Histogram(
            "auralis_render_lead_seconds",
            "Time from a block's publication to the moment it is due; 0 is too late.",
            buckets=_LEAD_BUCKETS_S,
            registry=registry,
        )
        self.realtime_factor = gauge(
            "auralis_render_realtime_factor", "Seconds of sound rendered in a second of rendering, smoothed."
        )
        self.capacity = gauge("auralis_render_capacity_streams", "Streams that this worker can render in real time.")
        self.batch_limit = gauge("auralis_render_batch_limit_blocks", "Blocks that a batch may have now.")
        self.mode = gauge("auralis_render_mode", "1 for the mode in use: compiled or eager.", "mode")
        self.late = counter(
            "auralis_render_late_total",
            "Jobs not rendered because the edge waited for their block no more; each is given back once, then dropped.",
        )
        self.redelivered = counter("auralis_render_redelivered_total", "Jobs that were delivered before.")
        self.returned = counter("auralis_render_returned_total", "Jobs given back unrendered in a drain.")
        self.failures = counter("auralis_render_failures_total", "Jobs whose rendering raised an error.")
        self.poisoned = counter("auralis_render_poisoned_total", "Jobs dropped because their stream failed repeatedly.")
        self.malformed = counter("auralis_render_malformed_total", "Jobs that could not be read.")
        self.silenced = counter("auralis_render_silenced_total", "Blocks whose sound was not a number, silenced.")
        self.unsent = counter("auralis_render_unsent_total", "Rendered blocks that the bus did not take.")
        self.out_of_memory = counter("auralis_render_out_of_memory_total", "Batches too large for the device's memory.")
        self.history_seconds = counter(
            "auralis_render_history_seconds_total",
            "Seconds of reverb send rendered again because they were not kept.",
        )
        for lane in LANES:
            self.blocks.labels(lane=lane)
        for mode in MODES:
            self.mode.labels(mode=mode).set(0)

    def show_capacity(self, streams: float) -> None:
        """Show how many streams the worker renders in real time."""
        self.capacity.set(streams)
        self.realtime_factor.set(streams)
