"""Who is let in: so many at once, and so many from one address."""

from __future__ import annotations

from services.edge.access.addresses import AddressLimit
from services.edge.access.refusal import Refusal
from services.edge.metrics import EdgeMetrics
from services.runtime.settings import EdgeSettings


class Admission:
    """Counts listeners in and out, before and after everything else that is done for them.

    Args:
        settings: the limits.
        metrics: gets the number of listeners, and refusals.

    Attributes:
        listeners: those who are connected or being connected.
    """

    def __init__(self, settings: EdgeSettings, metrics: EdgeMetrics) -> None:
        self.listeners = 0
        self._settings = settings
        self._metrics = metrics
        self._addresses = AddressLimit(settings.max_per_ip)

    def enter(self, address: str, *, draining: bool) -> Refusal | None:
        """Count a listener in; None means welcome, and `leave` must follow."""
        refusal: Refusal | None = None
        if draining:
            refusal = Refusal(503, "draining", "this server is restarting; connect again", 1)
        elif self.listeners >= self._settings.max_connections:
            text = f"all {self._settings.max_connections} places are taken; try again later"
            refusal = Refusal(503, "connections", text, 5)
        elif not self._addresses.enter(address):
            text = f"{self._settings.max_per_ip} connections from one address are open already; close one"
            refusal = Refusal(429, "address", text, 5)
        if refusal is not None:
            self._metrics.refusals.labels(reason=refusal.reason).inc()
            return refusal
        self.listeners += 1
        self._metrics.listeners.set(self.listeners)
        return None

    def leave(self, address: str) -> None:
        """The listener that `enter` counted in has gone."""
        self.listeners -= 1
        self._addresses.leave(address)
        self._metrics.listeners.set(self.listeners)
