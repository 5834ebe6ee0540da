"""The admission of listeners (shell: Prometheus): a limit for the edge and for each address."""

from __future__ import annotations

from services.edge.access.address_limit import AddressLimit
from services.edge.access.refusal import Refusal
from services.edge.metrics import EdgeMetrics
from services.runtime.settings import EdgeSettings

_DRAINING_RETRY_S = 1
"""Soon, because a load balancer sends the next try to another edge."""
_FULL_RETRY_S = 5
"""Later, because a place becomes free only when a listener leaves."""


class Admission:
    """Counts listeners, those that are still connecting included.

    Args:
        settings: the limits.
        metrics: gets the number of listeners, and refusals.

    Attributes:
        listeners: listeners that are connected or being connected.
    """

    def __init__(self, settings: EdgeSettings, metrics: EdgeMetrics) -> None:
        self.listeners = 0
        self._settings = settings
        self._metrics = metrics
        self._addresses = AddressLimit(settings.max_per_ip)

    def enter(self, address: str, *, draining: bool) -> Refusal | None:
        """Count a listener in; None means that it is accepted, and then `leave` must follow."""
        refusal: Refusal | None = None
        if draining:
            refusal = Refusal(503, "draining", "this server is restarting; connect again", _DRAINING_RETRY_S)
        elif self.listeners >= self._settings.max_connections:
            text = f"all {self._settings.max_connections} places are taken; try again later"
            refusal = Refusal(503, "connections", text, _FULL_RETRY_S)
        elif not self._addresses.enter(address):
            text = f"{self._settings.max_per_ip} connections from one address are open already; close one"
            refusal = Refusal(429, "address", text, _FULL_RETRY_S)
        if refusal is not None:
            self._metrics.refusals.labels(reason=refusal.reason).inc()
            return refusal
        self.listeners += 1
        self._metrics.listeners.set(self.listeners)
        return None

    def leave(self, address: str) -> None:
        """Count a listener out that `enter` accepted."""
        self.listeners -= 1
        self._addresses.leave(address)
        self._metrics.listeners.set(self.listeners)
