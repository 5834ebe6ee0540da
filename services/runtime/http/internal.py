"""The internal port: `/metrics /healthz /readyz /drain`, answered from the service's own loop (shell)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

from services.runtime.health import Health
from services.runtime.http.addresses import is_loopback
from services.runtime.http.guard import PortGuard
from services.runtime.http.hosts import AllowedHosts
from services.runtime.http.server import EmbeddedServer, PortInUseError, bind_socket
from services.runtime.metrics import CONTENT_TYPE
from services.runtime.observability.logging import get_logger

__all__ = ["InternalApp", "InternalServer", "PortInUseError"]

_log = get_logger(__name__)

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


class InternalApp:
    """The internal endpoints as an ASGI application.

    - `/metrics`: the exposition (GET, HEAD); 404 while metrics are switched off.
    - `/healthz`: 200 while the loop runs.
    - `/readyz`: 200, or 503 with the failing conditions as JSON.
    - `/drain`: starts the drain and answers when it is done; with `?wait=false` it answers immediately (POST;
      idempotent). GET is for programs of this machine, and for hooks of Kubernetes, which cannot send POST: they name
      themselves with the header `Auralis-Drain`. Pages of other origins get 403.

    Requests that name another host get 421.

    Args:
        health: readiness.
        exposition: Prometheus text; None: metrics are switched off.
        drain: starts the drain and returns when it is done; a second call waits for the same drain.
        hosts: names under which the port answers; None: IP addresses and `localhost`.
        fallback: handles all other paths; None: they get 404.
    """

    def __init__(
        self,
        *,
        health: Health,
        exposition: Callable[[], bytes] | None,
        drain: Callable[[], Awaitable[None]],
        hosts: AllowedHosts | None = None,
        fallback: Asgi | None = None,
    ) -> None:
        self._hosts = AllowedHosts() if hosts is None else hosts
        self._health = health
        self._exposition = exposition
        self._drain = drain
        self._fallback = fallback
        self._draining: asyncio.Task[None] | None = None

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if (host := foreign_host(scope, self._hosts)) is not None:
            await refuse_host(scope, send, host)
            return
        path = scope.get("path", "")
        route = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/drain": self._drained,
        }.get(path)
        if route is None or scope["type"] != "http":
            if self._fallback is not None:
                await self._fallback(scope, receive, send)
            elif scope["type"] == "http":
                await _answer(
                    scope,
                    send,
                    404,
                    _TEXT,
                    b"this port has /metrics /healthz /readyz /drain; music is on the public port\n",
                )
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        allowed: tuple[str, ...] = ("GET", "HEAD")
        if path == "/drain":
            allowed = ("GET", "HEAD", "POST") if _may_drain_by_get(scope) else ("HEAD", "POST")
        if scope["method"] not in allowed:
            text = f"{path}: got {scope['method']}, expected {' or '.join(allowed)}\n"
            await _answer(scope, send, 405, _TEXT, text.encode(), ("allow", ", ".join(allowed)))
            return
        await route(scope, send)

    async def _metrics(self, scope: _Scope, send: _Send) -> None:
        if self._exposition is None:
            await _answer(scope, send, 404, _TEXT, b"metrics are switched off (METRICS_ENABLED=false)\n")
            return
        try:
            body = self._exposition()
        except Exception:  # noqa: BLE001 - a broken gauge must not look like a dead service
            _log.exception("exposition failed")
            await _answer(scope, send, 500, _TEXT, b"the exposition failed; the service's log has the reason\n")
            return
        await _answer(scope, send, 200, CONTENT_TYPE, body)

    async def _healthz(self, scope: _Scope, send: _Send) -> None:
        await _answer(scope, send, 200, _JSON, b'{"alive":true}\n')

    async def _readyz(self, scope: _Scope, send: _Send) -> None:
        report = self._health.report()
        status = 200 if report["ready"] else 503
        await _answer(scope, send, status, _JSON, json.dumps(report).encode() + b"\n")

    async def _drained(self, scope: _Scope, send: _Send) -> None:
        if scope["method"] == "HEAD":
            # A probe with HEAD must not take an instance out of service.
            await _answer(scope, send, 200, _JSON, b"")
            return
        if _from_another_page(scope):
            text = f"/drain: {_PAGES_REFUSED}\n"
            await _answer(scope, send, 403, _TEXT, text.encode())
            return
        if self._draining is None:
            self._draining = asyncio.ensure_future(_run(self._drain))
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if query.get("wait", ["true"])[-1].lower() in ("false", "0", "no"):
            started = {"draining": True, "done": self._draining.done()}
            await _answer(scope, send, 202, _JSON, json.dumps(started).encode() + b"\n")
            return
        try:
            # If the caller disconnects, the drain goes on.
            await asyncio.shield(self._draining)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the caller is told any error of a drain
            failed = {"draining": True, "done": False, "error": str(error)}
            await _answer(scope, send, 500, _JSON, json.dumps(failed).encode() + b"\n")
            return
        await _answer(scope, send, 200, _JSON, b'{"draining": true, "done": true}\n')


class InternalServer:
    """`InternalApp` on a port of its own, in the running loop.

    Args:
        host: address to listen on.
        port: 0: a free one.
        health, exposition, drain, hosts, fallback: see `InternalApp`.
        guard: see `EmbeddedServer`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        health: Health,
        exposition: Callable[[], bytes] | None,
        drain: Callable[[], Awaitable[None]],
        hosts: AllowedHosts | None = None,
        guard: PortGuard | None = None,
        fallback: Asgi | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._app = InternalApp(health=health, exposition=exposition, drain=drain, hosts=hosts, fallback=fallback)
        self._guard = guard
        self._server: EmbeddedServer | None = None

    async def start(self) -> None:
        """Bind and answer; afterwards `port` is the real port.

        Raises:
            PortInUseError: the port is not available.
        """
        bound = bind_socket(self.host, self.port, setting="METRICS_PORT")
        server = EmbeddedServer(self._app, bound, guard=self._guard, lifespan="off")
        await server.start()
        self._server = server
        self.port = server.port

    async def stop(self) -> None:
        """Stop answering; idempotent."""
        if self._server is not None:
            await self._server.stop(grace_s=1.0)


