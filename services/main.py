"""`uvicorn services.main:app`: the edge under any ASGI server, configured by the environment (shell).

With `--workers N` each worker process is a whole edge. It starts without NATS too: `/readyz` says what is missing, and
listeners receive music as soon as NATS is back. Prefer `python -m services.edge`: it controls its server, so it sends
to thousands of listeners at a lower cost and drains before it ends.
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
