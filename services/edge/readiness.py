"""Readiness for listeners (shell: logs): conditions "bus", "streams", "accepting", "renderers" and "clocks"."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from services.runtime.health import Health
from services.runtime.observability.logging import get_logger

_log = get_logger(__name__)

BUS_GRACE_S: Final = 15.0
"""How long an edge stays ready after losing NATS: longer than a restart of NATS takes."""


class Readiness:
    """Sets the conditions under which a load balancer sends listeners to this edge.

    Args:
        health: gets the conditions; "renderers" only if the edge waits for renderers.
        wait_for_renderers_s: how long the edge waits at most for a first renderer before it is ready; 0: it does
            not wait.
        now_s: unix seconds.
    """

    def __init__(self, health: Health, *, wait_for_renderers_s: float, now_s: float) -> None:
        self._health = health
        self._wait_for_renderers_s = wait_for_renderers_s
        self._renderers_by_s = now_s + wait_for_renderers_s
        self._bus_seen_s = -math.inf
        health.set("bus", ok=False, detail="not connected to NATS")
        health.set("accepting", ok=True)
        if wait_for_renderers_s > 0:
            health.set("renderers", ok=False, detail="no renderer is ready")

    @property
    def ready(self) -> bool:
        """Whether all conditions hold."""
        return self._health.ready

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of the conditions that do not hold."""
        return self._health.failing

    def drain(self) -> None:
        """The edge accepts no new listeners from now on."""
        self._health.set("accepting", ok=False, detail="draining")

    def update(
        self, now_s: float, *, bus: bool, renderers: bool, stream_faults: Iterable[str] = (), clocks: str = ""
    ) -> None:
        """Set the conditions.

        Args:
            now_s: unix seconds.
            bus: whether the bus is connected.
            renderers: whether a renderer is ready.
            stream_faults: what is wrong with the streams of the bus. It is told, and the edge stays ready: all edges
                see it, and a loop is better for new listeners than a refusal.
            clocks: a sentence that names clocks which differ; empty: none does.
        """
        self._health.set("streams", ok=True, detail="; ".join(stream_faults))
        # It always holds: no music depends on the time of day, so an edge with a wrong clock plays.
        self._health.set("clocks", ok=True, detail=clocks)
        self._update_bus(now_s, connected=bus)
        self._update_renderers(now_s, ready=renderers)

    def _update_bus(self, now_s: float, *, connected: bool) -> None:
        """Stay ready for a while without the bus.

        A restart of NATS takes the bus from all edges together, and a loop is better for new listeners than a refusal.
        """
        if connected:
            self._bus_seen_s = now_s
            self._health.set("bus", ok=True)
            return
        away_s = now_s - self._bus_seen_s
        detail = "not connected to NATS" + ("" if math.isinf(away_s) else f" for {away_s:.0f} s")
        self._health.set("bus", ok=away_s < BUS_GRACE_S, detail=detail)

    def _update_renderers(self, now_s: float, *, ready: bool) -> None:
        """Become ready with the first renderer or after the longest wait, and stay so.

        Before that the edge has nothing to play, not even a loop: listeners are better off on the edge where they are.
        """
        waiting = self._health.condition("renderers")
        if waiting is None or waiting.ok:
            return
        if ready:
            self._health.set("renderers", ok=True)
        elif now_s >= self._renderers_by_s:
            _log.warning("no renderer is ready", waited_s=self._wait_for_renderers_s)
            self._health.set("renderers", ok=True, detail="none was ready at the start")
