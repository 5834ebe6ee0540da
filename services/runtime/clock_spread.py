"""Pure: which of several clocks differ from the others."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Final

APART_S: Final = 0.5
"""A clock that differs more from the median is named: half a second of the lead of asks is meant for differences."""
WINDOW_S: Final = 15.0
"""What is heard of a clock counts for this long; the message that was quickest on its way decides."""
MAX_SAMPLES: Final = 32
"""Messages of one clock within the window that are remembered; overflow: the oldest is dropped."""
MAX_CLOCKS: Final = 1000
"""Clocks that are remembered; overflow: a further one is ignored."""
SHOWN: Final = 3
"""Clocks that a sentence names."""
OWN: Final = ""
"""Name of the own clock."""


class ClockSpread:
    """Compares the own clock with others, which are known from messages with their time in it.

    Its way makes a message look as if its sender's clock were behind, so the largest value counts.
    """

    def __init__(self) -> None:
        # Name -> (arrival, seconds ahead of the own clock).
        self._heard: dict[str, deque[tuple[float, float]]] = {}

    def heard(self, name: str, ahead_s: float, now_s: float) -> None:
        """Note a message.

        Args:
            name: of the clock.
            ahead_s: its time in the message less the own time at its arrival.
            now_s: seconds from anywhere.
        """
        samples = self._heard.get(name)
        if samples is None:
            self._forget(now_s)
            if len(self._heard) >= MAX_CLOCKS:
                return
            samples = self._heard[name] = deque(maxlen=MAX_SAMPLES)
        samples.append((now_s, ahead_s))

    def differences(self, now_s: float) -> dict[str, float]:
        """Name -> seconds ahead of the median of all clocks, the own one included; empty if there is no other."""
        self._forget(now_s)
        if not self._heard:
            return {}
        ahead = {OWN: 0.0} | {name: max(ahead_s for _, ahead_s in samples) for name, samples in self._heard.items()}
        middle = median(ahead.values())
        return {name: ahead_s - middle for name, ahead_s in ahead.items()}

    def _forget(self, now_s: float) -> None:
        for name, samples in list(self._heard.items()):
            while samples and now_s - samples[0][0] > WINDOW_S:
                samples.popleft()
            if not samples:
                del self._heard[name]


def describe(differences: dict[str, float], *, own: str) -> str:
    """A sentence that names the clocks which differ, the worst first: "edge-1 is 7.0 s behind the median of 4 clocks".

    Args:
        differences: from `ClockSpread.differences`.
        own: what to call the own clock.

    Returns:
        The empty text if no clock differs.
    """
    apart = sorted(
        ((name or own, by_s) for name, by_s in differences.items() if abs(by_s) > APART_S),
        key=lambda each: -abs(each[1]),
    )
    if not apart:
        return ""
    shown = [f"{name} is {abs(by_s):.1f} s {'ahead of' if by_s > 0 else 'behind'}" for name, by_s in apart[:SHOWN]]
    more = f" (and {len(apart) - SHOWN} more)" if len(apart) > SHOWN else ""
    return f"{', '.join(shown)}{more} the median of {len(differences)} clocks"
