"""Telemetry as a whole (shell): its parts, put together from the settings, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from litestar.serialization import encode_json

from services.contract.scrape import ScrapeAnswer
from services.runtime.bus import Bus
from services.runtime.process.service_process import ServiceProcess
from services.runtime.settings import Settings
from services.telemetry.alerting.alerts import Alerts, AlertsReport
from services.telemetry.events import Feed
from services.telemetry.fleet.fleet import Fleet
from services.telemetry.fleet.fleet_history import History, HistoryReport, point
from services.telemetry.fleet.report import RECENT_S, FleetReport
from services.telemetry.metrics import TelemetryMetrics
from services.telemetry.scaling.autoscale import AutoscaleReport, autoscale_report
from services.telemetry.scaling.kube import CostKeeper, pods_here
from services.telemetry.scrape import EVERY_S, Scraper

if TYPE_CHECKING:
    from services.telemetry.alerting.prometheus import PrometheusAlerts

SERVICE: Final = "telemetry"
_WATCHED_EVERY_S: Final = 2.0
"""The fleet is asked so often while somebody watches the dashboard …"""
_WATCHED_INSTANCES: Final = 50
"""… unless it has more instances than these."""


class TelemetryService:
    """Everything that a telemetry process runs, its port apart.

    Args:
        settings: from the environment.
        bus: None: NATS, as the settings say.

    Attributes:
        health: ready when the bus is connected and nobody has asked for a drain.
        instance: its name in the fleet.
    """

    def __init__(self, settings: Settings, *, bus: Bus | None = None) -> None:
        self._process = ServiceProcess(settings, SERVICE, conditions=("bus",), bus=bus)
        self.settings = settings
        self.instance = self._process.instance
        self.health = self._process.health
        self._bus = self._process.bus
        self._clock = self._process.clock
        self._fleet = Fleet()
        self._history = History()
        self._alerts = Alerts()
        self._prometheus = _prometheus(settings)
        self.feed = Feed()
        self._telemetry_metrics = TelemetryMetrics(self._process.metrics)
        self._telemetry_metrics.viewers.set_function(lambda: self.feed.viewers)
        self._scraper = Scraper(
            self._bus,
            self._fleet,
            metrics=self._telemetry_metrics,
            own=lambda: ScrapeAnswer(SERVICE, self.instance, self.own_exposition()),
        )
        # (when everybody was asked, what was made of it): of a large fleet that is a fifth of a second's work.
        self._merged = (0.0, b"")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start asking; the bus is connected to in the background, so that a missing one holds nothing up."""
        await self._process.start()
        # In a thread: inside a cluster it imports a large client.
        pods = await asyncio.to_thread(pods_here)
        self._process.connect()
        self._tasks = [asyncio.create_task(self._scraper.run(every_s=self._every_s, then=self._look), name="scrape")]
        if pods is not None:
            keeper = CostKeeper(pods, self._listeners_by_pod, metrics=self._telemetry_metrics)
            self._tasks.append(asyncio.create_task(keeper.run(), name="deletion-costs"))
        if self._prometheus is not None:
            self._tasks.append(asyncio.create_task(self._prometheus.run(), name="prometheus"))
        self._process.settle()

    async def stop(self) -> None:
        """Stop asking and hang up; idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.feed.close()
        await self._process.stop()

    async def drain(self) -> None:
        """Not ready any more. Nobody's music depends on this service, so there is nothing to wait for."""
        self.health.set("accepting", ok=False, detail="draining")
        self.feed.close()

    def own_exposition(self) -> bytes:
        """This process's own metrics."""
        return self._process.exposition()

    async def fleet_exposition(self) -> bytes:
        """Everybody's metrics, at most a second old."""
        await self._scraper.refresh()
        asked_s, body = self._merged
        if asked_s != self._scraper.asked_s:
            asked_s, body = self._merged = (self._scraper.asked_s, self._fleet.merged(time.monotonic()))
        return body

    async def fleet_report(self) -> FleetReport:
        """Everybody's state, at most a second old."""
        await self._scraper.refresh()
        return self._report()

    async def autoscale(self, assumed_streams_per_worker: float) -> AutoscaleReport:
        """The demand on the fleet, at most a second old.

        Raises:
            UnmeasuredError: it cannot be told.
        """
        await self._scraper.refresh()
        return autoscale_report(self._report(), assumed_streams_per_worker=assumed_streams_per_worker)

    def history(self) -> HistoryReport:
        """The last half an hour."""
        return self._history.report()

    def alerts(self) -> AlertsReport:
        """Prometheus' alerts where one is configured, else telemetry's own."""
        return self._alerts.report() if self._prometheus is None else self._prometheus.report()

    def _report(self) -> FleetReport:
        return self._fleet.report(time.monotonic(), generated_at=self._clock.now(), bus_connected=self._bus.connected)

    def _listeners_by_pod(self) -> dict[str, int]:
        """Of all edges that are up; an instance has its pod's name."""
        report = self._report()
        return {row.instance: row.listeners or 0 for row in report.instances if row.service == "edge" and row.up}

    def _every_s(self) -> float:
        few = len(self._fleet.known(time.monotonic())) <= _WATCHED_INSTANCES
        return _WATCHED_EVERY_S if few and self.feed.viewers else EVERY_S

    def _look(self) -> None:
        """After each round: judge what has come, and tell who watches."""
        report = self._report()
        self._history.add(report)
        self._alerts.judge(report, self._fleet.jitter(time.monotonic(), RECENT_S))
        told = {"fleet": report, "point": point(report), "alerts": self.alerts()}
        self.feed.publish(encode_json(told).decode())


def _prometheus(settings: Settings) -> PrometheusAlerts | None:
    if not settings.prometheus_url:
        return None
    from services.telemetry.alerting.prometheus import PrometheusAlerts  # noqa: PLC0415 - httpx is for those who ask for it

    return PrometheusAlerts(settings.prometheus_url)
