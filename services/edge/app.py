"""The edge's public HTTP (shell): the player, the API, and `/ws`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from litestar import HttpMethod, Litestar, Response, asgi, route
from litestar.datastructures import ResponseHeader, State
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from services.contract.spec import KEYS, MAX_BPM, MAX_SEED, MIN_BPM, MODES, PRESETS
from services.contract.websocket import FORMAT, JSON_V1, OPUS_V1, PCM_V1, TIER_CHUNKS
from services.edge.service import EdgeService
from services.runtime.metrics import build_version

PLAYER: Final = Path(__file__).parent / "player"
_TYPES: Final[Mapping[str, str]] = {
    # The framework adds the character set to text.
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_PAGE: Final = (
    "index.html",
    "player.css",
    "player.js",
    "connection.js",
    "opus.js",
    "sky.js",
    "ring.js",
    "worklet.js",
    "icon.svg",
)

read: Final = partial(route, http_method=[HttpMethod.GET, HttpMethod.HEAD], sync_to_thread=False)
"""A handler for GET, and for those who only look whether something is there (monitors, `curl -I`)."""

# Everything the page needs comes from here; nothing may be inlined or loaded from elsewhere.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
    "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS: Final = (
    ResponseHeader(name="content-security-policy", value=CONTENT_SECURITY_POLICY),
    ResponseHeader(name="x-content-type-options", value="nosniff"),
    ResponseHeader(name="referrer-policy", value="no-referrer"),
)


def create_app(make_service: Callable[[], EdgeService]) -> Litestar:
    """The ASGI application.

    Args:
        make_service: called when the application starts, in its loop; the service is then in `app.state.edge`.
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

    return Litestar(
        route_handlers=[
            listen,
            stream_opus,
            stream_mp3,
            playlist,
            record,
            status,
            streams,
            options,
            healthz,
            readyz,
            *(_page_file(name) for name in _PAGE),
        ],
        lifespan=[run],
        response_headers=list(_HEADERS),
        openapi_config=None,
        # Logs are configured once, for every library, by services.runtime.observability.logging.
        logging_config=None,
    )


@asgi("/ws", copy_scope=True)
async def listen(scope: Scope, receive: Receive, send: Send) -> None:
    """Listeners; see websocket.py."""
    if scope["type"] == ScopeType.HTTP:
        body = b"this is a WebSocket: connect with ws:// or wss://\n"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"upgrade", b"websocket")]
        await send({"type": "http.response.start", "status": 426, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        return
    await _edge(scope).endpoint(scope, receive, send)


@asgi("/stream.opus", copy_scope=True)
async def stream_opus(scope: Scope, receive: Receive, send: Send) -> None:
    """The stream that the query names, as Ogg Opus; see mount_http.py."""
    await _edge(scope).mounts.stream(scope, receive, send, "opus")


@asgi("/stream.mp3", copy_scope=True)
async def stream_mp3(scope: Scope, receive: Receive, send: Send) -> None:
    """The stream that the query names, as MP3."""
    await _edge(scope).mounts.stream(scope, receive, send, "mp3")


@asgi("/listen.m3u", copy_scope=True)
async def playlist(scope: Scope, receive: Receive, send: Send) -> None:
    """A playlist of one entry, for players that open files."""
    await _edge(scope).mounts.playlist(scope, receive, send)


@asgi("/record", copy_scope=True)
async def record(scope: Scope, receive: Receive, send: Send) -> None:
    """What was just heard of the stream that the query names, as a file; see record.py."""
    await _edge(scope).mounts.record(scope, receive, send)


@read("/api/status")
def status(state: State) -> dict[str, Any]:
    """The edge in a few figures."""
    return {**_service(state).hub.status(), "version": build_version()}


@read("/api/streams")
def streams(state: State) -> dict[str, Any]:
    """What plays now."""
    return {"streams": _service(state).hub.now_playing()}


@read("/api/options")
def options() -> dict[str, Any]:
    """What a stream can be made of, and how it is delivered: everything that a player needs to know."""
    return {
        "keys": list(KEYS),
        "modes": list(MODES),
        "presets": list(PRESETS),
        "bpm": [MIN_BPM, MAX_BPM],
        "intensity": [0.0, 1.0, 0.05],
        "seed": [0, MAX_SEED],
        "format": dict(FORMAT),
        "subprotocols": [OPUS_V1, PCM_V1, JSON_V1],
        "tiers": dict(TIER_CHUNKS),
    }


@read("/healthz")
def healthz() -> dict[str, Any]:
    """The loop turns."""
    return {"alive": True}


@read("/readyz")
def readyz(state: State) -> Response[dict[str, Any]]:
    """Whether listeners should be sent here, and if not, why."""
    health = _service(state).health
    return Response(health.report(), status_code=200 if health.ready else 503)


def _page_file(name: str) -> Any:
    """A handler for one of the player's files; they are few and small, so they are kept in memory."""
    path = PLAYER / name
    content = path.read_bytes()
    media_type = _TYPES[path.suffix]

    @read("/" if name == "index.html" else f"/{name}", name=name)
    def page_file() -> Response[bytes]:
        # Revalidated at each visit: page and edge are of one version.
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    return page_file


def _edge(scope: Scope) -> EdgeService:
    service: EdgeService = scope["litestar_app"].state.edge
    return service


def _service(state: State) -> EdgeService:
    service: EdgeService = state.edge
    return service
