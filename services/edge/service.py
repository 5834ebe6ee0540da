"""The edge as a whole (shell): builds its parts, starts and stops them in order."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from services.edge.access.auth import TokenChecker
from services.edge.access.proxy_trust import ProxyTrust
from services.edge.chunk_encoder import ChunkEncoder
from services.edge.endpoints.mount_http import MountEndpoint
from services.edge.endpoints.mounts import Mounts
from services.edge.endpoints.playlist import PlaylistEndpoint
from services.edge.endpoints.record import RecordEndpoint
from services.edge.endpoints.websocket import WebSocketEndpoint
from services.edge.fanout.hub import Hub
from services.edge.listener.settings import ListenerSettings
from services.edge.listener.tiers import TierLimits
from services.edge.metrics import EdgeMetrics
from services.edge.streaming_server import StreamingServer
from services.edge.wire.asgi import Receive, Scope, Send
from services.runtime.bus import Bus
from services.runtime.clock import Clock
from services.runtime.http.ports import public_guard
from services.runtime.process.service_process import ServiceProcess
from services.runtime.settings import Settings

SERVICE: Final = "edge"

Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""


class EdgeService:
    """Everything that an edge process runs.

    Args:
        settings: from the environment.
        bus: None: NATS, with the server that the settings name.
        clock: None: the system's.
        internal_port_required: whether a taken METRICS_PORT fails the start. False logs a warning instead, because the
            workers of `uvicorn --workers` share one environment.

    Attributes:
        settings: as above.
        instance: its name in the fleet.
        endpoints: ASGI applications by path.
        guard: of the public port.
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
        self.guard = public_guard(settings, process.http_metrics, is_proxy=proxies.trusts)
        tokens = TokenChecker(edge.jwt_key, edge.jwt_audience) if edge.jwt_key else None
        self._mounts = mounts = Mounts(self.hub)
        self._record = RecordEndpoint(self.hub, tokens=tokens)
        self.endpoints: Mapping[str, Endpoint] = {
            "/ws": WebSocketEndpoint(self.hub, proxies=proxies, origins=edge.allowed_origins, tokens=tokens),
            "/stream.opus": MountEndpoint(self.hub, mounts, "opus", proxies=proxies, tokens=tokens),
            "/stream.mp3": MountEndpoint(self.hub, mounts, "mp3", proxies=proxies, tokens=tokens),
            "/listen.m3u": PlaylistEndpoint("m3u", proxies=proxies),
            "/listen.pls": PlaylistEndpoint("pls", proxies=proxies),
            "/listen.xspf": PlaylistEndpoint("xspf", proxies=proxies),
            "/record": self._record,
        }

    @property
    def internal_port(self) -> int | None:
        """The real port of `/metrics`; None if it was taken."""
        return self._process.internal_port

    async def start(self) -> None:
        """Start everything; the hub connects to the bus in the background.

        Raises:
            PortInUseError: METRICS_PORT is taken and required.
            ServiceError: traces are switched on, and OpenTelemetry is not installed.
        """
        await self._process.start(drain=self.drain, port_required=self._internal_port_required)
        await self.hub.start()
        self._process.settle()

    async def drain(self) -> None:
        """Close every connection so that its listener connects to another edge; idempotent."""
        await self.hub.drain()

    async def stop(self) -> None:
        """End everything; idempotent."""
        self._record.stop()
        await self._mounts.stop()
        await self.hub.stop()
        await self._process.stop()
