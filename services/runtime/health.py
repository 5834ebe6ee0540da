"""Readiness as a set of named conditions. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of one condition; `detail` describes it for people."""

    ok: bool
    detail: str


class Health:
    """Ready while all conditions hold and at least one has been reported.

    Liveness needs no condition: the internal port is answered from the service's own loop, so a stuck loop does not
    answer.

    Args:
        required: conditions that count as failing until they are first reported.
    """

    def __init__(self, *required: str) -> None:
        self._conditions = {name: Condition(ok=False, detail="not reported yet") for name in required}

    def set(self, condition: str, ok: bool, detail: str = "") -> None:  # noqa: FBT001 - reads as a sentence: set("bus", True)
        """Report the state of `condition`."""
        self._conditions[condition] = Condition(ok, detail)

    def condition(self, name: str) -> Condition | None:
        """The state of one condition; None if it was never reported."""
        return self._conditions.get(name)

    @property
    def ready(self) -> bool:
        """Whether this instance should be sent work."""
        return bool(self._conditions) and all(condition.ok for condition in self._conditions.values())

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of the conditions that do not hold."""
        return tuple(name for name, condition in self._conditions.items() if not condition.ok)

    def report(self) -> dict[str, Any]:
        """Readiness as JSON: `ready`, `failing` (names), `conditions` (name -> ok, detail)."""
        return {
            "ready": self.ready,
            "failing": list(self.failing),
            "conditions": {
                name: {"ok": condition.ok, "detail": condition.detail} for name, condition in self._conditions.items()
            },
        }
