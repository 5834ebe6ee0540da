"""The state of the fleet as a report: a row for each instance, and the totals. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.contract.websocket import TIERS
from services.telemetry.exposition import exposition as text
from services.telemetry.exposition.exposition import Exposition
from services.telemetry.exposition.histograms import MAX_COUNT, quantile
from services.telemetry.fleet.instance_history import (
    FIRST_AUDIO,
    JITTER,
    LATENCY,
    REFUSALS,
    SEND_ERRORS,
    InstanceHistory,
)

RECENT_S: Final = 60.0
"""Window of quantiles and rates, unless a field's name says otherwise."""
STARTS_5M: Final = 20
"""A percentile of fewer starts in five minutes is one listener's luck."""
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """One process's memory.

    Attributes:
        rss_mb: resident memory with shared pages, in MiB.
        uss_mb: unique memory, which the end of the process would free, in MiB.
        gpu_mb: memory of tensors on the GPU, in MiB.
        gpu_total_mb: memory of the GPU, in MiB.
        growth_mb_per_hour: slope of the resident memory after warm-up.
        leak: it grows, with statistical certainty; False in the first 20 minutes.
        confidence: that it grows at all, 0 to 1.
    """

    rss_mb: float | None
    uss_mb: float | None
    gpu_mb: float | None
    gpu_total_mb: float | None
    growth_mb_per_hour: float | None
    leak: bool
    confidence: float | None


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """One process of the fleet.

    Attributes:
        service: "synthesis", "edge" or "telemetry".
        instance: its name; in Kubernetes the pod's.
        up: it has answered in the last 10 s; otherwise the figures are its last ones.
        silent_s: seconds since its last answer.
        version: of Auralis.
        memory_mb: resident memory, in MiB.
        memory: details, with a verdict about leaks.
        bus_connected: it is connected to the bus.
        bus_reconnects_10m: reconnects to the bus in ten minutes.
        streams_differing: streams of the bus whose configuration it finds changed.
        streams_mended_10m: streams that it gave their configuration back in ten minutes.
        clock_offset_s: seconds by which its machine's clock is ahead of its own.
        open_files_share: of the file descriptors that it may open, 0 to 1.
        clock_difference_s: seconds by which its clock is ahead of the median of all clocks.
        listeners: listeners that are connected (edge).
        listeners_limit: most listeners that it accepts (edge).
        websocket_connections: listeners over WebSocket (edge).
        streams: streams that it holds for listeners (edge).
        demanded_streams: streams that it asks renderers for (edge).
        degraded_streams: streams that play a loop because blocks are missing (edge).
        tiers: listeners in each buffer tier (edge).
        jitter_p50_ms, jitter_p95_ms, jitter_p99_ms: percentiles of the lateness of chunks (edge).
        underruns_total: underruns of its listeners since its start (edge).
        underruns_5m: underruns in five minutes (edge).
        send_errors_5m: sends that failed in five minutes, except to listeners that left (edge).
        refusals_5m: connections and streams refused in five minutes for want of room or workers (edge).
        first_audio_p99_ms: 99th percentile, in five minutes, of the time from a start message to the first chunk; None
            with fewer than `STARTS_5M` starts (edge).
        blocks_missing_2m: blocks that were missing when due, in two minutes (edge).
        loudness_dbfs: level of its quietest stream (edge).
        overloaded: it refuses new streams, because blocks are late (edge).
        ready_renderers: ready renderers that have announced themselves to it (edge).
        realtime_factor: seconds of sound that it renders in a second (synthesis).
        capacity_streams: streams that it can render in real time (synthesis).
        rendered_streams: streams that it renders (synthesis).
        render_mode: "compiled" or "eager" (synthesis).
        render_p95_ms, render_p99_ms: percentiles of the time from fetching a job to publishing its block (synthesis).
        out_of_memory_10m: batches that were halved in ten minutes, because device memory ran out (synthesis).
    """

    service: str
    instance: str
    up: bool
    silent_s: float
    version: str | None = None
    memory_mb: float | None = None
    memory: MemoryReport | None = None
    bus_connected: bool | None = None
    bus_reconnects_10m: int | None = None
    streams_differing: int | None = None
    streams_mended_10m: int | None = None
    clock_offset_s: float | None = None
    clock_difference_s: float | None = None
    open_files_share: float | None = None
    listeners: int | None = None
    listeners_limit: int | None = None
    websocket_connections: int | None = None
    streams: int | None = None
    demanded_streams: int | None = None
    degraded_streams: int | None = None
    tiers: dict[str, int] | None = None
    jitter_p50_ms: float | None = None
    jitter_p95_ms: float | None = None
    jitter_p99_ms: float | None = None
    underruns_total: int | None = None
    underruns_5m: int | None = None
    send_errors_5m: int | None = None
    refusals_5m: int | None = None
    first_audio_p99_ms: float | None = None
    blocks_missing_2m: int | None = None
    loudness_dbfs: float | None = None
    overloaded: bool | None = None
    ready_renderers: int | None = None
    realtime_factor: float | None = None
    capacity_streams: float | None = None
    rendered_streams: float | None = None
    render_mode: str | None = None
    render_p95_ms: float | None = None
    render_p99_ms: float | None = None
    out_of_memory_10m: int | None = None


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """Totals of the instances that are up.

    Attributes:
        instances_up, instances_silent: number of instances.
        listeners: of all edges.
        demanded_streams: of the edge that demands most; a sum would count streams twice that edges share.
        rendered_streams: of all synthesis workers.
        capacity_streams: of all synthesis workers.
        degraded_streams: of all edges.
        memory_mb: of all instances.
        leaks: instances whose memory leaks.
        tiers: listeners in each buffer tier.
        jitter_p50_ms, jitter_p95_ms, jitter_p99_ms: percentiles of the lateness of chunks, over all edges.
        late_ratio: share of chunks that were more than 50 ms late.
    """

    instances_up: int
    instances_silent: int
    listeners: int
    demanded_streams: int
    rendered_streams: float
    capacity_streams: float
    degraded_streams: int
    memory_mb: float
    leaks: int
    tiers: dict[str, int]
    jitter_p50_ms: float | None
    jitter_p95_ms: float | None
    jitter_p99_ms: float | None
    late_ratio: float | None


