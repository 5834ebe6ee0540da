"""The parts that every service's process has, started and stopped in one order (shell)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from services.runtime.bus import Bus, Subscription
from services.runtime.bus.nats import NatsBus
from services.runtime.clock import Clock, SystemClock, unix_s
from services.runtime.clock_spread import APART_S
from services.runtime.gc_config import RealTimeGCConfig
from services.runtime.health import Health
from services.runtime.http.internal import InternalServer, PortInUseError
from services.runtime.http.ports import internal_guard, internal_hosts
from services.runtime.memory_monitor import MemoryMonitor
from services.runtime.metrics import BusMetrics, HttpMetrics, PrometheusMetrics
from services.runtime.observability.logging import get_logger
from services.runtime.observability.traces import close_traces, open_traces
from services.runtime.process.instance import instance_name
from services.runtime.process.scrape_answers import answer_scrapes
from services.runtime.settings import Settings

_log = get_logger(__name__)

STREAM_KEEPER: Final = "synthesis"
"""The service that makes the streams and changes them back; the others may only look at them."""
BUS_WATCH_S: Final = 0.1
"""Seconds between two looks at whether the bus is connected."""


class ServiceProcess:
    """Bus, clock, metrics, readiness, internal port, garbage collection and memory monitor of one process.

    A service starts it first, then its own parts, and calls `settle` when everything long-lived is built. It stops its
    own parts first, then this.

    Args:
        settings: from the environment.
        service: "synthesis", "edge" or "telemetry".
        conditions: conditions of readiness that count as failing until they are reported.
        traced: whether this service reports spans; then AURALIS_TRACES switches them on.
        bus: None: NATS, as the settings say.
        clock: None: the system's.

    Attributes:
        instance: this process's name in the fleet.
        clock, metrics, http_metrics, health, bus: its parts.
    """

    def __init__(
        self,
        settings: Settings,
        service: str,
        *,
        conditions: tuple[str, ...] = (),
        traced: bool = False,
        bus: Bus | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._service = service
        self._traced = traced
        self.instance = instance_name(settings, service)
        self.health = Health(*conditions)
        self.metrics = PrometheusMetrics()
        self.http_metrics = HttpMetrics(self.metrics)
        self.clock: Clock = SystemClock() if clock is None else clock
        self.metrics.describe_process(
            service=service, clock_offset_s=_offset_s(self.clock), clock_s=lambda: unix_s(self.clock)
        )
        if bus is None:
            bus = NatsBus(
                settings.nats,
                name=self.instance,
                metrics=BusMetrics(self.metrics),
                keeps_streams=service == STREAM_KEEPER,
            )
        self.bus: Bus = bus
        self._gc = RealTimeGCConfig(self.metrics)
        self._memory = MemoryMonitor(metrics=self.metrics)
        self._internal: InternalServer | None = None
        self._scrapes: Subscription | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def internal_port(self) -> int | None:
        """The real port of `/metrics`, `/healthz`, `/readyz` and `/drain`; None where there is none."""
        return None if self._internal is None else self._internal.port

    def exposition(self) -> bytes:
        """This process's metrics as Prometheus text."""
        # The clock updates its offset only when it is read.
        self.clock.now()
        return self.metrics.exposition()

    async def start(self, *, drain: Callable[[], Awaitable[None]] | None = None, port_required: bool = True) -> None:
        """Tune garbage collection, open traces and the internal port, and answer scrapes; needs no bus.

        Args:
            drain: behind `/drain` of the internal port; None: no internal port, the service brings its own.
            port_required: a taken METRICS_PORT is an error; otherwise a warning, and there is no internal port.

        Raises:
            PortInUseError: METRICS_PORT is taken, and it is required.
            ServiceError: traces are switched on, and OpenTelemetry is not installed.
        """
        self._gc.configure()
        if self._traced:
            open_traces(self._settings, service=self._service, instance=self.instance)
        if drain is not None:
            await self._open_internal_port(drain, required=port_required)
        self._scrapes = await answer_scrapes(
            self.bus, service=self._service, instance=self.instance, exposition=self.exposition
        )

    async def _open_internal_port(self, drain: Callable[[], Awaitable[None]], *, required: bool) -> None:
        internal = InternalServer(
            self._settings.internal_host,
            self._settings.metrics_port,
            health=self.health,
            exposition=self.exposition if self._settings.metrics_enabled else None,
            drain=drain,
            hosts=internal_hosts(self._settings),
            guard=internal_guard(self._settings, self.http_metrics),
        )
        try:
            await internal.start()
        except PortInUseError as error:
            if required:
                raise
            _log.warning("no internal port", detail=str(error), port=self._settings.metrics_port)
            return
        self._internal = internal

    def connect(self, *, compare_clock: bool = True) -> asyncio.Task[None]:
        """Connect to the bus in the background and report conditions "bus" and "streams" from now on.

        Args:
            compare_clock: also report condition "clocks": whether the own clock differs from the bus's.

        Returns:
            A task that ends when the bus is connected, however long that takes.
        """
        connecting = asyncio.create_task(self.bus.connect(), name="connect")
        self._tasks += [connecting, asyncio.create_task(self._watch_bus(compare_clock=compare_clock), name="watch-bus")]
        return connecting

    async def _watch_bus(self, *, compare_clock: bool) -> None:
        while True:
            connected = self.bus.connected
            self.health.set("bus", connected, "connected" if connected else "not connected to NATS")
            faults = "; ".join(self.bus.stream_faults.values())
            # The service that should have mended them is not ready; for the others this is a thing to tell.
            self.health.set("streams", not faults or self._service != STREAM_KEEPER, faults)
            if compare_clock:
                self._compare_clock()
            await asyncio.sleep(BUS_WATCH_S)

    def _compare_clock(self) -> None:
        """Say in readiness whether the own clock differs from the bus's; that alone makes no service less ready."""
        bus_s = self.bus.unix_s()
        if bus_s is not None:
            ahead_s = unix_s(self.clock) - bus_s
            apart = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} the bus's clock"
            self.health.set("clocks", ok=True, detail=apart if abs(ahead_s) > APART_S else "")

    def settle(self) -> None:
        """Everything long-lived is built: exempt it from garbage collection, and watch memory from here on."""
        self._gc.freeze()
        self._memory.start()

    async def stop(self) -> None:
        """Stop answering, disconnect, and end the rest; idempotent, and also right after a failed `start`."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            # A connection that failed was reported when it did.
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        if self._scrapes is not None:
            await self._scrapes.close()
            self._scrapes = None
        await self.bus.close()
        if self._internal is not None:
            await self._internal.stop()
            self._internal = None
        await asyncio.to_thread(self._memory.stop)
        if self._traced:
            await asyncio.to_thread(close_traces)
        self._gc.restore()


def _offset_s(clock: Clock) -> Callable[[], float] | None:
    return (lambda: clock.offset_s) if isinstance(clock, SystemClock) else None
