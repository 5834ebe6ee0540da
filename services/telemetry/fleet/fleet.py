"""The fleet as telemetry knows it: who answered when, and with what. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from services.contract.scrape import ScrapeAnswer
from services.telemetry.exposition import exposition as text
from services.telemetry.exposition.exposition import Exposition, ExpositionError, Parser, Reader
from services.telemetry.exposition.histograms import together
from services.telemetry.fleet.instance_history import JITTER, Past
from services.telemetry.fleet.report import RECENT_S, FleetReport, fleet_totals, instance_report

SILENT_AFTER_S: Final = 10.0
"""Two rounds without an answer. It is shown in the round after that, so within 15 s."""
FORGOTTEN_AFTER_S: Final = 600.0
MAX_INSTANCES: Final = 1000
"""More are not taken in; overflow: the newest is refused, and counted."""
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


@dataclass(slots=True)
class _Instance:
    service: str
    name: str
    reader: Reader
    exposition: Exposition = field(default_factory=dict)
    seen_s: float = 0.0
    past: Past = field(default_factory=Past)


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
        reader = Reader(self._parser) if instance is None else instance.reader
        try:
            exposition = reader.read(answer.exposition)
        except ExpositionError:
            return Taken.MALFORMED
        if instance is None:
            if len(self._instances) >= MAX_INSTANCES:
                return Taken.REFUSED
            instance = self._instances[key] = _Instance(*key, reader)
        instance.exposition = exposition
        instance.seen_s = now_s
        instance.past.add(exposition, now_s)
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
            ({"service": each.service, "instance": each.name}, each.exposition) for each in self._up(now_s)
        )

    def count(self, now_s: float) -> dict[tuple[str, str], int]:
        """(service, "up" or "silent") -> instances."""
        counts = {(service, state): 0 for service in _SERVICES for state in ("up", "silent")}
        for each in self._instances.values():
            counts[each.service, "up" if now_s - each.seen_s < SILENT_AFTER_S else "silent"] += 1
        return counts

    def report(self, now_s: float, *, generated_at: float, bus_connected: bool) -> FleetReport:
        """The table."""
        rows = []
        for _, each in sorted(self._instances.items()):
            silent_s = max(0.0, now_s - each.seen_s)
            rows.append(
                instance_report(
                    each.service,
                    each.name,
                    each.exposition,
                    each.past,
                    up=silent_s < SILENT_AFTER_S,
                    silent_s=silent_s,
                )
            )
        return FleetReport(generated_at, bus_connected, fleet_totals(rows, self.jitter(now_s, RECENT_S)), rows)

    def jitter(self, now_s: float, window_s: float) -> dict[float, float]:
        """Lateness in ms of all chunks of the last `window_s` seconds: cumulative counts by upper bound."""
        counted = [each.past.counted(JITTER, window_s) for each in self._up(now_s)]
        return together([each for each in counted if each])

    def _up(self, now_s: float) -> Sequence[_Instance]:
        return [each for _, each in sorted(self._instances.items()) if now_s - each.seen_s < SILENT_AFTER_S]
