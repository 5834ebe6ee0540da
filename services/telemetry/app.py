"""Telemetry's HTTP (shell): `/metrics`, `/api`, the dashboard, and the internal endpoints on the same port."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

from litestar import Litestar, Request, Response, get
from litestar.datastructures import ResponseHeader, State
from litestar.exceptions import ServiceUnavailableException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.response import ServerSentEvent
from litestar.types import ASGIApp

from services.contract.errors import shorten
from services.runtime.http.internal import InternalApp
from services.runtime.metrics import CONTENT_TYPE, build_version
from services.runtime.observability.logging import get_logger
from services.telemetry.alerting.alerts import AlertsReport
from services.telemetry.events import TooManyViewersError
from services.telemetry.fleet.fleet_history import HistoryReport
from services.telemetry.fleet.report import FleetReport
from services.telemetry.scaling.autoscale import ASSUMED_STREAMS_PER_WORKER, AutoscaleReport, UnmeasuredError
from services.telemetry.service import TelemetryService

_log = get_logger(__name__)

DASHBOARD: Final = Path(__file__).parent / "dashboard"
_PAGE: Final = {
    "index.html": "text/html",
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "charts.js": "text/javascript",
}
# The page needs nothing from elsewhere, and nothing inside it may be inlined.
_HEADERS: Final = (
    ResponseHeader(
        name="content-security-policy",
        value="default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    ),
    ResponseHeader(name="x-content-type-options", value="nosniff"),
    ResponseHeader(name="referrer-policy", value="no-referrer"),
)
# Litestar adds the charset to every text by itself.
_EXPOSITION: Final = CONTENT_TYPE.partition("; charset")[0]
_INTERNAL: Final = frozenset({"/healthz", "/readyz", "/drain"})
_NOT_STORED: Final = {"cache-control": "no-store"}
_EVENTS: Final = "/api/events"
STALLED_S: Final = 30.0
"""A page that has not taken an event for so long is hung up on: it would keep the place of one that reads."""


def create_app(service: TelemetryService) -> ASGIApp:
    """The ASGI application of a started service."""
    pages = Litestar(
        route_handlers=[metrics, fleet, autoscale, history, alerts, events, *(_page_file(name) for name in _PAGE)],
        state=State({"telemetry": service}),
        response_headers=list(_HEADERS),
        # The process has set its logs up; litestar would do it again in its own way.
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Auralis telemetry",
            version=build_version(),
            description="The fleet at a glance.",
            path="/api/schema",
            create_examples=False,
        ),
    )
    internal = InternalApp(health=service.health, exposition=None, drain=service.drain)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] in _INTERNAL:
            await internal(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == _EVENTS:
            # Counted here, because an iterator that is left behind in a failed answer ends when it likes.
            with service.feed.place():
                await _unless_stalled(pages, scope, receive, send)
        else:
            await pages(scope, receive, send)

    return app


async def _unless_stalled(pages: ASGIApp, scope: Any, receive: Any, send: Any) -> None:
    """Answer for as long as the client reads."""
    stalled = asyncio.Event()

    async def send_in_time(message: Any) -> None:
        try:
            async with asyncio.timeout(STALLED_S):
                await send(message)
        except TimeoutError:
            stalled.set()
            raise

    try:
        await pages(scope, receive, send_in_time)
    except Exception:
        if not stalled.is_set():
            raise
        _log.info("viewer does not read", client=(scope.get("client") or ("",))[0], waited_s=STALLED_S)


@get("/metrics", media_type=_EXPOSITION, include_in_schema=False)
async def metrics(state: State, request: Request[Any, Any, Any]) -> Response[bytes]:
    """Everybody's metrics, with `service` and `instance` labels; `?scope=self`: only this process's own."""
    service: TelemetryService = state.telemetry
    if not service.settings.metrics_enabled:
        text = b"metrics are switched off (METRICS_ENABLED=false)\n"
        return Response(text, status_code=404, media_type="text/plain")
    asked = request.query_params.get("scope", "fleet")
    if asked not in ("fleet", "self"):
        text = f"scope: got {shorten(asked)}, expected fleet or self\n".encode()
        return Response(text, status_code=400, media_type="text/plain")
    body = service.own_exposition() if asked == "self" else await service.fleet_exposition()
    return Response(body, media_type=_EXPOSITION, headers={"cache-control": "no-store"})


@get("/api/fleet", tags=["fleet"], summary="The whole fleet")
async def fleet(state: State) -> Response[FleetReport]:
    """Every instance with its listeners, streams, render headroom, tiers, jitter and memory, and the sums.

    An instance that has been silent for 15 s is listed with `up: false` and its last figures, for ten minutes.
    """
    service: TelemetryService = state.telemetry
    return Response(await service.fleet_report(), headers=_NOT_STORED)


@get(
    "/api/autoscale",
    tags=["scaling"],
    summary="Demand, for an autoscaler",
    responses={503: ResponseSpec(data_container=dict[str, Any], description="Demand cannot be told.")},
)
async def autoscale(
    state: State,
    assumed_streams: Annotated[
        float,
        Parameter(gt=0, le=1e6, description="Streams that a renderer is taken for while none has measured itself."),
    ] = ASSUMED_STREAMS_PER_WORKER,
) -> Response[AutoscaleReport]:
    """Listeners of the edges, and rendering in units of a whole renderer; for KEDA's metrics-api scaler.

    503 while demand cannot be told: what cannot be measured must not look as if nobody listened.
    """
    service: TelemetryService = state.telemetry
    try:
        report = await service.autoscale(assumed_streams)
    except UnmeasuredError as error:
        raise ServiceUnavailableException(str(error)) from error
    return Response(report, headers=_NOT_STORED)


@get("/api/history", tags=["fleet"], summary="The last half an hour", sync_to_thread=False)
def history(state: State) -> Response[HistoryReport]:
    """The fleet every five seconds, and each process's memory every thirty."""
    service: TelemetryService = state.telemetry
    return Response(service.history(), headers=_NOT_STORED)


@get("/api/alerts", tags=["fleet"], summary="What is wrong", sync_to_thread=False)
def alerts(state: State) -> Response[AlertsReport]:
    """Alerts as Prometheus judges them (`AURALIS_PROMETHEUS_URL`), else as telemetry does itself."""
    service: TelemetryService = state.telemetry
    return Response(service.alerts(), headers=_NOT_STORED)


@get(_EVENTS, tags=["fleet"], summary="The fleet as it changes", sync_to_thread=False)
def events(state: State) -> ServerSentEvent:
    """Server-sent events, one every two to five seconds: `{"fleet": ..., "point": ..., "alerts": ...}`.

    `fleet` is what /api/fleet gives, `point` the newest of /api/history, `alerts` what /api/alerts gives.
    """
    service: TelemetryService = state.telemetry
    try:
        watching = service.feed.watch()
    except TooManyViewersError as error:
        raise ServiceUnavailableException(str(error)) from error
    return ServerSentEvent(watching, headers=_NOT_STORED)


def _page_file(name: str) -> Any:
    content = (DASHBOARD / name).read_bytes()
    path = "/" if name == "index.html" else f"/{name}"

    @get(path, name=name, include_in_schema=False, sync_to_thread=False)
    def page_file() -> Response[bytes]:
        return Response(content, media_type=_PAGE[name], headers={"cache-control": "no-cache"})

    return page_file
