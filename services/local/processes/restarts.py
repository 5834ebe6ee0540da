"""Whether and when a child that ended is restarted. Pure: exit statuses and times go in, decisions come out."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

SETTINGS_EXIT_STATUS: Final = 2
"""Exit status of a service with unusable settings: a restart cannot help."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long the supervisor waits before a restart.

    Attributes:
        first_delay_s: wait before the first restart.
        factor: each further failure in a row multiplies the wait by it.
        max_delay_s: longest wait.
        healthy_after_s: lifetime after which a failure counts as the first one again.
        settings_within_s: exit status 2 within this time of the start means unusable settings.
    """

    first_delay_s: float = 0.5
    factor: float = 2.0
    max_delay_s: float = 30.0
    healthy_after_s: float = 60.0
    settings_within_s: float = 30.0

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after failure number `failures` in a row, from 1 on."""
        # A bounded exponent: the power must not overflow a float when a child fails for days.
        return min(self.max_delay_s, self.first_delay_s * self.factor ** min(failures - 1, 64))


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart the child after `delay_s`; this was failure number `failures` in a row."""

    delay_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop everything; `reason` says why, as half a sentence."""

    reason: str


class RestartState:
    """Counts the failures in a row of one child."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._failures = 0

    def ended(self, status: int, lived_s: float) -> Restart | GiveUp:
        """Decide about a child that ended unasked.

        Args:
            status: exit status, or minus the number of the signal that ended it, as in `subprocess`.
            lived_s: seconds since its start.
        """
        if status == SETTINGS_EXIT_STATUS and lived_s < self._policy.settings_within_s:
            return GiveUp("its settings cannot be used, and a restart would not change that")
        if lived_s >= self._policy.healthy_after_s:
            self._failures = 0
        self._failures += 1
        return Restart(self._policy.delay_s(self._failures), self._failures)


def describe_status(status: int) -> str:
    """An exit status, or minus a signal's number, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if -status == signal.SIGKILL:
        return f"{name} (killed from outside, or the system ran out of memory)"
    return name
