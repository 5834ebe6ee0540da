"""A service's clock: monotonic, anchored to wall time, slewed towards it and never stepped (shell)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

MAX_SLEW: Final = 0.001
"""Greatest rate at which the clock follows wall time: 0.1 %, 1 ms a second, which is inaudible."""


class Clock(Protocol):
    """The time of a service; tests inject their own."""

    def now(self) -> float:
        """Seconds since the Unix epoch; never goes back, never jumps."""
        ...


class SystemClock:
    """Wall time that cannot jump.

    An NTP step or `date -s` moves the wall clock in one step; ticks derived from it would repeat or be lost. This clock
    follows at `MAX_SLEW` and reports the rest as `offset_s`.

    Args:
        wall: seconds since the epoch; may step.
        monotonic: seconds from anywhere; never steps.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._last_monotonic = monotonic()
        self._now = wall()
        self.offset_s = 0.0

    def now(self) -> float:
        """Seconds since the epoch, slewed."""
        monotonic = self._monotonic()
        elapsed = max(0.0, monotonic - self._last_monotonic)
        self._last_monotonic = monotonic
        self._now += elapsed
        # Positive: wall time is ahead of this clock.
        error = self._wall() - self._now
        correction = min(max(error, -MAX_SLEW * elapsed), MAX_SLEW * elapsed)
        self._now += correction
        self.offset_s = error - correction
        return self._now
