"""The edge as a whole (shell): its parts, put together from the settings, started and stopped in order."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from services.edge.access.addresses import ProxyTrust
from services.edge.access.auth import TokenChecker
from services.edge.chunk_encoder import ChunkEncoder
from services.edge.endpoints.mount_http import MountEndpoint
from services.edge.endpoints.mounts import Mounts
from services.edge.endpoints.websocket import WebSocketEndpoint
from services.edge.fanout.hub import Hub
from services.edge.listener.listener import ListenerSettings
from services.edge.listener.tiers import TierLimits
from services.edge.metrics import EdgeMetrics
from services.edge.streaming_server import StreamingServer
from services.runtime.bus import Bus, Subscription
from services.runtime.bus.nats import NatsBus
from services.runtime.clock import Clock, SystemClock
from services.runtime.gc_config import RealTimeGCConfig
from services.runtime.health import Health
from services.runtime.http.internal import InternalServer, PortInUseError
from services.runtime.instance import instance_name
from services.runtime.memory_monitor import MemoryMonitor
from services.runtime.metrics import BusMetrics, PrometheusMetrics
from services.runtime.observability.logging import get_logger
from services.runtime.observability.scrape import answer_scrapes
from services.runtime.observability.traces import close_traces, open_traces
from services.runtime.settings import Settings

SERVICE: Final = "edge"

_log = get_logger(__name__)


class EdgeService:
    """Everything that an edge process runs.

    Args:
        settings: from the environment.
        bus: None: NATS, as the settings say.
        clock: None: the system's.
        internal_port_required: a taken METRICS_PORT ends the start; otherwise it is a warning, because several workers
            of one server share one environment.

    Attributes:
        endpoint: `/ws`.
        mounts: `/stream.opus`, `/stream.mp3` and `/listen.m3u`.
        hub, health, metrics: its parts.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus | None = None,
        clock: Clock | None = None,
        internal_port_required: bool = False,
    ) -> None:
        self.settings = settings
        self.instance = instance_name(settings, SERVICE)
        self.metrics = PrometheusMetrics()
        self.health = Health()
        self._internal_port_required = internal_port_required
        edge = settings.edge
        system_clock = clock if clock is not None else SystemClock()
        offset_s = (lambda: system_clock.offset_s) if isinstance(system_clock, SystemClock) else None
        self.metrics.describe_process(service=SERVICE, clock_offset_s=offset_s)
        self.edge_metrics = EdgeMetrics(self.metrics)
        self.edge_metrics.listeners_limit.set(edge.max_connections)
        self.bus: Bus = (
            bus if bus is not None else NatsBus(settings.nats, name=self.instance, metrics=BusMetrics(self.metrics))
        )
        encoder = ChunkEncoder(self.edge_metrics.encoding.observe)
        listener_settings = ListenerSettings(
            tiers=TierLimits.clamped(
                settings.buffer.initial_tier,
                min_capacity_ms=settings.buffer.min_capacity_ms,
                max_capacity_ms=settings.buffer.max_capacity_ms,
            ),
            chunks_per_s=edge.rate_limit_chunks_per_s,
            secret=edge.secret.encode() or secrets.token_bytes(32),
        )
        self.hub = Hub(
            edge,
            listener_settings,
            bus=self.bus,
            clock=system_clock,
            metrics=self.edge_metrics,
            health=self.health,
            instance=self.instance,
            server=StreamingServer(system_clock, encoder),
        )
        proxies = ProxyTrust(edge.trusted_proxies)
        tokens = TokenChecker(edge.jwt_key, edge.jwt_audience) if edge.jwt_key else None
        self.endpoint = WebSocketEndpoint(self.hub, proxies=proxies, origins=edge.allowed_origins, tokens=tokens)
        self._mounts = Mounts(self.hub)
        self.mounts = MountEndpoint(self.hub, self._mounts, proxies=proxies, tokens=tokens)
        self._gc = RealTimeGCConfig(self.metrics)
        self._memory = MemoryMonitor(metrics=self.metrics)
        self._internal: InternalServer | None = None
        self._scrapes: Subscription | None = None

    @property
    def internal_port(self) -> int | None:
        """The real port of `/metrics`; None where there is none."""
        return None if self._internal is None else self._internal.port

    async def start(self) -> None:
        """Start everything that needs no bus; the bus is connected to in the background.

        Raises:
            PortInUseError: METRICS_PORT is taken, and it is required.
        """
        self._gc.configure()
        open_traces(self.settings, service=SERVICE, instance=self.instance)
        await self._start_internal()
        await self.hub.start()
        self._scrapes = await answer_scrapes(
            self.bus, service=SERVICE, instance=self.instance, exposition=self.metrics.exposition
        )
        self._gc.freeze()
        self._memory.start()

    async def _start_internal(self) -> None:
        internal = InternalServer(
            self.settings.internal_host,
            self.settings.metrics_port,
            health=self.health,
            exposition=self.metrics.exposition if self.settings.metrics_enabled else None,
            drain=self.drain,
        )
        try:
            await internal.start()
        except PortInUseError as error:
            if self._internal_port_required:
                raise
            _log.warning("no internal port", detail=str(error), port=self.settings.metrics_port)
            return
        self._internal = internal

    async def drain(self) -> None:
        """Send every listener elsewhere; idempotent."""
        await self.hub.drain()

    async def stop(self) -> None:
        """End everything; idempotent."""
        if self._scrapes is not None:
            await self._scrapes.close()
            self._scrapes = None
        await self._mounts.stop()
        await self.hub.stop()
        await self.bus.close()
        if self._internal is not None:
            await self._internal.stop()
            self._internal = None
        await asyncio.to_thread(self._memory.stop)
        await asyncio.to_thread(close_traces)
        self._gc.restore()
