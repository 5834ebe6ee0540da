"""The telemetry service (shell): its parts, made from the settings, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from litestar.serialization import encode_json

from services.contract.scrape import ScrapeAnswer
from services.runtime.bus import Bus
from services.runtime.clock import unix_s
from services.runtime.http.ports import internal_guard, internal_hosts
from services.runtime.process.service_process import ServiceProcess
from services.runtime.settings import Settings
from services.telemetry.alerting.alerts import Alerts, AlertsReport
from services.telemetry.events import Feed
from services.telemetry.fleet.fleet import Fleet
from services.telemetry.fleet.fleet_history import FleetHistory, HistoryReport, point
from services.telemetry.fleet.report import RECENT_S, FleetReport
from services.telemetry.metrics import TelemetryMetrics
from services.telemetry.scaling.autoscale import AutoscaleReport, autoscale_report
from services.telemetry.scaling.kube import CostKeeper, own_namespace
from services.telemetry.scrape import EVERY_S, Scraper

if TYPE_CHECKING:
    from services.telemetry.alerting.prometheus import PrometheusAlerts

SERVICE: Final = "telemetry"
_WATCHED_EVERY_S: Final = 2.0
"""Time between two scrapes while the dashboard has viewers …"""
_WATCHED_INSTANCES: Final = 50
"""… and the fleet has at most this many instances."""


class TelemetryService:
    """A telemetry process without its port.

    Args:
        settings: from the environment.
        bus: None: NATS, by the settings.

    Attributes:
        settings: see above.
        instance: its name in the fleet.
        health: ready while the bus is connected and no drain was requested.
        feed: events for the dashboard.
        guard, hosts: of its port.
    """

    def __init__(self, settings: Settings, *, bus: Bus | None = None) -> None:
        self._process = ServiceProcess(settings, SERVICE, conditions=("bus",), bus=bus)
        self.settings = settings
        self.instance = self._process.instance
        self.health = self._process.health
        self._bus = self._process.bus
        self._clock = self._process.clock
        self._fleet = Fleet()
        self._history = FleetHistory()
        self._alerts = Alerts()
        self._prometheus = _prometheus(settings)
        self.feed = Feed()
        self.guard = internal_guard(settings, self._process.http_metrics)
        self.hosts = internal_hosts(settings)
        self._telemetry_metrics = TelemetryMetrics(self._process.metrics)
        self._telemetry_metrics.viewers.set_function(lambda: self.feed.viewers)
        self._scraper = Scraper(
            self._bus,
            self._fleet,
            metrics=self._telemetry_metrics,
            own=lambda: ScrapeAnswer(SERVICE, self.instance, self.own_exposition()),
            unix=lambda: unix_s(self._clock),
        )
        # (time of the scrape, its merged exposition): merging a large fleet takes a fifth of a second.
        self._merged = (0.0, b"")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start scraping; the bus connects in the background, so that a missing bus delays nothing."""
        await self._process.start()
        # In a thread: inside a cluster it imports a large client.
        pods = await asyncio.to_thread(own_namespace)
        self._process.connect(compare_clock=False)
        self._tasks = [asyncio.create_task(self._scraper.run(every_s=self._every_s, then=self._publish), name="scrape")]
        if pods is not None:
            keeper = CostKeeper(pods, self._listeners_by_pod, metrics=self._telemetry_metrics)
            self._tasks.append(asyncio.create_task(keeper.run(), name="deletion-costs"))
        if self._prometheus is not None:
            self._tasks.append(asyncio.create_task(self._prometheus.run(), name="prometheus"))
        self._process.settle()

    async def stop(self) -> None:
        """Stop scraping and close the bus; idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.feed.close()
        await self._process.stop()

    async def drain(self) -> None:
        """Stop being ready. No music depends on this service, so there is nothing to wait for."""
        self.health.set("accepting", ok=False, detail="draining")
        self.feed.close()

    def own_exposition(self) -> bytes:
        """Metrics of this process alone."""
        return self._process.exposition()

    async def fleet_exposition(self) -> bytes:
        """Metrics of all instances, at most a second old."""
        await self._scraper.refresh()
        scraped_s, body = self._merged
        if scraped_s != self._scraper.scraped_s:
            scraped_s, body = self._merged = (self._scraper.scraped_s, self._fleet.merged(time.monotonic()))
        return body

    async def fleet_report(self) -> FleetReport:
        """State of all instances, at most a second old."""
        await self._scraper.refresh()
        return self._report()

    async def autoscale(self, assumed_streams_per_worker: float) -> AutoscaleReport:
        """The demand on the fleet, at most a second old.

        Args:
            assumed_streams_per_worker: capacity of a renderer until one has measured its own.

        Raises:
            UnmeasuredError: it cannot be measured.
        """
        await self._scraper.refresh()
        return autoscale_report(self._report(), assumed_streams_per_worker=assumed_streams_per_worker)

    def history(self) -> HistoryReport:
        """The last half hour."""
        return self._history.report()

    def alerts(self) -> AlertsReport:
        """Alerts of the configured Prometheus; without one, telemetry's own."""
        return self._alerts.report() if self._prometheus is None else self._prometheus.report()

    def _report(self) -> FleetReport:
        return self._fleet.report(time.monotonic(), generated_at=unix_s(self._clock), bus_connected=self._bus.connected)

    def _listeners_by_pod(self) -> dict[str, int]:
        """Listeners of each edge that is up; an instance has the name of its pod."""
        report = self._report()
        return {row.instance: row.listeners or 0 for row in report.instances if row.service == "edge" and row.up}

    def _every_s(self) -> float:
        few = len(self._fleet.known(time.monotonic())) <= _WATCHED_INSTANCES
        return _WATCHED_EVERY_S if few and self.feed.viewers else EVERY_S

    def _publish(self) -> None:
        """After each scrape: judge the alerts, and send an event to the viewers."""
        # Nothing here depends on the time of day, so a jump needs no care.
        self._clock.jump()
        report = self._report()
        self._show_clocks(report)
        self._history.add(report)
        self._alerts.judge(report, self._fleet.jitter(time.monotonic(), RECENT_S))
        event = {"fleet": report, "point": point(report), "alerts": self.alerts()}
        self.feed.publish(encode_json(event).decode())

    def _show_clocks(self, report: FleetReport) -> None:
        """Name the instances whose clocks differ, in readiness and metrics; that alone makes no service less ready."""
        self.health.set("clocks", ok=True, detail=self._fleet.clocks(time.monotonic()))
        gauge = self._telemetry_metrics.clock_difference
        gauge.clear()
        for row in report.instances:
            if row.up and row.clock_difference_s is not None:
                gauge.labels(fleet_service=row.service, fleet_instance=row.instance).set(row.clock_difference_s)


def _prometheus(settings: Settings) -> PrometheusAlerts | None:
    if not settings.prometheus_url:
        return None
    from services.telemetry.alerting.prometheus import PrometheusAlerts  # noqa: PLC0415 - httpx is needed only here

    return PrometheusAlerts(settings.prometheus_url)
