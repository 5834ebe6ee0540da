"""Figures for autoscalers: listeners of the edges, load of the renderers in units of a renderer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.telemetry.fleet.report import FleetReport, InstanceReport

ASSUMED_STREAMS_PER_WORKER: Final = 100.0
"""Capacity of a renderer until one has measured its own."""
REMEMBERED_S: Final = 60.0
"""How long a silent edge counts with its last figures: a hiccup must not scale down."""


class UnmeasuredError(Exception):
    """Demand cannot be measured; the message says why. Unknown demand must not look like no demand."""


@dataclass(frozen=True, slots=True)
class EdgeDemand:
    """The load of the edges.

    Attributes:
        instances: number of edges that count.
        listeners: of all edges, over WebSocket and HTTP.
        websocket_connections: of all edges.
        listeners_per_edge: average.
        by_instance: listeners of each edge.
    """

    instances: int
    listeners: int
    websocket_connections: int
    listeners_per_edge: float
    by_instance: dict[str, int]


@dataclass(frozen=True, slots=True)
class SynthesisDemand:
    """The load of the renderers.

    Attributes:
        workers: renderers that are up.
        demanded_streams: streams that are rendered, or that the busiest edge asks for, whichever is more. The first is
            exact; the second exists before the first block and without any renderer.
        capacity_streams_per_worker: measured average; assumed if `measured` is false.
        measured: at least one renderer has measured its capacity.
        load_workers: number of renderers at full use. Scale so that each is used to a share, say 0.6.
    """

    workers: int
    demanded_streams: float
    capacity_streams_per_worker: float
    measured: bool
    load_workers: float


@dataclass(frozen=True, slots=True)
class AutoscaleReport:
    """For KEDA's metrics-api scaler: `valueLocation: edge.listeners` or `synthesis.load_workers`."""

    edge: EdgeDemand
    synthesis: SynthesisDemand


def autoscale_report(
    fleet: FleetReport, *, assumed_streams_per_worker: float = ASSUMED_STREAMS_PER_WORKER
) -> AutoscaleReport:
    """The demand on the fleet.

    Args:
        fleet: its present state.
        assumed_streams_per_worker: capacity of a renderer until one has measured its own.

    Raises:
        UnmeasuredError: telemetry is disconnected from the bus, or no edge answers.
    """
    if not fleet.bus_connected:
        raise UnmeasuredError("telemetry is disconnected from the bus")
    edges = [row for row in fleet.instances if row.service == "edge" and row.silent_s < REMEMBERED_S]
    if not any(row.up for row in edges):
        raise UnmeasuredError("no edge answers")
    workers = [row for row in fleet.instances if row.service == "synthesis" and row.up]
    listeners = sum(row.listeners or 0 for row in edges)
    return AutoscaleReport(
        edge=EdgeDemand(
            instances=len(edges),
            listeners=listeners,
            websocket_connections=sum(row.websocket_connections or 0 for row in edges),
            listeners_per_edge=round(listeners / len(edges), 3),
            by_instance={row.instance: row.listeners or 0 for row in edges},
        ),
        synthesis=_synthesis(edges, workers, assumed_streams_per_worker),
    )


def _synthesis(
    edges: Sequence[InstanceReport], workers: Sequence[InstanceReport], assumed_streams: float
) -> SynthesisDemand:
    asked = max((row.demanded_streams or 0 for row in edges), default=0)
    rendered = sum(row.rendered_streams or 0.0 for row in workers)
    measured = [row.capacity_streams for row in workers if row.capacity_streams]
    capacity = sum(measured) / len(measured) if measured else assumed_streams
    demanded = max(float(asked), rendered)
    return SynthesisDemand(
        workers=len(workers),
        demanded_streams=round(demanded, 2),
        capacity_streams_per_worker=round(capacity, 1),
        measured=bool(measured),
        load_workers=round(demanded / capacity, 4),
    )
