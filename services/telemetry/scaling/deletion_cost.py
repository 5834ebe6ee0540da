"""Which edge pod Kubernetes should end first when there are fewer to be: the emptiest. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"
EVERY_S: Final = 60.0
"""A pod is patched so often at most: each patch goes through the API server to everybody who watches pods."""


def cost(listeners: int) -> int:
    """Listeners in coarse steps: one significant digit, rounded down (7, 10, 20, … 90, 100, 200, …)."""
    step: int = 10 ** (len(str(max(0, listeners))) - 1)
    return max(0, listeners) // step * step


class DeletionCosts:
    """Decides which pods are to be patched, and remembers what they have. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[float, int | None]] = {}

    def due(self, listeners: Mapping[str, int], now_s: float) -> dict[str, int]:
        """Pods whose cost has changed and that were not patched within the last minute.

        Args:
            listeners: by pod, of all edges that are up; what is remembered of others is forgotten.
            now_s: seconds.
        """
        self._written = {pod: each for pod, each in self._written.items() if pod in listeners}
        due = {}
        for pod, number in listeners.items():
            tried_s, known = self._written.get(pod, (-1e9, None))
            if cost(number) != known and now_s - tried_s >= EVERY_S:
                due[pod] = cost(number)
        return due

    def tried(self, pod: str, value: int, now_s: float, *, done: bool) -> None:
        """A pod was patched, or it was tried in vain: then it is tried again in a minute."""
        self._written[pod] = (now_s, value if done else None)
