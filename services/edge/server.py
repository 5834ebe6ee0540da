"""An edge on its own uvicorn (shell): the protocols of protocol.py, and a drain before the end."""

from __future__ import annotations

import sys
from typing import Any, Final

from services.contract.websocket import MAX_INBOUND_BYTES
from services.edge.app import create_app
from services.edge.service import SERVICE, EdgeService
from services.edge.wire.uvicorn_protocols import ListenerProtocol, RequestProtocol
from services.runtime.http.server import EmbeddedServer, bind_socket
from services.runtime.observability.logging import get_logger
from services.runtime.process.lifecycle import Lifecycle
from services.runtime.settings import Settings

_log = get_logger(__name__)

SERVER_OPTIONS: Final[dict[str, Any]] = {
    "lifespan": "on",
    "http": RequestProtocol,
    "ws": ListenerProtocol,
    # A longer message ends the connection with 1009 before it is read to its end.
    "ws_max_size": MAX_INBOUND_BYTES,
    # PCM and base64 of it hardly shrink, and deflating them costs more than everything else together.
    "ws_per_message_deflate": False,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    # Whose X-Forwarded-For is believed is decided by AURALIS_TRUSTED_PROXIES.
    "proxy_headers": False,
    "date_header": True,
}
STOP_GRACE_S: Final = 2.0
SWITCH_INTERVAL_S: Final = 0.001


async def run_edge(settings: Settings, lifecycle: Lifecycle) -> None:
    """Serve until `lifecycle.stopping`; its drain sends the listeners elsewhere first.

    Raises:
        PortInUseError: AURALIS_PORT or METRICS_PORT is taken.
    """
    # Encoders run in threads beside the loop: at a full crowd they would wait 5 ms for each of many turns.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    bound = bind_socket(settings.host, settings.port, setting="AURALIS_PORT")
    try:
        service = EdgeService(settings, internal_port_required=True)
        app = create_app(lambda: service)
        lifecycle.on_drain(service.drain)
        server = EmbeddedServer(app, bound, **SERVER_OPTIONS)
    except BaseException:
        bound.close()
        raise
    await server.start()
    _log.info("ready", service=SERVICE, instance=service.instance, port=server.port, metrics_port=service.internal_port)
    await lifecycle.stopping.wait()
    await server.stop(grace_s=STOP_GRACE_S)
