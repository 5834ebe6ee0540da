"""The edge as a whole (shell): its parts, put together from the settings, started and stopped in order."""

from __future__ import annotations

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
from services.runtime.bus import Bus
from services.runtime.clock import Clock
from services.runtime.process.service_process import ServiceProcess
from services.runtime.settings import Settings

SERVICE: Final = "edge"


class EdgeService:
    """Everything that an edge process runs.

    Args:
        settings: from the environment.
        bus: None: NATS, as the settings say.
        clock: None: the system's.
        internal_port_required: a taken METRICS_PORT ends the start; otherwise it is a warning, because several workers
            of one server share one environment.

    Attributes:
        instance: its name in the fleet.
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
        self._process = process = ServiceProcess(settings, SERVICE, traced=True, bus=bus, clock=clock)
        self._internal_port_required = internal_port_required
        self.settings = settings
        self.instance = process.instance
        self.metrics = process.metrics
        self.health = process.health
        edge = settings.edge
        edge_metrics = EdgeMetrics(process.metrics)
        edge_metrics.listeners_limit.set(edge.max_connections)
        encoder = ChunkEncoder(edge_metrics.encoding.observe)
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
            bus=process.bus,
            clock=process.clock,
            metrics=edge_metrics,
            health=process.health,
            instance=process.instance,
            server=StreamingServer(process.clock, encoder),
        )
        proxies = ProxyTrust(edge.trusted_proxies)
        tokens = TokenChecker(edge.jwt_key, edge.jwt_audience) if edge.jwt_key else None
        self.endpoint = WebSocketEndpoint(self.hub, proxies=proxies, origins=edge.allowed_origins, tokens=tokens)
        self._mounts = Mounts(self.hub)
        self.mounts = MountEndpoint(self.hub, self._mounts, proxies=proxies, tokens=tokens)

    @property
    def internal_port(self) -> int | None:
        """The real port of `/metrics`; None where there is none."""
        return self._process.internal_port

    async def start(self) -> None:
        """Start everything; the hub connects to the bus in the background.

        Raises:
            PortInUseError: METRICS_PORT is taken, and it is required.
            ServiceError: traces are switched on, and OpenTelemetry is not installed.
        """
        await self._process.start(drain=self.drain, port_required=self._internal_port_required)
        await self.hub.start()
        self._process.settle()

    async def drain(self) -> None:
        """Send every listener elsewhere; idempotent."""
        await self.hub.drain()

    async def stop(self) -> None:
        """End everything; idempotent."""
        await self._mounts.stop()
        await self.hub.stop()
        await self._process.stop()
