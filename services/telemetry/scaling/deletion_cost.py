"""Deletion costs of edge pods: Kubernetes ends the pod with the fewest listeners first. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"
EVERY_S: Final = 60.0
"""Least time between two patches of a pod: the API server sends each patch to all watchers of pods."""


def cost(listeners: int) -> int:
    """A number of listeners in coarse steps: one significant digit, rounded down (7, 10, 20, … 90, 100, 200, …)."""
    step: int = 10 ** (len(str(max(0, listeners))) - 1)
    return max(0, listeners) // step * step


class DeletionCosts:
    """Decides which pods to patch, and remembers their costs. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        # Pod -> (when it was last patched, the cost that it has; None after a failure).
        self._written: dict[str, tuple[float, int | None]] = {}

    def due(self, listeners: Mapping[str, int], now_s: float) -> dict[str, int]:
        """Pod -> new cost, of pods whose cost has changed and whose last patch is at least a minute ago.

        Args:
            listeners: of each edge pod that is up; other pods are forgotten.
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
        """Record an attempt to patch a pod; after a failure it is due again in a minute.

        Args:
            pod: its name.
            value: the cost that it should have.
            now_s: seconds.
            done: the patch succeeded, or the pod is gone.
        """
        self._written[pod] = (now_s, value if done else None)
