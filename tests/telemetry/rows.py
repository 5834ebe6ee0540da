"""Fleets for tests: rows of healthy instances, with changes."""

from __future__ import annotations

from typing import Any

from services.telemetry.fleet.report import FleetReport, InstanceReport, MemoryReport, fleet_totals

GOOD_JITTER = {20.0: 1000.0, 50.0: 1000.0, float("inf"): 1000.0}


def edge(name: str = "e1", **fields: Any) -> InstanceReport:
    """A healthy edge."""
    usual = {
        "up": True, "silent_s": 1.0, "listeners": 100, "listeners_limit": 5000, "websocket_connections": 90,
        "streams": 5, "demanded_streams": 5, "degraded_streams": 0, "jitter_p99_ms": 12.0, "underruns_5m": 0,
        "send_errors_5m": 0, "refusals_5m": 0, "first_audio_p99_ms": 40.0, "open_files_share": 0.1,
        "blocks_missing_2m": 0, "loudness_dbfs": -20.0, "overloaded": False,
        "ready_renderers": 1, "memory_mb": 90.0, "bus_connected": True, "bus_reconnects_10m": 0,
        "streams_differing": 0,
        "tiers": {"minimal": 0, "normal": 100, "stable": 0, "defensive": 0},
    }  # fmt: skip
    return InstanceReport("edge", name, **{**usual, **fields})


def renderer(name: str = "s1", **fields: Any) -> InstanceReport:
    """A healthy renderer."""
    usual = {
        "up": True, "silent_s": 1.0, "capacity_streams": 50.0, "rendered_streams": 5.0, "render_p99_ms": 60.0,
        "out_of_memory_10m": 0, "memory_mb": 900.0, "bus_connected": True, "bus_reconnects_10m": 0,
        "streams_differing": 0,
    }  # fmt: skip
    return InstanceReport("synthesis", name, **{**usual, **fields})


def memory(*, leak: bool = False, gpu_mb: float = 0.0) -> MemoryReport:
    """Of a process on a GPU of 8,000 MiB."""
    return MemoryReport(900.0, 850.0, gpu_mb, 8_000.0, 31.0 if leak else 0.5, leak, 0.99 if leak else 0.4)


def fleet(*rows: InstanceReport, at: float = 1000.0, bus: bool = True) -> FleetReport:
    return FleetReport(at, bus, fleet_totals(rows, GOOD_JITTER), list(rows))
