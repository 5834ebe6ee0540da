"""When a child that ended is started again. Pure: exits and times go in, decisions come out."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

SETTINGS_EXIT_STATUS: Final = 2
"""What a service exits with when its settings cannot be used: trying again cannot help."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patient the supervisor is.

    Attributes:
        first_delay_s: wait before the first restart.
        factor: each further failure in a row multiplies the wait by this.
        max_delay_s: no wait is longer.
        healthy_after_s: a child that lived this long starts its count of failures anew.
        settings_within_s: exit status 2 within this time of the start means bad settings.
    """

    first_delay_s: float = 0.5
    factor: float = 2.0
    max_delay_s: float = 30.0
    healthy_after_s: float = 60.0
    settings_within_s: float = 30.0

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th failure in a row (from 1 on)."""
        # The power is taken of a bounded number: a child that fails for days must not overflow a float.
        return min(self.max_delay_s, self.first_delay_s * self.factor ** min(failures - 1, 64))


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after `delay_s`; it is the `failures`-th failure in a row."""

    delay_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop everything, because `reason`."""

    reason: str


class RestartState:
    """One child's record of failures."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._failures = 0

    def ended(self, status: int, lived_s: float) -> Restart | GiveUp:
        """What to do about a child that ended unasked.

        Args:
            status: exit status, or minus the signal that ended it (as `subprocess` has it).
            lived_s: seconds since it was started.
        """
        if status == SETTINGS_EXIT_STATUS and lived_s < self._policy.settings_within_s:
            return GiveUp("its settings cannot be used, and starting it again would not change that")
        if lived_s >= self._policy.healthy_after_s:
            self._failures = 0
        self._failures += 1
        return Restart(self._policy.delay_s(self._failures), self._failures)


def describe_status(status: int) -> str:
    """An exit status (or minus a signal) in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if -status == signal.SIGKILL:
        return f"{name} (somebody killed it, or the system ran out of memory)"
    return name
