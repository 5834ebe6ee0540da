"""`uvicorn services.main:app`: the edge under any ASGI server, configured by the environment (shell).

With `--workers N` every worker is a whole edge. Without NATS it starts all the same: `/readyz` says what is missing,
and listeners get their music as soon as it comes back. `python -m services.edge` is the better way where you can
choose: it knows its server, so it sends to thousands of listeners for less and drains before it ends.
"""

from __future__ import annotations

from services.edge.app import create_app
from services.edge.service import SERVICE, EdgeService
from services.runtime.observability.logging import configure_logging
from services.runtime.settings import load_settings_or_exit


def _make_service() -> EdgeService:
    settings = load_settings_or_exit()
    configure_logging(settings, service=SERVICE)
    return EdgeService(settings)


app = create_app(_make_service)
"""The ASGI application."""
