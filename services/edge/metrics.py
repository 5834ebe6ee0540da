"""The edge's metrics (shell: Prometheus)."""

from __future__ import annotations

import heapq
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.contract.subjects import LANES
from services.contract.websocket import TIERS, CloseCode
from services.edge.stream.ring import Added
from services.runtime.metrics import LATENCY_BUCKETS_S, PrometheusMetrics

SILENCE_DBFS: Final = -120.0
"""The loudness of digital silence, and the least that is reported, in dB of full scale."""
NAMED_CLIENTS: Final = 50
"""Listeners with series of their own; the others appear in sums only."""

_LATENESS_BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
"""For times within a tick, which is 0.1 s."""
_WAIT_BUCKETS_S: Final = (0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""For the time from an ask to its block, up to the lead of 5 s."""

REFUSALS: Final = (
    "connections", "address", "origin", "draining", "streams", "overload", "unrenderable", "token",
)  # fmt: skip
"""Values of the label `reason`."""
SEND_ERRORS: Final = ("closed", "overflow", "stalled", "exception")
"""Values of the label `error_type`."""
ASK_RESULTS: Final = ("accepted", "duplicate", "full", "error", "dropped")
"""Values of the label `result` of asks."""


class EdgeMetrics:
    """The edge's metrics. Each attribute is one metric, described by its help text.

    Args:
        metrics: the process's metrics.
    """

    def __init__(self, metrics: PrometheusMetrics) -> None:
        self.process = metrics
        self._registry = metrics.registry
        self.connections = metrics.active_websocket_connections
        self.encoding = metrics.chunk_encoding_duration_seconds
        self.jitter_ms = metrics.chunk_delivery_jitter_ms
        self.send_errors = metrics.websocket_send_errors_total
        self.client_numbers = ClientNumbers(metrics.buffer_depth_chunks, metrics.buffer_underruns_total)
        self._add_gauges()
        self._add_histograms()
        self._add_counters()
        self._begin_at_zero()

    def _add_gauges(self) -> None:
        gauge = self._gauge
        self.listeners = gauge("auralis_listeners", "Listeners connected now, over WebSocket and HTTP.")
        self.listeners_limit = gauge("auralis_listeners_limit", "Listeners that this edge takes (WS_MAX_CONNECTIONS).")
        self.tiers = gauge("auralis_tier_listeners", "Listeners in each buffer tier.", "tier")
        self.streams = gauge("auralis_streams", "Streams that this edge keeps a ring of, heard or just left.")
        self.demand = gauge("auralis_render_demand_streams", "Streams with listeners: what renderers are asked for.")
        self.degraded = gauge("auralis_degraded_streams", "Streams with listeners that play a loop for want of blocks.")
        self.loudness = gauge(
            "auralis_loudness_min_dbfs",
            "RMS of the last second of the quietest stream with listeners, in dB of full scale; -120 is silence.",
        )
        self.renderers = gauge(
            "auralis_ready_renderers", "Synthesis workers that have said within 5 s that they are ready."
        )
        self.clock_difference = gauge(
            "auralis_clock_difference_seconds",
            "Seconds by which this edge's clock is ahead of the median of those that it knows: workers and the bus.",
        )
        self.overloaded = gauge("auralis_overloaded", "1 while new streams are refused because blocks come late.")

    def _add_histograms(self) -> None:
        histogram = self._histogram
        self.tick_lateness = histogram(
            "auralis_tick_lateness_seconds", "How late the edge woke for a tick.", _LATENESS_BUCKETS_S
        )
        self.tick_work = histogram(
            "auralis_tick_work_seconds",
            "Time from waking for a tick to the last listener's write.",
            _LATENESS_BUCKETS_S,
        )
        self.first_audio = histogram(
            "auralis_first_audio_seconds", "Time from a listener's start message to its first chunk.", LATENCY_BUCKETS_S
        )
        self.block_wait = histogram(
            "auralis_block_wait_seconds", "Time from first asking for a block to its arrival.", _WAIT_BUCKETS_S
        )

    def _add_counters(self) -> None:
        counter = self._counter
        self.blocks = counter("auralis_blocks_total", "Blocks that arrived, by what became of them.", "result")
        self.missing = counter("auralis_blocks_missing_total", "Blocks that were not there when they were due.")
        self.asks = counter("auralis_asks_total", "Render jobs asked for, by lane and result.", "lane", "result")
        self.skips = counter("auralis_skips_total", "How often a slow listener was moved on to the live tick.")
        self.skipped_chunks = counter("auralis_skipped_chunks_total", "Chunks that slow listeners were not sent.")
        self.clock_jumps = counter(
            "auralis_clock_jumps_total",
            "How often the edge went on at another time, because its machine's clock was set or the machine has slept.",
            "direction",
        )
        self.mount_skips = counter(
            "auralis_mount_skips_total", "How often a slow HTTP listener was moved on to a stream's newest part."
        )
        self.underruns = counter("auralis_underruns_total", "Underruns of all listeners, seen or reported.")
        self.splices = counter("auralis_splices_total", "How often a listener changed its stream while listening.")
        self.resumes = counter(
            "auralis_resumes_total",
            "Listeners that came back with a token, by whether they went on without a gap.",
            "recovered",
        )
        self.refusals = counter("auralis_refusals_total", "Connections and streams refused, by reason.", "reason")
        self.closes = counter("auralis_closes_total", "WebSocket connections closed by the edge, by code.", "code")
        self.sent = counter("auralis_messages_sent_total", "Audio messages handed to listeners' connections.")
        self.sent_bytes = counter(
            "auralis_sent_bytes_total", "Bytes of audio messages handed to listeners' connections."
        )
        self.bad_messages = counter(
            "auralis_bus_messages_skipped_total", "Messages on the bus that could not be read.", "kind"
        )

    def _begin_at_zero(self) -> None:
        """Give every known label value a sample: a rate over a missing series raises no alert."""
        for result in (*Added, "invalid"):
            self.blocks.labels(result=str(result))
        for lane in LANES:
            for result in ASK_RESULTS:
                self.asks.labels(lane=lane, result=result)
        for reason in REFUSALS:
            self.refusals.labels(reason=reason)
        for kind in SEND_ERRORS:
            self.send_errors.labels(error_type=kind)
        for tier in TIERS:
            self.tiers.labels(tier=tier)
        for code in CloseCode:
            self.closes.labels(code=str(int(code)))
        for recovered in ("true", "false"):
            self.resumes.labels(recovered=recovered)
        for kind in ("block", "presence"):
            self.bad_messages.labels(kind=kind)
        self.loudness.set(SILENCE_DBFS)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self._registry)


class ClientNumbers:
    """Reused numbers for listeners, so that the names of series stay few.

    Args:
        depth: gauge by client_id; the series of a number goes when its listener goes.
        underruns: counter by client_id; its series stays, because a rate needs its past.
    """

    def __init__(self, depth: Gauge, underruns: Counter) -> None:
        self._depth = depth
        self._underruns = underruns
        self._free: list[int] = []
        self._next = 0

    def take(self) -> int:
        """The lowest free number, from 0 on."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, number: int) -> None:
        """The listener with this number has gone."""
        heapq.heappush(self._free, number)
        if number < NAMED_CLIENTS and (f"client_{number}",) in self._depth._metrics:  # noqa: SLF001 - remove() of an unknown child raises
            self._depth.remove(f"client_{number}")

    def set_depth(self, number: int, chunks: int) -> None:
        """Set the chunks that a listener holds; ignored for numbers without series of their own."""
        if number < NAMED_CLIENTS:
            self._depth.labels(client_id=f"client_{number}").set(chunks)

    def count_underruns(self, number: int, count: int) -> None:
        """Count underruns of a listener; ignored for numbers without series of their own."""
        if number < NAMED_CLIENTS:
            self._underruns.labels(client_id=f"client_{number}").inc(count)
