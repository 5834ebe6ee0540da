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
from services.runtime.http.internal import InternalApp, foreign_host, refuse_host
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
# The page loads nothing from other origins and has no inline scripts or styles.
_HEADERS: Final = (
    ResponseHeader(
        name="content-security-policy",
        value="default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    ),
    ResponseHeader(name="x-content-type-options", value="nosniff"),
    ResponseHeader(name="referrer-policy", value="no-referrer"),
)
# Litestar adds the charset to text itself.
_EXPOSITION: Final = CONTENT_TYPE.partition("; charset")[0]
_INTERNAL: Final = frozenset({"/healthz", "/readyz", "/drain"})
"""Paths that `InternalApp` answers."""
_NOT_STORED: Final = {"cache-control": "no-store"}
_EVENTS: Final = "/api/events"
STALLED_S: Final = 30.0
"""How long a viewer may leave an event unread before it is disconnected; it would keep the place of another one."""


def create_app(service: TelemetryService) -> ASGIApp:
    """The ASGI application of a started service."""
    pages = Litestar(
        route_handlers=[metrics, fleet, autoscale, history, alerts, events, *(_page_file(name) for name in _PAGE)],
        state=State({"telemetry": service}),
        response_headers=list(_HEADERS),
        # The process has configured its logs; litestar would configure them again.
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Auralis telemetry",
            version=build_version(),
            description="The fleet at a glance.",
            path="/api/schema",
            create_examples=False,
        ),
    )
    internal = InternalApp(health=service.health, exposition=None, drain=service.drain, hosts=service.hosts)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if (host := foreign_host(scope, service.hosts)) is not None:
            await refuse_host(scope, send, host)
        elif scope["type"] == "http" and scope["path"] in _INTERNAL:
            await internal(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == _EVENTS:
            # Counted here: the iterator of a failed answer ends at an unknown time.
            with service.feed.viewer():
                await _unless_stalled(pages, scope, receive, send)
        else:
            await pages(scope, receive, send)

    return app


async def _unless_stalled(pages: ASGIApp, scope: Any, receive: Any, send: Any) -> None:
    """Answer a viewer until it leaves an event unread for `STALLED_S`."""
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
        _log.info("viewer stalled", client=(scope.get("client") or ("",))[0], waited_s=STALLED_S)


@get("/metrics", media_type=_EXPOSITION, include_in_schema=False)
async def metrics(state: State, request: Request[Any, Any, Any]) -> Response[bytes]:
    """Metrics of all instances, with `service` and `instance` labels; `?scope=self`: of this process alone."""
    service: TelemetryService = state.telemetry
    if not service.settings.metrics_enabled:
        text = b"metrics are switched off (METRICS_ENABLED=false)\n"
        return Response(text, status_code=404, media_type="text/plain")
    scope = request.query_params.get("scope", "fleet")
    if scope not in ("fleet", "self"):
        text = f"scope: got {shorten(scope)}, expected fleet or self\n".encode()
        return Response(text, status_code=400, media_type="text/plain")
    body = service.own_exposition() if scope == "self" else await service.fleet_exposition()
    return Response(body, media_type=_EXPOSITION, headers={"cache-control": "no-store"})


@get("/api/fleet", tags=["fleet"], summary="The whole fleet")
async def fleet(state: State) -> Response[FleetReport]:
    """Listeners, streams, render headroom, tiers, jitter and memory of each instance, and the totals.

    A silent instance is listed with `up: false` and its last figures for ten minutes; silence shows within 15 s.
    """
    service: TelemetryService = state.telemetry
    return Response(await service.fleet_report(), headers=_NOT_STORED)


@get(
    "/api/autoscale",
    tags=["scaling"],
    summary="Demand, for an autoscaler",
    responses={503: ResponseSpec(data_container=dict[str, Any], description="Demand cannot be measured.")},
)
async def autoscale(
    state: State,
    assumed_streams: Annotated[
        float,
        Parameter(gt=0, le=1e6, description="Capacity of a renderer in streams, until one has measured its own."),
    ] = ASSUMED_STREAMS_PER_WORKER,
) -> Response[AutoscaleReport]:
    """Listeners of the edges, and the load of the renderers in units of a renderer; for KEDA's metrics-api scaler.

    Answers 503 if demand cannot be measured: unknown demand must not look like no demand.
    """
    service: TelemetryService = state.telemetry
    try:
        report = await service.autoscale(assumed_streams)
    except UnmeasuredError as error:
        raise ServiceUnavailableException(str(error)) from error
    return Response(report, headers=_NOT_STORED)


@get("/api/history", tags=["fleet"], summary="The last half hour", sync_to_thread=False)
def history(state: State) -> Response[HistoryReport]:
    """The fleet every five seconds, and each process's memory every thirty."""
    service: TelemetryService = state.telemetry
    return Response(service.history(), headers=_NOT_STORED)


@get("/api/alerts", tags=["fleet"], summary="Alerts", sync_to_thread=False)
def alerts(state: State) -> Response[AlertsReport]:
    """Alerts, judged by Prometheus if `AURALIS_PROMETHEUS_URL` is set, otherwise by telemetry."""
    service: TelemetryService = state.telemetry
    return Response(service.alerts(), headers=_NOT_STORED)


@get(_EVENTS, tags=["fleet"], summary="The fleet as it changes", sync_to_thread=False)
def events(state: State) -> ServerSentEvent:
    """Server-sent events, one every two to five seconds: `{"fleet": ..., "point": ..., "alerts": ...}`.

    `fleet` is the answer of /api/fleet, `point` the newest point of /api/history, `alerts` the answer of /api/alerts.
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
