"""Pure. The rules by which telemetry judges the fleet itself, if no Prometheus is configured.

Names, severities and limits are those of charts/auralis/files/alerts.yaml; a test compares the two. Prometheus judges
from its stored samples, telemetry from what it has seen since its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from services.telemetry.alerting.late_budget import LateBudget
from services.telemetry.fleet.report import FleetReport, InstanceReport

MAX_JITTER_P99_MS: Final = 50.0
MAX_UNDERRUNS: Final = 5
MAX_UNDERRUNS_PER_LISTENER: Final = 0.05
"""In five minutes; both must be exceeded, so that one listener's bad network is no alert."""
MAX_REFUSALS: Final = 5
"""In five minutes."""
MAX_FIRST_AUDIO_P99_MS: Final = 500.0
MAX_DEMAND_SHARE: Final = 0.8
"""Demanded streams by the streams that all workers can render."""
MAX_OPEN_FILES_SHARE: Final = 0.8
MAX_SEND_ERRORS: Final = 5
"""In five minutes, of an edge without listeners …"""
MAX_SEND_ERRORS_PER_LISTENER: Final = 0.02
"""… and for each listener in addition."""
NEARLY_FULL: Final = 0.9
"""Share of an edge's limit of listeners."""
SILENT_BELOW_DBFS: Final = -60.0
MAX_RENDER_P99_MS: Final = 100.0
MAX_BLOCKS_MISSING_PER_STREAM: Final = 0.01
"""Blocks a second that are missing when they are due, for each stream."""
MAX_GPU_SHARE: Final = 0.85
"""Of the GPU's memory."""
MAX_BUS_RECONNECTS: Final = 3
"""In ten minutes."""
MAX_CLOCK_OFFSET_S: Final = 0.5
MAX_CLOCK_DIFFERENCE_S: Final = 0.5


Found = Iterable[tuple[str, str]]
"""(instance, description) of each problem that exists now."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert's rule.

    Attributes:
        name: of the alert.
        severity: "critical" or "warning".
        for_s: seconds for which the condition must hold before the alert fires.
        summary: the problem in a few words.
        find: yields the problems that exist now.
    """

    name: str
    severity: str
    for_s: float
    summary: str
    find: Callable[[FleetReport, LateBudget], Found]


def _rows(fleet: FleetReport, service: str = "") -> Iterator[InstanceReport]:
    return (row for row in fleet.instances if row.up and service in ("", row.service))


def _burning(fleet: FleetReport, budget: LateBudget) -> Found:
    share = budget.burning(fleet.generated_at)
    if share is not None:
        yield "", f"{share:.1%} of the chunks are written more than 50 ms late; the objective is at most 1 %"


