"""The fleet as telemetry knows it: who answered when, and with what. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from services.contract.scrape import ScrapeAnswer
from services.contract.websocket import TIERS
from services.telemetry import exposition as text
from services.telemetry.exposition import Exposition, ExpositionError, Parser

SILENT_AFTER_S: Final = 15.0
FORGOTTEN_AFTER_S: Final = 600.0
MAX_INSTANCES: Final = 1000
"""More are not taken in; overflow: the newest is refused, and counted."""
RECENT_S: Final = 60.0
"""Quantiles are those of the last minute."""
_SERVICES: Final = ("synthesis", "edge", "telemetry")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Taken(StrEnum):
    """What became of an answer."""

    TAKEN = "taken"
    REPEATED = "repeated"
    """The instance had answered this question already."""
    MALFORMED = "malformed"
    """Its exposition cannot be read, or its names are none."""
    REFUSED = "refused"
    """There are too many instances."""


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """One process of the fleet.

    Attributes:
        service: "synthesis", "edge" or "telemetry".
        instance: its name.
        up: it has answered within the last 15 s; otherwise the figures are its last ones.
        silent_s: seconds since its last answer.
        version: of Auralis.
        memory_mb: resident memory.
        listeners: listeners connected to it (edge).
        streams: streams that it holds for listeners (edge).
        demanded_streams: streams that it asks renderers for (edge).
        degraded_streams: streams that play a loop for want of blocks (edge).
        tiers: listeners in each buffer tier (edge).
        jitter_p95_ms: lateness of chunks that 95 % did not exceed in the last minute (edge).
        underruns_total: underruns of its listeners since it started (edge).
        loudness_dbfs: level of its quietest stream (edge).
        realtime_factor: seconds of sound rendered in a second (synthesis).
        capacity_streams: streams that it can render in real time (synthesis).
        render_mode: "compiled" or "eager" (synthesis).
        render_p95_ms: from fetching a job to publishing its block, 95 %, in the last minute (synthesis).
    """

    service: str
    instance: str
    up: bool
    silent_s: float
    version: str | None = None
    memory_mb: float | None = None
    listeners: int | None = None
    streams: int | None = None
    demanded_streams: int | None = None
    degraded_streams: int | None = None
    tiers: dict[str, int] | None = None
    jitter_p95_ms: float | None = None
    underruns_total: int | None = None
    loudness_dbfs: float | None = None
    realtime_factor: float | None = None
    capacity_streams: float | None = None
    render_mode: str | None = None
    render_p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """The fleet in sums, over the instances that are up.

    Attributes:
        instances_up, instances_silent: how many there are of both.
        listeners: of all edges.
        demanded_streams: of the edge that demands most. Edges share streams, so that their sum would count some twice.
        capacity_streams: of all synthesis workers.
        degraded_streams: of all edges.
        memory_mb: of all instances.
        tiers: listeners in each buffer tier.
    """

    instances_up: int
    instances_silent: int
    listeners: int
    demanded_streams: int
    capacity_streams: float
    degraded_streams: int
    memory_mb: float
    tiers: dict[str, int]


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


@dataclass(slots=True)
class _Instance:
    service: str
    name: str
    exposition: Exposition = field(default_factory=dict)
    seen_s: float = 0.0
    # (when, buckets) of the histograms whose recent quantiles are told.
    past: deque[tuple[float, dict[str, dict[float, float]]]] = field(default_factory=deque)


_HISTOGRAMS: Final[Mapping[str, str]] = {"edge": "chunk_delivery_jitter_ms", "synthesis": "synthesis_latency_seconds"}
_MAX_PAST: Final = 32


class Fleet:
    """Remembers the last word of each instance. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._instances: dict[tuple[str, str], _Instance] = {}
        self._parser = Parser()
        self.forgotten = 0
        """Instances that had been silent for ten minutes and were dropped from the table."""

    def known(self, now_s: float) -> frozenset[tuple[str, str]]:
        """(service, instance) of everybody who is up: whose answer is worth waiting for."""
        return frozenset(key for key, each in self._instances.items() if now_s - each.seen_s < SILENT_AFTER_S)

    def record(self, answer: ScrapeAnswer, *, asked_s: float, now_s: float) -> Taken:
        """Take an answer in.

        Args:
            answer: what an instance says.
            asked_s: when the question was asked that it answers.
            now_s: when the answer came.
        """
        if answer.service not in _SERVICES or not _NAME.fullmatch(answer.instance):
            return Taken.MALFORMED
        key = (answer.service, answer.instance)
        instance = self._instances.get(key)
        if instance is not None and instance.seen_s >= asked_s:
            return Taken.REPEATED
        try:
            exposition = self._parser.parse(answer.exposition)
        except ExpositionError:
            return Taken.MALFORMED
        if instance is None:
            if len(self._instances) >= MAX_INSTANCES:
                return Taken.REFUSED
            instance = self._instances[key] = _Instance(*key)
        instance.exposition = exposition
        instance.seen_s = now_s
        name = _HISTOGRAMS.get(answer.service)
        if name is not None:
            spacing_s = RECENT_S / (_MAX_PAST - 2)
            if not instance.past or now_s - instance.past[-1][0] >= spacing_s:
                instance.past.append((now_s, {name: text.buckets(exposition, name)}))
            while len(instance.past) > 1 and instance.past[1][0] <= now_s - RECENT_S:
                instance.past.popleft()
        return Taken.TAKEN

    def forget(self, now_s: float) -> None:
        """Drop those who have been silent for ten minutes: they are not coming back under that name."""
        gone = [key for key, each in self._instances.items() if now_s - each.seen_s >= FORGOTTEN_AFTER_S]
        for key in gone:
            del self._instances[key]
        self.forgotten += len(gone)

    def merged(self, now_s: float) -> bytes:
        """One exposition of everybody who is up, with `service` and `instance` labels."""
        return text.merge(
            ({"service": each.service, "instance": each.name}, each.exposition) for each in self._sorted(now_s)
        )

    def count(self, now_s: float) -> dict[tuple[str, str], int]:
        """(service, "up" or "silent") -> instances."""
        counts = {(service, state): 0 for service in _SERVICES for state in ("up", "silent")}
        for each in self._instances.values():
            counts[each.service, "up" if now_s - each.seen_s < SILENT_AFTER_S else "silent"] += 1
        return counts

    def report(self, now_s: float, *, generated_at: float, bus_connected: bool) -> FleetReport:
        """The table."""
        rows = [_report(each, now_s) for _, each in sorted(self._instances.items())]
        return FleetReport(generated_at, bus_connected, _totals(rows), rows)

    def _sorted(self, now_s: float) -> Sequence[_Instance]:
        return [each for _, each in sorted(self._instances.items()) if now_s - each.seen_s < SILENT_AFTER_S]


