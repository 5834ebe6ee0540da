"""Prometheus metrics that the services share (shell: Prometheus, psutil)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import prometheus_client
import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

LATENCY_BUCKETS_S: Final = (
    0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0,
)  # fmt: skip
"""Dense around the targets: 100 ms for a block, 250 ms to the first sound, 300 ms until a change is audible."""
JITTER_BUCKETS_MS: Final = (1, 2, 3, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 500)
"""Dense around the target of 50 ms."""
ENCODING_BUCKETS_S: Final = (
    5e-06, 1e-05, 2e-05, 3e-05, 5e-05, 7.5e-05, 1e-04, 2e-04, 5e-04, 1e-03, 2e-03, 5e-03, 1e-02, 5e-02,
)  # fmt: skip
"""Base64 of a chunk takes tens of microseconds; an Opus chunk about a millisecond."""

_MIB = 2**20


class PrometheusMetrics:
    """The metrics of one process.

    Each named metric exists from its first use on, so that a process exposes only its own.

    Args:
        registry: where they are registered; None: a registry of its own, so that two instances never collide.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        # `_created` series double the number of series and are not used.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped in the library
        self.registry = CollectorRegistry() if registry is None else registry

    def exposition(self) -> bytes:
        """All metrics as Prometheus text format 0.0.4."""
        return prometheus_client.generate_latest(self.registry)

    @cached_property
    def synthesis_latency_seconds(self) -> Histogram:
        """Seconds from a render job being fetched to its block being published."""
        return Histogram(
            "synthesis_latency_seconds",
            "Time from fetching a render job to publishing its one-second block, per block.",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )

    @cached_property
    def buffer_depth_chunks(self) -> Gauge:
        """Chunks of 100 ms that a listener holds unplayed, by client number."""
        return Gauge(
            "buffer_depth_chunks",
            "Chunks of 100 ms that a listener holds unplayed; client_id is a reused number, first 50 listeners only.",
            ["client_id"],
            registry=self.registry,
        )

    @cached_property
    def chunk_delivery_jitter_ms(self) -> Histogram:
        """Milliseconds by which a chunk was written later than its place in time."""
        return Histogram(
            "chunk_delivery_jitter_ms",
            "Milliseconds between when a chunk was due to be written to a listener and when it was.",
            buckets=JITTER_BUCKETS_MS,
            registry=self.registry,
        )

    @cached_property
    def active_websocket_connections(self) -> Gauge:
        """Open WebSocket connections."""
        return Gauge(
            "active_websocket_connections",
            "WebSocket connections that are open now; HTTP listeners are in auralis_listeners.",
            registry=self.registry,
        )

    @cached_property
    def buffer_underruns_total(self) -> Counter:
        """How often a listener's buffer ran dry, by client number."""
        return Counter(
            "buffer_underruns_total",
            "How often a listener's buffer ran dry; client_id is a reused number, first 50 listeners only.",
            ["client_id"],
            registry=self.registry,
        )

    @cached_property
    def websocket_send_errors_total(self) -> Counter:
        """Sends to a WebSocket that failed, by kind."""
        return Counter(
            "websocket_send_errors_total",
            "Sends to a WebSocket that failed, by kind of error.",
            ["error_type"],
            registry=self.registry,
        )

    @cached_property
    def memory_usage_mb(self) -> Gauge:
        """Resident memory of this process in MiB."""
        return Gauge("memory_usage_mb", "Resident memory of this process in MiB.", registry=self.registry)

    @cached_property
    def gpu_memory_allocated_mb(self) -> Gauge:
        """Memory of the GPU that tensors of this process hold, in MiB."""
        return Gauge(
            "gpu_memory_allocated_mb",
            "Memory of the GPU that tensors of this process hold, in MiB; 0 without a GPU.",
            registry=self.registry,
        )

    @cached_property
    def auralis_gpu_memory_bytes(self) -> Gauge:
        """Memory of the GPU in bytes."""
        return Gauge(
            "auralis_gpu_memory_bytes",
            "Memory of the GPU that this process uses, in bytes; 0 without a GPU.",
            registry=self.registry,
        )

    @cached_property
    def chunk_encoding_duration_seconds(self) -> Histogram:
        """Seconds to encode one chunk, once for all of its listeners."""
        return Histogram(
            "chunk_encoding_duration_seconds",
            "Time to encode one chunk of 100 ms, once for all of its listeners.",
            buckets=ENCODING_BUCKETS_S,
            registry=self.registry,
        )

    @cached_property
    def gc_collections_total(self) -> Counter:
        """Runs of Python's garbage collector, by generation."""
        return Counter(
            "gc_collections_total",
            "Runs of Python's garbage collector, by generation (2 is the one that can be felt).",
            ["generation"],
            registry=self.registry,
        )

    def describe_process(
        self,
        *,
        service: str,
        clock_offset_s: Callable[[], float] | None = None,
        clock_s: Callable[[], float] | None = None,
    ) -> None:
        """Expose the metrics of every process: build, memory, CPU, file descriptors, clock.

        Args:
            service: "synthesis", "edge" or "telemetry".
            clock_offset_s: seconds by which wall time is ahead of the service's clock, read at each exposition.
            clock_s: unix seconds by the service's clock, read at each exposition.
        """
        Gauge(
            "auralis_build_info",
            "Always 1; the labels say which build runs.",
            ["version", "service", "python"],
            registry=self.registry,
        ).labels(version=build_version(), service=service, python=".".join(map(str, sys.version_info[:3]))).set(1)
        if clock_s is not None:
            Gauge(
                "auralis_clock_seconds",
                "Unix seconds by this service's clock; telemetry compares the clocks of the fleet.",
                registry=self.registry,
            ).set_function(clock_s)
        if clock_offset_s is not None:
            Gauge(
                "auralis_clock_offset_seconds",
                "Seconds by which wall time is ahead of this service's clock, which follows at 0.1 % at most.",
                registry=self.registry,
            ).set_function(clock_offset_s)
        Gauge(
            "auralis_asyncio_tasks", "Tasks of this process's event loop that are not done.", registry=self.registry
        ).set_function(_live_tasks)
        process = psutil.Process()
        self.memory_usage_mb.set_function(lambda: process.memory_info().rss / _MIB)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)


