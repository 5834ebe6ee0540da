"""The edge's public HTTP (shell): the player, the API, and the paths of `endpoints`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from litestar import HttpMethod, Litestar, Response, asgi, route
from litestar.datastructures import ResponseHeader, State
from litestar.enums import ScopeType
from litestar.exceptions import ClientException
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from services.contract.spec import (
    CONTROL_STEPS,
    INTENSITY_STEPS,
    KEYS,
    LEVEL_STEPS,
    MAX_BPM,
    MAX_LEVEL,
    MAX_SEED,
    MIN_BPM,
    MODES,
    PRESETS,
    SENTENCES,
    TEXTURES,
    StreamSpec,
)
from services.contract.titles import PAIRS
from services.contract.websocket import FORMAT, JSON_V1, OPUS_V1, PCM_V1, TIER_CHUNKS
from services.edge.access.refusal import Refusal
from services.edge.endpoints.query import spec_from_query
from services.edge.endpoints.websocket import refuse_upgrade
from services.edge.service import EdgeService
from services.runtime.metrics import build_version

PLAYER: Final = Path(__file__).parent / "player"
_MEDIA_TYPES: Final[Mapping[str, str]] = {
    # The framework adds the character set to text.
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_WEBSOCKET: Final = "/ws"
_ENDPOINTS: Final = (_WEBSOCKET, "/stream.opus", "/stream.mp3", "/listen.m3u", "/listen.pls", "/listen.xspf", "/record")
"""Paths that the service's own ASGI applications serve; see `EdgeService.endpoints`."""

read: Final = partial(route, http_method=[HttpMethod.GET, HttpMethod.HEAD], sync_to_thread=False)
"""A handler for GET and HEAD; monitors and `curl -I` send HEAD."""

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
    "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""The page loads everything from this edge; nothing is inlined, nothing comes from elsewhere."""
_HEADERS: Final = (
    ResponseHeader(name="content-security-policy", value=CONTENT_SECURITY_POLICY),
    ResponseHeader(name="x-content-type-options", value="nosniff"),
    ResponseHeader(name="referrer-policy", value="no-referrer"),
)


NO_WEBSOCKET: Final = Refusal(404, "path", f"this address is no WebSocket; connect to {_WEBSOCKET}")


def create_app(make_service: Callable[[], EdgeService]) -> Litestar:
    """The ASGI application.

    Args:
        make_service: called in the event loop when the application starts; `app.state.edge` then holds the service.
    """

    @asynccontextmanager
    async def run(app: Litestar) -> AsyncIterator[None]:
        service = make_service()
        app.state.edge = service
        try:
            await service.start()
            yield
        finally:
            await service.stop()

    return _EdgeApp(
        route_handlers=[
            *(_endpoint(path) for path in _ENDPOINTS),
            status,
            streams,
            stream,
            options,
            healthz,
            readyz,
            *(_page_file(path) for path in sorted(PLAYER.iterdir()) if path.suffix in _MEDIA_TYPES),
        ],
        lifespan=[run],
        response_headers=list(_HEADERS),
        openapi_config=None,
        # Logs are configured once, for every library, by services.runtime.observability.logging.
        logging_config=None,
    )


class _EdgeApp(Litestar):
    """Litestar, for which a WebSocket that no handler serves would be 403 or a failed HTTP handler."""

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        path = str(scope.get("path", ""))
        if scope["type"] == ScopeType.WEBSOCKET and path.rstrip("/") != _WEBSOCKET:
            await receive()  # websocket.connect
            await refuse_upgrade(scope, send, NO_WEBSOCKET)
        else:
            await super().__call__(scope, receive, send)


@read("/api/status")
def status(state: State) -> dict[str, Any]:
    """Figures of the edge: listeners, streams, renderers, readiness."""
    return {**_service(state).hub.status(), "version": build_version()}


@read("/api/streams")
def streams(state: State) -> dict[str, Any]:
    """The streams that play now."""
    return {"streams": _service(state).hub.now_playing()}


@read("/api/stream")
def stream(scope: Scope) -> dict[str, Any]:
    """The stream that a query names, as a player shows it: its values, its address and its title.

    Raises:
        ClientException: 400; the text names the field.
    """
    try:
        spec = spec_from_query(scope["query_string"].decode("latin-1"))
    except ValueError as error:
        raise ClientException(str(error)) from error
    return {"stream": spec.to_params(), "stream_id": spec.stream_id, "title": spec.title}


@read("/api/options")
def options() -> dict[str, Any]:
    """The values that a stream's fields may have, and how audio is delivered: everything that a player needs.

    A list of three numbers is lowest, highest and step. `levels` has such a list for each layer; that of `air` is for
    the texture. `sentences` says what each preset is. Seeds below `two_word_seeds` have titles without a number.
    """
    default = StreamSpec().to_params()
    return {
        "keys": list(KEYS),
        "modes": list(MODES),
        "presets": list(PRESETS),
        "sentences": dict(SENTENCES),
        "bpm": [MIN_BPM, MAX_BPM],
        "intensity": [0.0, 1.0, 1 / INTENSITY_STEPS],
        "seed": [0, MAX_SEED],
        "two_word_seeds": PAIRS,
        "brightness": [0.0, 1.0, 1 / CONTROL_STEPS],
        "density": [0.0, 1.0, 1 / CONTROL_STEPS],
        "textures": list(TEXTURES),
        "levels": {layer: [0.0, MAX_LEVEL, 1 / LEVEL_STEPS] for layer in default["levels"]},
        "defaults": default,
        "format": dict(FORMAT),
        "subprotocols": [OPUS_V1, PCM_V1, JSON_V1],
        "tiers": dict(TIER_CHUNKS),
    }


@read("/healthz")
def healthz() -> dict[str, Any]:
    """Always 200: the event loop runs."""
    return {"alive": True}


@read("/readyz")
def readyz(state: State) -> Response[dict[str, Any]]:
    """Whether a load balancer should send listeners here, and if not, why."""
    health = _service(state).health
    return Response(health.report(), status_code=200 if health.ready else 503)


def _endpoint(path: str) -> ASGIRouteHandler:
    """A handler that passes requests on to the service's own ASGI application."""

    @asgi(path, name=path, copy_scope=True)
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        service: EdgeService = scope["litestar_app"].state.edge
        await service.endpoints[path](scope, receive, send)

    return endpoint


def _page_file(path: Path) -> HTTPRouteHandler:
    """A handler for one of the player's files; they are few and small, so they stay in memory."""
    content = path.read_bytes()
    media_type = _MEDIA_TYPES[path.suffix]

    @read("/" if path.name == "index.html" else f"/{path.name}", name=path.name)
    def page_file() -> Response[bytes]:
        # Revalidated at each visit, because page and edge must have the same version.
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    return page_file


def _service(state: State) -> EdgeService:
    service: EdgeService = state.edge
    return service
