"""A service's clock: monotonic, anchored to wall time; small differences are slewed, large ones jumped (shell)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

MAX_SLEW: Final = 0.001
"""Greatest rate at which the clock follows wall time: 0.1 %, 1 ms a second, which is inaudible."""
JUMP_S: Final = 3.0
"""A greater difference from wall time is not slewed: three seconds take 50 minutes, a laptop's sleep takes years."""
JUMP_AFTER_S: Final = 1.0
"""How long the difference must have lasted: after a sleep the machine may correct its clock a second time."""
JUMPS_PER_S: Final = 10
"""Jumps are multiples of a tenth of a second, so that work that is due each tenth keeps its beat."""


class Clock(Protocol):
    """The time of a service; tests inject their own.

    Attributes:
        shift_s: seconds by which wall time has jumped away from `now`, in all.
    """

    shift_s: float

    def now(self) -> float:
        """Seconds since the Unix epoch, apart from jumps: never goes back, never jumps. For durations and deadlines."""
        ...

    def jump(self) -> float:
        """Follow a jump of wall time if there was one: the seconds by which `shift_s` has changed, 0 without a jump."""
        ...


def unix_s(clock: Clock) -> float:
    """Seconds since the Unix epoch. Changes at once when the clock jumps."""
    return clock.now() + clock.shift_s


class SystemClock:
    """Wall time in two parts: one that cannot jump, and the jumps.

    An NTP step or `date -s` moves the wall clock in one step, and a machine's sleep stops the monotonic one; ticks
    derived from them would repeat or be lost. This clock follows at `MAX_SLEW` and reports the rest as `offset_s`. Its
    owner decides when it follows a large difference, and calls `jump`.

    Args:
        wall: seconds since the epoch; may step.
        monotonic: seconds from anywhere; never steps.

    Attributes:
        offset_s: seconds by which wall time is ahead of this clock, jumps included.
        shift_s: see `Clock`.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._last_monotonic = monotonic()
        self._now = wall()
        self._apart_since_s: float | None = None
        # `shift_s` in units of 1 / JUMPS_PER_S, so that it stays exact.
        self._shift = 0
        self.offset_s = 0.0
        self.shift_s = 0.0

    def now(self) -> float:
        """Seconds since the epoch, slewed, without the jumps."""
        monotonic = self._monotonic()
        elapsed = max(0.0, monotonic - self._last_monotonic)
        self._last_monotonic = monotonic
        self._now += elapsed
        # Positive: wall time is ahead of this clock.
        error = self._wall() - self._now - self.shift_s
        correction = min(max(error, -MAX_SLEW * elapsed), MAX_SLEW * elapsed)
        self._now += correction
        self.offset_s = error - correction
        return self._now

    def jump(self) -> float:
        """Follow wall time in one step, if it has been more than `JUMP_S` apart for `JUMP_AFTER_S`."""
        now_s = self.now()
        if abs(self.offset_s) <= JUMP_S:
            self._apart_since_s = None
            return 0.0
        if self._apart_since_s is None:
            self._apart_since_s = now_s
        if now_s - self._apart_since_s < JUMP_AFTER_S:
            return 0.0
        self._apart_since_s = None
        jumped = round(self.offset_s * JUMPS_PER_S)
        self._shift += jumped
        self.shift_s = self._shift / JUMPS_PER_S
        self.offset_s -= jumped / JUMPS_PER_S
        return jumped / JUMPS_PER_S