class MemoryMetrics:
    """Metrics of a `MemoryMonitor`.

    Args:
        metrics: the process's metrics.
    """

    def __init__(self, metrics: PrometheusMetrics) -> None:
        registry = metrics.registry
        self.resident_mb = metrics.memory_usage_mb
        self.gpu_mb = metrics.gpu_memory_allocated_mb
        self.gpu_total_bytes = metrics.auralis_gpu_memory_bytes
        self.unique_bytes = Gauge(
            "auralis_memory_unique_bytes",
            "Memory that ending this process would free (USS), in bytes.",
            registry=registry,
        )
        self.python_blocks = Gauge(
            "auralis_python_blocks",
            "Pieces of memory that Python's objects hold; grows with a leak of objects, not with one of a library.",
            registry=registry,
        )
        self.growth = Gauge(
            "auralis_memory_growth_bytes_per_hour",
            "Slope of this process's memory after warm-up, in bytes per hour: resident, unique (USS) or on the GPU.",
            ["kind"],
            registry=registry,
        )
        self.leak = Gauge(
            "auralis_memory_leak",
            "1 while this process's memory grows by more than 20 MiB per hour beyond doubt; never in its first "
            "20 minutes.",
            registry=registry,
        )
        self.confidence = Gauge(
            "auralis_memory_growth_confidence_ratio",
            "How sure it is that this process's memory grows at all, 0 to 1.",
            registry=registry,
        )
        for kind in MEMORY_KINDS:
            self.growth.labels(kind=kind)


class HttpMetrics:
    """Metrics of the ports of a process.

    Args:
        metrics: the process's metrics; None: they are not exposed.
    """

    def __init__(self, metrics: PrometheusMetrics | None = None) -> None:
        registry = CollectorRegistry() if metrics is None else metrics.registry
        self.pending = Gauge(
            "auralis_pending_connections",
            "Connections that no listener has: they wait for a request, for the answer to an upgrade, or for the next "
            "request.",
            ["port"],
            registry=registry,
        )
        self.refusals = Counter(
            "auralis_http_refusals_total",
            "Requests refused before anything acted on them, and pending connections dropped, by port and reason.",
            ["port", "reason"],
            registry=registry,
        )


class BusMetrics:
    """Metrics of a bus connection.

    Args:
        metrics: the process's metrics; None: they are not exposed.
    """

    def __init__(self, metrics: PrometheusMetrics | None = None) -> None:
        registry = CollectorRegistry() if metrics is None else metrics.registry

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(name, help_text, labels, registry=registry)

        self.dropped = counter(
            "auralis_bus_dropped_total",
            "Messages lost at a bounded queue of the bus connection, by the policy that dropped them.",
            "policy",
        )
        self.errors = counter("auralis_bus_errors_total", "Errors of the bus connection, by kind.", "kind")
        self.reconnects = counter("auralis_bus_reconnects_total", "How often the bus connection came back.")
        self.repairs = counter(
            "auralis_bus_repairs_total",
            "Streams, consumers and buckets that were made again because the server had lost them.",
            "what",
        )
        self.streams_mended = counter(
            "auralis_bus_streams_mended_total", "How often this worker gave a stream its configuration back."
        )
        self.stream_differs = Gauge(
            "auralis_bus_stream_differs",
            "1 while the configuration of a stream on the server is not the wanted one.",
            ("stream",),
            registry=registry,
        )
        self.callback_errors = counter(
            "auralis_bus_callback_errors_total", "Exceptions out of subscription callbacks; the message was skipped."
        )
        self.connected = Gauge("auralis_bus_connected", "1 while the bus connection is up.", registry=registry)
        # Without its labels a counter has no series until it first counts, and an alert on its rate stays silent.
        for policy in DROP_POLICIES:
            self.dropped.labels(policy=policy)


MEMORY_KINDS: Final = ("resident", "unique", "gpu")
DROP_POLICIES: Final = ("subscription_oldest", "publish_backlog", "late_jobs", "gather_newest")
"""Overflow policies of the bus's bounded queues (see `BusLimits`)."""


def _live_tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # called outside the loop
        return 0


def build_version() -> str:
    """The installed version of Auralis; "unknown" if it is not installed."""
    try:
        return version("auralis")
    except PackageNotFoundError:
        return "unknown"