def _jitter(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if (row.jitter_p99_ms or 0) > MAX_JITTER_P99_MS:
            yield row.instance, f"p99 chunk lateness {row.jitter_p99_ms:.0f} ms; the target is 50 ms"


def _underruns(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        underruns = row.underruns_5m or 0
        if row.listeners and underruns > MAX_UNDERRUNS and underruns / row.listeners > MAX_UNDERRUNS_PER_LISTENER:
            yield row.instance, f"{underruns / row.listeners:.2f} underruns per listener in five minutes"


def _send_errors(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if (row.send_errors_5m or 0) > MAX_SEND_ERRORS + MAX_SEND_ERRORS_PER_LISTENER * (row.listeners or 0):
            yield row.instance, f"{row.send_errors_5m} failed sends in five minutes"


def _near_limit(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.listeners_limit and (row.listeners or 0) / row.listeners_limit > NEARLY_FULL:
            yield row.instance, f"{row.listeners} of {row.listeners_limit} listeners"


def _silence(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.loudness_dbfs is not None and row.loudness_dbfs < SILENT_BELOW_DBFS and row.demanded_streams:
            yield row.instance, f"the quietest stream with listeners is at {row.loudness_dbfs:.0f} dBFS"


def _degraded(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if row.degraded_streams:
            yield row.instance, f"{row.degraded_streams} streams loop their last seconds"


def _refusals(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if (row.refusals_5m or 0) > MAX_REFUSALS:
            yield row.instance, f"{row.refusals_5m} listeners or streams were refused in five minutes"


def _first_audio(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        if (row.first_audio_p99_ms or 0) > MAX_FIRST_AUDIO_P99_MS:
            yield row.instance, f"p99 time to the first sound {row.first_audio_p99_ms:.0f} ms; the limit is 500 ms"


def _no_edges(fleet: FleetReport, _: LateBudget) -> Found:
    if fleet.bus_connected and fleet.instances and not any(_rows(fleet, "edge")):
        yield "", "no edge answers"


def _no_workers(fleet: FleetReport, _: LateBudget) -> Found:
    edges = list(_rows(fleet, "edge"))
    wanted = any(row.demanded_streams or row.refusals_5m for row in edges)
    if wanted and max(row.ready_renderers or 0 for row in edges) == 0:
        yield "", "edges have seen no ready worker"


def _slow(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "synthesis"):
        if (row.render_p99_ms or 0) > MAX_RENDER_P99_MS:
            yield row.instance, f"p99 render latency {row.render_p99_ms:.0f} ms; the target is 100 ms"


def _backlog(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet, "edge"):
        missing_per_s = (row.blocks_missing_2m or 0) / 120
        if row.overloaded:
            yield row.instance, "new streams are refused, because blocks are late"
        elif missing_per_s > MAX_BLOCKS_MISSING_PER_STREAM * (row.demanded_streams or 0):
            yield row.instance, f"{row.blocks_missing_2m or 0} blocks were missing when due, in two minutes"


def _headroom(fleet: FleetReport, _: LateBudget) -> Found:
    demanded, capacity = fleet.totals.demanded_streams, fleet.totals.capacity_streams
    if capacity and demanded > MAX_DEMAND_SHARE * capacity:
        yield "", f"{demanded} streams are demanded, and workers can render {capacity:.0f}"


def _gpu_memory(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        held_mb = (row.memory.gpu_mb if row.memory else None) or 0
        total_mb = (row.memory.gpu_total_mb if row.memory else None) or 0
        if row.out_of_memory_10m or held_mb > MAX_GPU_SHARE * total_mb > 0:
            yield (
                row.instance,
                f"{held_mb:.0f} of {total_mb:.0f} MiB are allocated; {row.out_of_memory_10m} batches were halved",
            )


def _open_files(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        if (row.open_files_share or 0) > MAX_OPEN_FILES_SHARE:
            yield row.instance, f"{row.open_files_share:.0%} of its file descriptors are open"


def _leak(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        if row.memory and row.memory.leak:
            yield (
                row.instance,
                f"memory grows by {row.memory.growth_mb_per_hour or 0:.0f} MiB per hour; the limit is 20",
            )


def _gone(fleet: FleetReport, _: LateBudget) -> Found:
    if not fleet.bus_connected:
        return  # all instances look silent
    for row in fleet.instances:
        if not row.up:
            yield row.instance, f"no answer for {row.silent_s:.0f} s"


def _reconnecting(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        if row.bus_connected is False or (row.bus_reconnects_10m or 0) > MAX_BUS_RECONNECTS:
            yield row.instance, f"{row.bus_reconnects_10m or 0} reconnects in ten minutes"
    if not fleet.bus_connected:
        yield "", "telemetry is disconnected from NATS"


def _streams_changed(fleet: FleetReport, _: LateBudget) -> Found:
    if any(row.streams_differing or row.streams_mended_10m for row in _rows(fleet)):
        yield (
            "",
            "the configuration of RENDER or AUDIO is not the one that workers make, or was not until it was mended",
        )


def _clock(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        if abs(row.clock_offset_s or 0) > MAX_CLOCK_OFFSET_S:
            yield row.instance, f"{abs(row.clock_offset_s or 0):.1f} s from the machine's clock"


def _clocks(fleet: FleetReport, _: LateBudget) -> Found:
    for row in _rows(fleet):
        difference_s = row.clock_difference_s or 0
        if abs(difference_s) > MAX_CLOCK_DIFFERENCE_S:
            word = "ahead of" if difference_s > 0 else "behind"
            yield row.instance, f"{abs(difference_s):.1f} s {word} the median of all clocks"


RULES: Final = (
    Rule("DeliveryBudgetBurning", "critical", 0, "Late chunks use up the error budget", _burning),
    Rule("ChunkJitterHigh", "warning", 120, "p99 chunk lateness is above 50 ms", _jitter),
    Rule("BufferUnderrunsHigh", "warning", 60, "Listeners' buffers run empty", _underruns),
    Rule("WebSocketErrorsHigh", "warning", 60, "Sends to listeners fail", _send_errors),
    Rule("ConnectionsNearLimit", "warning", 120, "An edge is nearly full", _near_limit),
    Rule("EdgeSilent", "critical", 30, "A stream with listeners is silent", _silence),
    Rule("StreamsDegraded", "warning", 30, "Streams loop their last seconds", _degraded),
    Rule("ListenersRefused", "warning", 60, "Listeners are refused", _refusals),
    Rule("FirstAudioSlow", "warning", 120, "Listeners wait for their first sound", _first_audio),
    Rule("NoEdges", "critical", 60, "No edge is left", _no_edges),
    Rule("NoSynthesisWorkers", "critical", 60, "No worker is ready to render", _no_workers),
    Rule("SynthesisLatencyHigh", "warning", 60, "p99 render latency is above 100 ms", _slow),
    Rule("RenderBacklog", "critical", 60, "Blocks arrive too late", _backlog),
    Rule("RenderHeadroomLow", "warning", 300, "Workers are nearly busy", _headroom),
    Rule("GPUMemoryHigh", "warning", 60, "A worker's GPU memory is high", _gpu_memory),
    Rule("MemoryLeakDetected", "warning", 300, "A process leaks memory", _leak),
    Rule("InstanceSilent", "warning", 30, "A process does not answer", _gone),
    Rule("OpenFilesNearLimit", "warning", 120, "A process runs out of file descriptors", _open_files),
    Rule("NatsReconnecting", "warning", 30, "The connection to NATS is unstable", _reconnecting),
    Rule("BusStreamsChanged", "critical", 30, "A stream of the bus was changed", _streams_changed),
    Rule("ClockOffsetHigh", "warning", 60, "A process's clock differs from its machine's", _clock),
    Rule("ClocksApart", "warning", 60, "A clock differs from the others", _clocks),
)
