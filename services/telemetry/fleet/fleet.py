"""The instances of the fleet and their last answers. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from services.contract.scrape import ScrapeAnswer
from services.runtime.clock_spread import OWN, ClockSpread, describe
from services.telemetry.exposition import exposition as text
from services.telemetry.exposition.exposition import Exposition, ExpositionError, Parser, Reader
from services.telemetry.exposition.histograms import sum_histograms
from services.telemetry.fleet.instance_history import JITTER, InstanceHistory
from services.telemetry.fleet.report import RECENT_S, FleetReport, fleet_totals, instance_report

SILENT_AFTER_S: Final = 10.0
"""An instance without an answer for this time, two scrapes, is silent; the next scrape shows it, within 15 s."""
FORGOTTEN_AFTER_S: Final = 600.0
"""An instance that is silent for this time is dropped."""
MAX_INSTANCES: Final = 1000
"""Instances of the fleet; overflow: answers of further ones are refused and counted."""
_SERVICES: Final = ("synthesis", "edge", "telemetry")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


class AnswerResult(StrEnum):
    """What happened to an answer; the values are labels of `auralis_gather_answers_total`."""

    ACCEPTED = "taken"
    REPEATED = "repeated"
    """The instance had answered this scrape already."""
    MALFORMED = "malformed"
    """Its exposition, service or name is invalid."""
    REFUSED = "refused"
    """There are too many instances."""


@dataclass(slots=True)
class _Instance:
    service: str
    name: str
    reader: Reader
    exposition: Exposition = field(default_factory=dict)
    seen_s: float = 0.0
    history: InstanceHistory = field(default_factory=InstanceHistory)


class Fleet:
    """Keeps the last answer of each instance, and its history. Times are seconds of one monotonic clock.

    Attributes:
        forgotten: instances that were dropped after `FORGOTTEN_AFTER_S` of silence, so far.
    """

    def __init__(self) -> None:
        self._instances: dict[tuple[str, str], _Instance] = {}
        self._parser = Parser()
        self._clocks = ClockSpread()
        # Telemetry itself, whose clock the others are compared with.
        self._own: tuple[str, str] | None = None
        self.forgotten = 0

    def known(self, now_s: float) -> frozenset[tuple[str, str]]:
        """(service, instance) of each instance that is up; a scrape waits for these."""
        return frozenset(key for key, each in self._instances.items() if now_s - each.seen_s < SILENT_AFTER_S)

    def record(
        self, answer: ScrapeAnswer, *, asked_s: float, now_s: float, unix_s: float | None = None
    ) -> AnswerResult:
        """Record an answer.

        Args:
            answer: of an instance.
            asked_s: beginning of the scrape that it answers.
            now_s: when the answer arrived.
            unix_s: the same in unix seconds by telemetry's own clock; None: the answer is telemetry's own.
        """
        if answer.service not in _SERVICES or not _NAME.fullmatch(answer.instance):
            return AnswerResult.MALFORMED
        key = (answer.service, answer.instance)
        instance = self._instances.get(key)
        if instance is not None and instance.seen_s >= asked_s:
            return AnswerResult.REPEATED
        reader = Reader(self._parser) if instance is None else instance.reader
        try:
            exposition = reader.read(answer.exposition)
        except ExpositionError:
            return AnswerResult.MALFORMED
        if instance is None:
            if len(self._instances) >= MAX_INSTANCES:
                return AnswerResult.REFUSED
            instance = self._instances[key] = _Instance(*key, reader)
        if unix_s is None:
            self._own = key
        elif (clock_s := text.value(exposition, "auralis_clock_seconds")) is not None and math.isfinite(clock_s):
            self._clocks.heard(answer.instance, clock_s - unix_s, now_s)
        instance.exposition = exposition
        instance.seen_s = now_s
        instance.history.add(exposition, now_s)
        return AnswerResult.ACCEPTED

    def forget(self, now_s: float) -> None:
        """Drop instances that have been silent for `FORGOTTEN_AFTER_S`."""
        gone = [key for key, each in self._instances.items() if now_s - each.seen_s >= FORGOTTEN_AFTER_S]
        for key in gone:
            del self._instances[key]
        self.forgotten += len(gone)

    def merged(self, now_s: float) -> bytes:
        """One exposition of all instances that are up, with `service` and `instance` labels."""
        return text.merge(
            ({"service": each.service, "instance": each.name}, each.exposition) for each in self._up(now_s)
        )

    def count(self, now_s: float) -> dict[tuple[str, str], int]:
        """(service, "up" or "silent") -> number of instances."""
        counts = {(service, state): 0 for service in _SERVICES for state in ("up", "silent")}
        for each in self._instances.values():
            counts[each.service, "up" if now_s - each.seen_s < SILENT_AFTER_S else "silent"] += 1
        return counts

    def report(self, now_s: float, *, generated_at: float, bus_connected: bool) -> FleetReport:
        """The state of the fleet.

        Args:
            now_s: seconds.
            generated_at: Unix seconds, for the report.
            bus_connected: telemetry is connected to the bus.
        """
        rows = []
        differences = self._clocks.differences(now_s)
        for key, each in sorted(self._instances.items()):
            silent_s = max(0.0, now_s - each.seen_s)
            rows.append(
                instance_report(
                    each.service,
                    each.name,
                    each.exposition,
                    each.history,
                    up=silent_s < SILENT_AFTER_S,
                    silent_s=silent_s,
                    clock_difference_s=differences.get(OWN if key == self._own else each.name),
                )
            )
        return FleetReport(generated_at, bus_connected, fleet_totals(rows, self.jitter(now_s, RECENT_S)), rows)

    def clocks(self, now_s: float) -> str:
        """A sentence that names instances whose clocks differ from the median; empty if none does."""
        return describe(self._clocks.differences(now_s), own=self._own[1] if self._own else "telemetry")

    def jitter(self, now_s: float, window_s: float) -> dict[float, float]:
        """Lateness in ms of all chunks of the last `window_s` seconds: cumulative counts by upper bound."""
        increases = [each.history.histogram_increase(JITTER, window_s) for each in self._up(now_s)]
        return sum_histograms([each for each in increases if each])

    def _up(self, now_s: float) -> Sequence[_Instance]:
        return [each for _, each in sorted(self._instances.items()) if now_s - each.seen_s < SILENT_AFTER_S]
