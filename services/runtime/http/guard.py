"""What a port lets strangers have (shell: Prometheus): a bounded number of pending connections, and no log lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, get_args

from services.runtime.http.pending import PendingConnections, Reason
from services.runtime.http.request_checks import RejectionReason
from services.runtime.metrics import HttpMetrics

MAX_PENDING: Final = 2048
"""Pending connections of a port, if its service does not say."""
MAX_PENDING_PER_ADDRESS: Final = 512
"""As many of one address. It has room for a crowd of one house, and for a load test."""

PortName = Literal["public", "internal"]
Refused = RejectionReason | Reason | Literal["deadline"]
REASONS: Final[tuple[str, ...]] = (*get_args(RejectionReason), *get_args(Reason), "deadline")
"""Values of the label `reason`."""


class PortGuard:
    """Bounds a port's pending connections, and counts what it refuses in place of logging it.

    Args:
        port: label of the metrics.
        max_pending, max_pending_per_address: limits, at least 1.
        is_proxy: whether an address is that of a proxy, whose connections are only limited in total.
        metrics: count what is refused; None: metrics that are not exposed.

    Attributes:
        pending: connections without a request, or between two.
    """

    def __init__(
        self,
        port: PortName = "public",
        *,
        max_pending: int = MAX_PENDING,
        max_pending_per_address: int = MAX_PENDING_PER_ADDRESS,
        is_proxy: Callable[[str], bool] = lambda _: False,
        metrics: HttpMetrics | None = None,
    ) -> None:
        self.pending: PendingConnections[Any] = PendingConnections(max_pending, max_pending_per_address, is_proxy)
        metrics = HttpMetrics() if metrics is None else metrics
        metrics.pending.labels(port=port).set_function(self.pending.__len__)
        # From zero on: a rate over a missing series raises no alert.
        self._refused = {reason: metrics.refusals.labels(port=port, reason=reason) for reason in REASONS}

    def count(self, reason: Refused) -> None:
        """Count a request or a connection that is refused."""
        self._refused[reason].inc()
