"""An edge on its own uvicorn (shell), with the protocols of `wire` and a drain at its end."""

from __future__ import annotations

import sys
from typing import Any, Final

from services.contract.websocket import MAX_INBOUND_BYTES
from services.edge.app import create_app
from services.edge.service import SERVICE, EdgeService
from services.edge.wire.http_protocol import HttpProtocol
from services.edge.wire.websocket_protocol import WebSocketProtocol
from services.runtime.http.server import EmbeddedServer, bind_socket
from services.runtime.observability.logging import get_logger
from services.runtime.process.lifecycle import Lifecycle
from services.runtime.settings import Settings

_log = get_logger(__name__)

SERVER_OPTIONS: Final[dict[str, Any]] = {
    "lifespan": "on",
    "http": HttpProtocol,
    "ws": WebSocketProtocol,
    # A longer message closes the connection with 1009 before all of it is read.
    "ws_max_size": MAX_INBOUND_BYTES,
    # PCM hardly shrinks, in base64 neither, and deflating it costs more than everything else together.
    "ws_per_message_deflate": False,
    # A client that has vanished is noticed within 40 s; in between, proxies see traffic.
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    # AURALIS_TRUSTED_PROXIES decides whose X-Forwarded-For is believed.
    "proxy_headers": False,
    "date_header": True,
}
STOP_GRACE_S: Final = 2.0
"""How long the server waits for open requests when it stops."""
SWITCH_INTERVAL_S: Final = 0.001
"""How long a thread may keep the interpreter while another waits. Encoders run in threads beside the event loop; with
Python's 5 ms, the loop of a large crowd would wait that long many times in a tick."""


async def run_edge(settings: Settings, lifecycle: Lifecycle) -> None:
    """Serve until `lifecycle.stopping` is set, after its drain has sent all listeners elsewhere.

    Raises:
        PortInUseError: AURALIS_PORT or METRICS_PORT is taken.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    listening = bind_socket(settings.host, settings.port, setting="AURALIS_PORT")
    try:
        service = EdgeService(settings, internal_port_required=True)
        app = create_app(lambda: service)
        lifecycle.on_drain(service.drain)
        server = EmbeddedServer(app, listening, guard=service.guard, **SERVER_OPTIONS)
    except BaseException:
        listening.close()
        raise
    await server.start()
    _log.info("ready", service=SERVICE, instance=service.instance, port=server.port, metrics_port=service.internal_port)
    await lifecycle.stopping.wait()
    await server.stop(grace_s=STOP_GRACE_S)