_PAGES_REFUSED: Final = "refused to a page of another origin; call it from a program, or type its address"


DRAIN_HEADER: Final = b"auralis-drain"
"""Header of a GET that may drain, with any value. A page of another origin cannot send it without asking first."""


def _may_drain_by_get(scope: _Scope) -> bool:
    client = scope.get("client")
    return DRAIN_HEADER in dict(scope.get("headers", ())) or (client is not None and is_loopback(client[0]))


def foreign_host(scope: _Scope, hosts: AllowedHosts) -> str | None:
    """The `Host` of a request, if it is none of `hosts`; None if there is none, because every browser sends one."""
    value = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1").strip()
    return value if value and value not in hosts else None


async def refuse_host(scope: _Scope, send: _Send, host: str) -> None:
    """Answer 421 to a request for a host that is none of this port's."""
    text = f"Host: got {host[:80]!r}, expected an IP address, localhost or a name of AURALIS_INTERNAL_HOSTS\n"
    await _answer(scope, send, 421, _TEXT, text.encode())


def _from_another_page(scope: _Scope) -> bool:
    """Whether a page of another origin sent the request: an image on any page could drain a service otherwise."""
    headers = dict(scope.get("headers", ()))
    return b"origin" in headers or headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")


async def _run(call: Callable[[], Awaitable[None]]) -> None:
    await call()


async def _answer(
    scope: _Scope, send: _Send, status: int, content_type: str, body: bytes, *headers: tuple[str, str]
) -> None:
    fields = [("content-type", content_type), ("content-length", str(len(body))), ("cache-control", "no-store")]
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in (*fields, *headers)],
        }
    )
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
