"""What is told of the fleet: a row an instance, and the sums. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.contract.websocket import TIERS
from services.telemetry.exposition import exposition as text
from services.telemetry.exposition.exposition import Exposition
from services.telemetry.exposition.histograms import MOST, quantile
from services.telemetry.fleet.instance_history import JITTER, LATENCY, SEND_ERRORS, Past

RECENT_S: Final = 60.0
"""Quantiles and rates are those of the last minute, where nothing else is said."""
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """One process's memory.

    Attributes:
        rss_mb: resident, shared pages included, in MiB.
        uss_mb: what ending the process would free, in MiB.
        gpu_mb: held by tensors on the GPU, in MiB.
        growth_mb_per_hour: slope of the resident memory after warm-up.
        leak: it grows beyond doubt; False in the first 20 minutes.
        confidence: 0 to 1 that it grows at all.
    """

    rss_mb: float | None
    uss_mb: float | None
    gpu_mb: float | None
    growth_mb_per_hour: float | None
    leak: bool
    confidence: float | None


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """One process of the fleet.

    Attributes:
        service: "synthesis", "edge" or "telemetry".
        instance: its name; in Kubernetes the pod's.
        up: it has answered within the last 10 s; otherwise the figures are its last ones.
        silent_s: seconds since its last answer.
        version: of Auralis.
        memory_mb: resident memory.
        memory: more about it, with a verdict.
        bus_connected: it reaches the bus in its own opinion.
        bus_reconnects_10m: how often its connection to the bus came back in ten minutes.
        clock_offset_s: seconds by which its machine's clock is ahead of the one that it goes by.
        listeners: listeners connected to it (edge).
        listeners_limit: listeners that it takes (edge).
        websocket_connections: those of them that came over WebSocket (edge).
        streams: streams that it holds for listeners (edge).
        demanded_streams: streams that it asks renderers for (edge).
        degraded_streams: streams that play a loop for want of blocks (edge).
        tiers: listeners in each buffer tier (edge).
        jitter_p50_ms, jitter_p95_ms, jitter_p99_ms: lateness of chunks that so many did not exceed (edge).
        underruns_total: underruns of its listeners since it started (edge).
        underruns_5m: of them in five minutes (edge).
        send_errors_5m: sends that failed in five minutes, listeners that went away apart (edge).
        blocks_missing_2m: blocks that were not there when they were due, in two minutes (edge).
        loudness_dbfs: level of its quietest stream (edge).
        overloaded: it refuses new streams, because blocks come late (edge).
        ready_renderers: renderers that it has heard of (edge).
        realtime_factor: seconds of sound rendered in a second (synthesis).
        capacity_streams: streams that it can render in real time (synthesis).
        rendered_streams: streams that it renders: blocks of a second a second (synthesis).
        render_mode: "compiled" or "eager" (synthesis).
        render_p95_ms, render_p99_ms: from fetching a job to publishing its block (synthesis).
        out_of_memory_10m: batches halved for want of device memory in ten minutes (synthesis).
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
    clock_offset_s: float | None = None
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
    """The fleet in sums, over the instances that are up.

    Attributes:
        instances_up, instances_silent: how many there are of both.
        listeners: of all edges.
        demanded_streams: of the edge that demands most. Edges share streams, so that their sum would count some twice.
        rendered_streams: of all synthesis workers.
        capacity_streams: of all synthesis workers.
        degraded_streams: of all edges.
        memory_mb: of all instances.
        leaks: instances whose memory grows beyond doubt.
        tiers: listeners in each buffer tier.
        jitter_p50_ms, jitter_p95_ms, jitter_p99_ms: lateness of all edges' chunks in the last minute.
        late_ratio: share of them that were more than 50 ms late.
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
        generated_at: unix seconds.
        bus_connected: whether telemetry reaches the bus: without it everybody looks silent.
        totals: sums.
        instances: by service and name.
    """

    generated_at: float
    bus_connected: bool
    totals: FleetTotals
    instances: list[InstanceReport]


def instance_report(
    service: str, instance: str, data: Exposition, past: Past, *, up: bool, silent_s: float
) -> InstanceReport:
    """One row."""
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
        bus_reconnects_10m=_whole(past.increase("auralis_bus_reconnects_total", 600.0)),
        clock_offset_s=_rounded(text.value(data, "auralis_clock_offset_seconds"), 3),
    )
    if service == "edge":
        tiers = text.by_label(data, "auralis_tier_listeners", "tier")
        jitter = past.counted(JITTER, RECENT_S)
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
            underruns_5m=_whole(past.increase("auralis_underruns_total", 300.0)),
            send_errors_5m=_whole(past.increase(SEND_ERRORS, 300.0)),
            blocks_missing_2m=_whole(past.increase("auralis_blocks_missing_total", 120.0)),
            loudness_dbfs=_rounded(text.value(data, "auralis_loudness_min_dbfs"), 1),
            overloaded=_flag(text.value(data, "auralis_overloaded")),
            ready_renderers=_whole(text.value(data, "auralis_ready_renderers")),
        )
    if service == "synthesis":
        modes = text.by_label(data, "auralis_render_mode", "mode")
        latency = past.counted(LATENCY, RECENT_S)
        return replace(
            common,
            realtime_factor=_amount(text.value(data, "auralis_render_realtime_factor"), 1),
            capacity_streams=_amount(text.value(data, "auralis_render_capacity_streams"), 1),
            rendered_streams=_amount(past.rate("auralis_render_blocks_total", RECENT_S), 2),
            render_mode=next((mode for mode, on in modes.items() if on), None),
            render_p95_ms=_milliseconds(quantile(latency, 0.95)),
            render_p99_ms=_milliseconds(quantile(latency, 0.99)),
            out_of_memory_10m=_whole(past.increase("auralis_render_out_of_memory_total", 600.0)),
        )
    return common


def fleet_totals(rows: Sequence[InstanceReport], jitter: dict[float, float]) -> FleetTotals:
    """The sums.

    Args:
        rows: one for each instance.
        jitter: lateness of chunks in ms, of all edges that are up: cumulative counts by upper bound.
    """
    up = [row for row in rows if row.up]
    every = jitter.get(float("inf"), 0.0)
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
        late_ratio=round(1 - jitter.get(50.0, 0.0) / every, 5) if every else None,
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
        growth_mb_per_hour=_mebibytes(growth),
        leak=bool(_flag(text.value(data, "auralis_memory_leak"))),
        confidence=_amount(text.value(data, "auralis_memory_growth_confidence_ratio"), 3),
    )


def _whole(number: float | None) -> int | None:
    """How many; None where it is no such number. A gauge is NaN while nothing is known, and an instance may lie."""
    return int(number) if number is not None and 0 <= number < MOST else None


def _amount(number: float | None, digits: int) -> float | None:
    """As `_whole`, of what is not counted in whole ones."""
    return round(number, digits) if number is not None and 0 <= number < MOST else None


def _rounded(number: float | None, digits: int) -> float | None:
    """As `_amount`, of what may be below zero."""
    return round(number, digits) if number is not None and abs(number) < MOST else None


def _flag(number: float | None) -> bool | None:
    return None if number is None else number > 0


def _mebibytes(number: float | None) -> float | None:
    return _rounded(None if number is None else number / _MIB, 1)


def _milliseconds(seconds: float | None) -> float | None:
    return _rounded(None if seconds is None else seconds * 1000, 1)
