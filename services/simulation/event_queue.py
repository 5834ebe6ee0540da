"""Pure: simulated time, a queue of calls ordered by when they are due."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any, Final

START_S: Final = 1_700_000_000.0
"""Unix seconds at which every simulation begins; a whole second."""


class EventQueue:
    """Makes calls in the order of their times; calls for the same time in the order in which they were queued.

    Attributes:
        now_s: simulated time, unix seconds.
    """

    def __init__(self) -> None:
        self.now_s = START_S
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()

    def now(self) -> float:
        """Simulated time, unix seconds."""
        return self.now_s

    def at(self, when_s: float, call: Callable[..., None], *arguments: Any) -> None:
        """Queue `call(*arguments)` for `when_s` (unix seconds), or for now if that is over."""
        heapq.heappush(self._heap, (max(when_s, self.now_s), next(self._numbers), call, arguments))

    def after(self, delay_s: float, call: Callable[..., None], *arguments: Any) -> None:
        """Queue `call(*arguments)` for `delay_s` seconds from now."""
        self.at(self.now_s + delay_s, call, *arguments)

    def run_until(self, end_s: float) -> None:
        """Make every call that is due before `end_s` (unix seconds)."""
        heap = self._heap
        while heap and heap[0][0] < end_s:
            self.now_s, _, call, arguments = heapq.heappop(heap)
            call(*arguments)
        self.now_s = end_s
