"""A telemetry process (shell): the service and its HTTP port, started and stopped in order."""

from __future__ import annotations

from services.runtime.http.server import EmbeddedServer, bind_socket
from services.runtime.observability.logging import get_logger
from services.runtime.process.lifecycle import Lifecycle
from services.runtime.settings import Settings
from services.telemetry.app import create_app
from services.telemetry.service import SERVICE, TelemetryService

_log = get_logger(__name__)


async def run_telemetry(settings: Settings, lifecycle: Lifecycle) -> None:
    """Serve until `lifecycle.stopping`.

    Raises:
        PortInUseError: METRICS_PORT is taken.
    """
    bound = bind_socket(settings.host, settings.metrics_port, setting="METRICS_PORT")
    try:
        service = TelemetryService(settings)
        lifecycle.on_drain(service.drain)
        server = EmbeddedServer(create_app(service), bound, guard=service.guard, lifespan="off")
        await service.start()
    except BaseException:
        bound.close()
        raise
    try:
        await server.start()
        _log.info("ready", service=SERVICE, instance=service.instance, metrics_port=server.port)
        await lifecycle.stopping.wait()
    finally:
        await server.stop()
        await service.stop()