def _report(instance: _Instance, now_s: float) -> InstanceReport:
    data = instance.exposition
    silent_s = max(0.0, now_s - instance.seen_s)
    build = data.get("auralis_build_info")
    common = InstanceReport(
        service=instance.service,
        instance=instance.name,
        up=silent_s < SILENT_AFTER_S,
        silent_s=round(silent_s, 1),
        version=build.samples[0][0].label_values().get("version") if build and build.samples else None,
        memory_mb=_rounded(text.value(data, "memory_usage_mb"), 1),
    )
    if instance.service == "edge":
        tiers = text.by_label(data, "auralis_tier_listeners", "tier")
        return replace(
            common,
            listeners=_whole(text.value(data, "auralis_listeners")),
            streams=_whole(text.value(data, "auralis_streams")),
            demanded_streams=_whole(text.value(data, "auralis_render_demand_streams")),
            degraded_streams=_whole(text.value(data, "auralis_degraded_streams")),
            tiers={tier: int(tiers.get(tier, 0)) for tier in TIERS},
            jitter_p95_ms=_rounded(_recent_quantile(instance, "chunk_delivery_jitter_ms", 0.95), 2),
            underruns_total=_whole(text.value(data, "auralis_underruns_total")),
            loudness_dbfs=_rounded(text.value(data, "auralis_loudness_min_dbfs"), 1),
        )
    if instance.service == "synthesis":
        modes = text.by_label(data, "auralis_render_mode", "mode")
        seconds = _recent_quantile(instance, "synthesis_latency_seconds", 0.95)
        return replace(
            common,
            realtime_factor=_rounded(text.value(data, "auralis_render_realtime_factor"), 1),
            capacity_streams=_rounded(text.value(data, "auralis_render_capacity_streams"), 1),
            render_mode=next((mode for mode, on in modes.items() if on), None),
            render_p95_ms=None if seconds is None else round(seconds * 1000, 1),
        )
    return common


def _totals(rows: Sequence[InstanceReport]) -> FleetTotals:
    up = [row for row in rows if row.up]
    return FleetTotals(
        instances_up=len(up),
        instances_silent=len(rows) - len(up),
        listeners=sum(row.listeners or 0 for row in up),
        demanded_streams=max((row.demanded_streams or 0 for row in up), default=0),
        capacity_streams=round(sum(row.capacity_streams or 0.0 for row in up), 1),
        degraded_streams=sum(row.degraded_streams or 0 for row in up),
        memory_mb=round(sum(row.memory_mb or 0.0 for row in up), 1),
        tiers={tier: sum((row.tiers or {}).get(tier, 0) for row in up) for tier in TIERS},
    )


def _recent_quantile(instance: _Instance, name: str, fraction: float) -> float | None:
    before = instance.past[0][1].get(name, {}) if len(instance.past) > 1 else {}
    return text.quantile(text.buckets(instance.exposition, name), before, fraction)


def _whole(number: float | None) -> int | None:
    # A gauge may be NaN while nothing is known.
    return int(number) if number is not None and number == number and abs(number) < 1e15 else None  # noqa: PLR0124 - NaN differs from itself


def _rounded(number: float | None, digits: int) -> float | None:
    return round(number, digits) if number is not None and abs(number) < 1e15 else None
