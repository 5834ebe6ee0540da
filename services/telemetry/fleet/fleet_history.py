"""Half an hour of the fleet, so that charts are full from the start. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from services.telemetry.fleet.report import FleetReport

KEPT_S: Final = 1800.0
"""How long points are kept."""
SPACING_S: Final = 5.0
"""Time between two points of the fleet."""
MEMORY_SPACING_S: Final = 30.0
"""Time between two samples of an instance's memory."""
MAX_INSTANCES: Final = 200
"""Instances with a curve of memory; overflow: later ones have none until earlier ones are gone."""


@dataclass(frozen=True, slots=True)
class Point:
    """The fleet at one moment; see `FleetTotals`.

    Attributes:
        time: Unix seconds.
        headroom: free share of the renderers' capacity, 0 to 1; None without capacity.
        jitter_p50_ms, jitter_p95_ms, jitter_p99_ms: lateness of the last minute's chunks.
    """

    time: float
    listeners: int
    demanded_streams: float
    capacity_streams: float
    headroom: float | None
    degraded_streams: int
    memory_mb: float
    jitter_p50_ms: float | None
    jitter_p95_ms: float | None
    jitter_p99_ms: float | None
    tiers: dict[str, int]


@dataclass(frozen=True, slots=True)
class MemoryCurve:
    """The memory of an instance over time.

    Attributes:
        service: of the instance.
        times: Unix seconds.
        rss_mb: resident memory at these times, in MiB.
    """

    service: str
    times: list[float]
    rss_mb: list[float]


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """The history that charts begin with.

    Attributes:
        points: of the whole fleet, oldest first.
        memory: instance -> its curve.
    """

    points: list[Point]
    memory: dict[str, MemoryCurve]


@dataclass(slots=True)
class _Curve:
    service: str
    samples: deque[tuple[float, float]] = field(
        default_factory=lambda: deque(maxlen=round(KEPT_S / MEMORY_SPACING_S) + 1)
    )


class FleetHistory:
    """Keeps half an hour of points and memory; overflow drops the oldest."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=round(KEPT_S / SPACING_S) + 1)
        self._curves: dict[str, _Curve] = {}

    def add(self, fleet: FleetReport) -> None:
        """Add a report, unless the last one is younger than `SPACING_S`."""
        # Rounds of five seconds are never exact.
        if self._points and fleet.generated_at - self._points[-1].time < SPACING_S * 0.8:
            return
        self._points.append(point(fleet))
        for row in fleet.instances:
            curve = self._curves.get(row.instance)
            if not row.up or row.memory_mb is None:
                continue
            if curve is None:
                if len(self._curves) >= MAX_INSTANCES:
                    continue
                curve = self._curves[row.instance] = _Curve(row.service)
            if not curve.samples or fleet.generated_at - curve.samples[-1][0] >= MEMORY_SPACING_S * 0.9:
                curve.samples.append((fleet.generated_at, row.memory_mb))
        for name in [n for n, c in self._curves.items() if fleet.generated_at - c.samples[-1][0] > KEPT_S]:
            del self._curves[name]

    def report(self) -> HistoryReport:
        """The whole history."""
        return HistoryReport(
            points=list(self._points),
            memory={
                name: MemoryCurve(curve.service, [time for time, _ in curve.samples], [mb for _, mb in curve.samples])
                for name, curve in sorted(self._curves.items())
            },
        )


def point(fleet: FleetReport) -> Point:
    """The point of a report."""
    totals = fleet.totals
    demanded = max(float(totals.demanded_streams), totals.rendered_streams)
    headroom = max(0.0, 1 - demanded / totals.capacity_streams) if totals.capacity_streams else None
    return Point(
        time=round(fleet.generated_at, 2),
        listeners=totals.listeners,
        demanded_streams=round(demanded, 1),
        capacity_streams=totals.capacity_streams,
        headroom=None if headroom is None else round(headroom, 4),
        degraded_streams=totals.degraded_streams,
        memory_mb=totals.memory_mb,
        jitter_p50_ms=totals.jitter_p50_ms,
        jitter_p95_ms=totals.jitter_p95_ms,
        jitter_p99_ms=totals.jitter_p99_ms,
        tiers=totals.tiers,
    )
