"""Scatter-gather of metrics over the bus: telemetry asks, each instance answers once. Pure.

Layout of an answer: one line of JSON (`v`, `service`, `instance`), a newline, then the Prometheus text exposition.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Self

from services.contract.errors import MessageError
from services.contract.messages import read_versioned, take_text

VERSION: Final = 1
MAX_BYTES: Final = 2**20 - 1024
"""Just below the largest message that a nats-server accepts by default."""


@dataclass(frozen=True, slots=True)
class ScrapeAnswer:
    """One instance's metrics.

    Attributes:
        service: "synthesis", "edge" or "telemetry".
        instance: the instance's name, unique in the fleet.
        exposition: Prometheus text format 0.0.4.
    """

    service: str
    instance: str
    exposition: bytes

    def encode(self) -> bytes:
        """The answer as it goes over the bus."""
        head = {"v": VERSION, "service": self.service, "instance": self.instance}
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.exposition

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read an answer.

        Raises:
            UnknownVersionError, MessageError, FieldError: see errors.py.
        """
        if len(data) > MAX_BYTES:
            raise MessageError(f"scrape answer: got {len(data)} bytes, expected at most {MAX_BYTES}")
        head, newline, exposition = data.partition(b"\n")
        if not newline:
            raise MessageError("scrape answer: got one line, expected a JSON line and an exposition")
        value = read_versioned("scrape answer", head, version=VERSION, limit_bytes=1024)
        return cls(take_text(value, "service"), take_text(value, "instance"), exposition)
