"""Pure: the clock of the server, from the times that it writes into messages."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

WINDOW_S: Final = 30.0
"""The quickest message of one to two windows counts: longer than the checks of the streams are apart."""


class BusClock:
    """Seconds since the epoch by the server's clock, for any moment of a monotonic one.

    A message arrives after the server has written the time into it, so each one gives a least value, and the quickest
    message the best one. Where a request was answered, the time was written after the request: a clock that seems to be
    further ahead than that was set back.
    """

    def __init__(self) -> None:
        # How far the server's clock is ahead of the monotonic one: the best of this window and of the one before.
        self._best = -math.inf
        self._before = -math.inf
        self._since_s = -math.inf

    def heard(self, server_s: float, arrived_s: float) -> None:
        """Note a message.

        Args:
            server_s: when the server wrote it, by its own clock (unix seconds).
            arrived_s: when it arrived, monotonic.
        """
        if arrived_s - self._since_s >= WINDOW_S:
            self._before, self._best, self._since_s = self._best, -math.inf, arrived_s
        self._best = max(self._best, server_s - arrived_s)

    def answered(self, server_s: float, asked_s: float, arrived_s: float) -> None:
        """Note the answer to a request that was sent at `asked_s`; times as for `heard`."""
        if max(self._best, self._before) > server_s - asked_s:
            self._best = self._before = -math.inf
        self.heard(server_s, arrived_s)

    def now_s(self, at_s: float) -> float | None:
        """Unix seconds by the server's clock at `at_s`, monotonic; None before the first message."""
        ahead_s = max(self._best, self._before)
        return None if math.isinf(ahead_s) else at_s + ahead_s


def written_s(text: object) -> float | None:
    """Unix seconds of a time as JetStream's API writes it ("2026-11-30T13:32:35.740131899Z"); None: it is none."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
