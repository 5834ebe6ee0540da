"""What an autoscaler asks: listeners of the edges, and renderers' work in units of a whole renderer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.telemetry.fleet.report import FleetReport, InstanceReport

ASSUMED_STREAMS_PER_WORKER: Final = 100.0
"""While no renderer has measured itself."""
REMEMBERED_S: Final = 60.0
"""An edge that has fallen silent still counts with its last figures for so long: a hiccup must not scale down."""


class UnmeasuredError(Exception):
    """Demand cannot be told; it must not look as if nobody listened. The message says why."""


@dataclass(frozen=True, slots=True)
class EdgeDemand:
    """How full the edges are.

    Attributes:
        instances: edges that count.
        listeners: of all of them, over WebSocket and HTTP.
        websocket_connections: of all of them.
        listeners_per_edge: on average.
        by_instance: listeners of each.
    """

    instances: int
    listeners: int
    websocket_connections: int
    listeners_per_edge: float
    by_instance: dict[str, int]


@dataclass(frozen=True, slots=True)
class SynthesisDemand:
    """How much there is to render.

    Attributes:
        workers: renderers that are up.
        demanded_streams: what is rendered, or what the busiest edge asks for, whichever is more: the one is exact, the
            other is there before the first block and without any renderer.
        capacity_streams_per_worker: as measured, on average; assumed while `measured` is false.
        measured: at least one renderer has told its capacity.
        load_workers: renderers needed if each were fully used. Scale on a share of it, say 0.6 for each.
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

    Raises:
        UnmeasuredError: telemetry does not reach the bus, or no edge answers.
    """
    if not fleet.bus_connected:
        raise UnmeasuredError("telemetry does not reach the bus")
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