@dataclass(frozen=True, slots=True)
class FleetReport:
    """The whole fleet.

    Attributes:
        generated_at: Unix seconds.
        bus_connected: telemetry is connected to the bus; without it all instances look silent.
        totals: of the instances that are up.
        instances: sorted by service and name.
    """

    generated_at: float
    bus_connected: bool
    totals: FleetTotals
    instances: list[InstanceReport]


def instance_report(
    service: str,
    instance: str,
    data: Exposition,
    history: InstanceHistory,
    *,
    up: bool,
    silent_s: float,
    clock_difference_s: float | None = None,
) -> InstanceReport:
    """The row of an instance.

    Args:
        service, instance: its names.
        data: its last exposition.
        history: its counters over time.
        up: it has answered in the last 10 s.
        silent_s: seconds since its last answer.
        clock_difference_s: seconds by which its clock is ahead of the median of all clocks.
    """
    build = data.get("auralis_build_info")
    common = InstanceReport(
        service=service,
        instance=instance,
        up=up,
        silent_s=round(silent_s, 1),
        version=build.samples[0][0].label_values().get("version") if build and build.samples else None,
        memory_mb=_amount(text.value(data, "memory_usage_mb"), 1),
        memory=_memory(data),
        bus_connected=_flag(text.value(data, "auralis_bus_connected")),
        bus_reconnects_10m=_whole(history.increase("auralis_bus_reconnects_total", 600.0)),
        streams_differing=sum(
            value > 0 for value in text.by_label(data, "auralis_bus_stream_differs", "stream").values()
        ),
        streams_mended_10m=_whole(history.increase("auralis_bus_streams_mended_total", 600.0)),
        clock_offset_s=_rounded(text.value(data, "auralis_clock_offset_seconds"), 3),
        clock_difference_s=_rounded(clock_difference_s, 3),
        open_files_share=_open_files_share(data),
    )
    if service == "edge":
        tiers = text.by_label(data, "auralis_tier_listeners", "tier")
        jitter = history.histogram_increase(JITTER, RECENT_S)
        return replace(
            common,
            listeners=_whole(text.value(data, "auralis_listeners")),
            listeners_limit=_whole(text.value(data, "auralis_listeners_limit")),
            websocket_connections=_whole(text.value(data, "active_websocket_connections")),
            streams=_whole(text.value(data, "auralis_streams")),
            demanded_streams=_whole(text.value(data, "auralis_render_demand_streams")),
            degraded_streams=_whole(text.value(data, "auralis_degraded_streams")),
            tiers={tier: _whole(tiers.get(tier)) or 0 for tier in TIERS},
            jitter_p50_ms=_rounded(quantile(jitter, 0.5), 2),
            jitter_p95_ms=_rounded(quantile(jitter, 0.95), 2),
            jitter_p99_ms=_rounded(quantile(jitter, 0.99), 2),
            underruns_total=_whole(text.value(data, "auralis_underruns_total")),
            underruns_5m=_whole(history.increase("auralis_underruns_total", 300.0)),
            send_errors_5m=_whole(history.increase(SEND_ERRORS, 300.0)),
            refusals_5m=_whole(history.increase(REFUSALS, 300.0)),
            first_audio_p99_ms=_first_audio_p99_ms(history),
            blocks_missing_2m=_whole(history.increase("auralis_blocks_missing_total", 120.0)),
            loudness_dbfs=_rounded(text.value(data, "auralis_loudness_min_dbfs"), 1),
            overloaded=_flag(text.value(data, "auralis_overloaded")),
            ready_renderers=_whole(text.value(data, "auralis_ready_renderers")),
        )
    if service == "synthesis":
        modes = text.by_label(data, "auralis_render_mode", "mode")
        latency = history.histogram_increase(LATENCY, RECENT_S)
        return replace(
            common,
            realtime_factor=_amount(text.value(data, "auralis_render_realtime_factor"), 1),
            capacity_streams=_amount(text.value(data, "auralis_render_capacity_streams"), 1),
            rendered_streams=_amount(history.rate("auralis_render_blocks_total", RECENT_S), 2),
            render_mode=next((mode for mode, on in modes.items() if on), None),
            render_p95_ms=_milliseconds(quantile(latency, 0.95)),
            render_p99_ms=_milliseconds(quantile(latency, 0.99)),
            out_of_memory_10m=_whole(history.increase("auralis_render_out_of_memory_total", 600.0)),
        )
    return common


