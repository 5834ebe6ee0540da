"""Which services are ready, and which keep everything waiting. Pure: times and answers go in."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

WAIT_REPORTED_EVERY_S: Final = 15.0
"""How long a service may be starting before it is reported, and the time between two reports."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A service that is not ready: for how many seconds, and why."""

    name: str
    waited_s: float
    reason: str


class Readiness:
    """Tracks the services from each start to the first answer that says "ready".

    Args:
        services: names of the services that must become ready.
        now_s: monotonic seconds, here and in all methods.
    """

    def __init__(self, services: Collection[str], *, now_s: float) -> None:
        self._services = frozenset(services)
        self._started_s: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        self._ready_once: set[str] = set()
        self._reported_s = now_s

    @property
    def waiting(self) -> tuple[str, ...]:
        """Services that have started and are not ready yet."""
        return tuple(self._started_s)

    @property
    def all_ready(self) -> bool:
        """Every service has been ready, and none is starting again."""
        return self._ready_once >= self._services and not self._started_s

    def started(self, name: str, now_s: float) -> None:
        """A service was started; other processes (NATS) are not waited for."""
        if name in self._services:
            self._started_s[name] = now_s

    def ended(self, name: str) -> None:
        """A service ended; it is waited for again when it has been restarted."""
        self._started_s.pop(name, None)
        self._reasons.pop(name, None)

    def answered(self, name: str, reason: str | None, now_s: float) -> float | None:
        """Record an answer of `/readyz`.

        Args:
            name: the service.
            reason: why it is not ready; None when it is.
            now_s: when the answer came.

        Returns:
            Seconds since the start, if the service has just become ready; None otherwise.
        """
        if name not in self._started_s:
            return None
        if reason is not None:
            self._reasons[name] = reason
            return None
        self._ready_once.add(name)
        self._reasons.pop(name, None)
        return now_s - self._started_s.pop(name)

    def overdue(self, now_s: float) -> Sequence[Wait]:
        """Services that have been starting for long; at most one report every `WAIT_REPORTED_EVERY_S`."""
        if not self._started_s or now_s - self._reported_s < WAIT_REPORTED_EVERY_S:
            return ()
        self._reported_s = now_s
        return [
            Wait(name, now_s - started_s, self._reasons.get(name, "starting"))
            for name, started_s in self._started_s.items()
            if now_s - started_s >= WAIT_REPORTED_EVERY_S
        ]


def why_not_ready(body: bytes) -> str:
    """The failing conditions in the body of a `/readyz` answer, as a sentence's part."""
    try:
        conditions = json.loads(body)["conditions"]
        reasons = [
            f"{name} ({each['detail']})" if each.get("detail") else str(name)
            for name, each in conditions.items()
            if not each["ok"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "not ready"
    return ", ".join(reasons) or "not ready"