def fleet_totals(rows: Sequence[InstanceReport], jitter: dict[float, float]) -> FleetTotals:
    """The totals.

    Args:
        rows: of all instances.
        jitter: lateness in ms of the chunks of all edges that are up: cumulative counts by upper bound.
    """
    up = [row for row in rows if row.up]
    chunks = jitter.get(float("inf"), 0.0)
    return FleetTotals(
        instances_up=len(up),
        instances_silent=len(rows) - len(up),
        listeners=sum(row.listeners or 0 for row in up),
        demanded_streams=max((row.demanded_streams or 0 for row in up), default=0),
        rendered_streams=round(sum(row.rendered_streams or 0.0 for row in up), 2),
        capacity_streams=round(sum(row.capacity_streams or 0.0 for row in up), 1),
        degraded_streams=sum(row.degraded_streams or 0 for row in up),
        memory_mb=round(sum(row.memory_mb or 0.0 for row in up), 1),
        leaks=sum(row.memory is not None and row.memory.leak for row in up),
        tiers={tier: sum((row.tiers or {}).get(tier, 0) for row in up) for tier in TIERS},
        jitter_p50_ms=_rounded(quantile(jitter, 0.5), 2),
        jitter_p95_ms=_rounded(quantile(jitter, 0.95), 2),
        jitter_p99_ms=_rounded(quantile(jitter, 0.99), 2),
        late_ratio=round(1 - jitter.get(50.0, 0.0) / chunks, 5) if chunks else None,
    )


def _memory(data: Exposition) -> MemoryReport | None:
    resident = text.value(data, "memory_usage_mb")
    if resident is None:
        return None
    growth = text.by_label(data, "auralis_memory_growth_bytes_per_hour", "kind").get("resident")
    return MemoryReport(
        rss_mb=_amount(resident, 1),
        uss_mb=_mebibytes(text.value(data, "auralis_memory_unique_bytes")),
        gpu_mb=_amount(text.value(data, "gpu_memory_allocated_mb"), 1),
        gpu_total_mb=_mebibytes(text.value(data, "auralis_gpu_memory_bytes")),
        growth_mb_per_hour=_mebibytes(growth),
        leak=bool(_flag(text.value(data, "auralis_memory_leak"))),
        confidence=_amount(text.value(data, "auralis_memory_growth_confidence_ratio"), 3),
    )


def _first_audio_p99_ms(history: InstanceHistory) -> float | None:
    counts = history.histogram_increase(FIRST_AUDIO, 300.0)
    return _milliseconds(quantile(counts, 0.99)) if counts.get(math.inf, 0.0) >= STARTS_5M else None


def _open_files_share(data: Exposition) -> float | None:
    opened, limit = text.value(data, "process_open_fds"), text.value(data, "process_max_fds")
    return _rounded(opened / limit, 3) if opened is not None and limit else None


def _whole(number: float | None) -> int | None:
    """A count; None if the number cannot be one: an unknown gauge is NaN, and an instance may send nonsense."""
    return int(number) if number is not None and 0 <= number < MAX_COUNT else None


def _amount(number: float | None, digits: int) -> float | None:
    """A quantity that is not negative; None as in `_whole`."""
    return round(number, digits) if number is not None and 0 <= number < MAX_COUNT else None


def _rounded(number: float | None, digits: int) -> float | None:
    """A quantity that may be negative; None as in `_whole`."""
    return round(number, digits) if number is not None and abs(number) < MAX_COUNT else None


def _flag(number: float | None) -> bool | None:
    return None if number is None else number > 0


def _mebibytes(number: float | None) -> float | None:
    return _rounded(None if number is None else number / _MIB, 1)


def _milliseconds(seconds: float | None) -> float | None:
    return _rounded(None if seconds is None else seconds * 1000, 1)
