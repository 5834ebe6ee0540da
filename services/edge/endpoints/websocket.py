"""`/ws` (shell): admission before the upgrade, then a connection's messages to the hub and the hub's to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from services.contract.websocket import JSON_V1, OPUS_V1, PCM_V1, CloseCode
from services.edge.access.addresses import ProxyTrust, origin_allowed
from services.edge.access.auth import Permit, TokenChecker, TokenError, find_token
from services.edge.access.refusal import Refusal
from services.edge.fanout.connection import Connection
from services.edge.fanout.hub import Hub
from services.edge.listener.payloads import Format
from services.edge.wire.transport import EXTENSION, AsgiTransport, DirectTransport

_FORMATS: Final[Mapping[str, Format]] = {OPUS_V1: Format.OPUS, PCM_V1: Format.PCM, JSON_V1: Format.JSON}

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class WebSocketEndpoint:
    """An ASGI application for the scope type "websocket".

    Args:
        hub: takes the listeners.
        proxies: whose `X-Forwarded-For` is believed.
        origins: pages that may connect.
        tokens: checks who may listen; None: everybody may.
    """

    def __init__(
        self, hub: Hub, *, proxies: ProxyTrust, origins: tuple[str, ...] = ("*",), tokens: TokenChecker | None = None
    ) -> None:
        self._hub = hub
        self._proxies = proxies
        self._origins = origins
        self._tokens = tokens

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        named, forwarded = _read_headers(scope)
        peer = scope["client"][0] if scope.get("client") else ""
        address = self._proxies.address(peer, forwarded)
        await receive()  # websocket.connect
        if not origin_allowed(named.get("origin"), self._origins, named.get("host")):
            refusal = Refusal(403, "origin", f"pages from {named.get('origin')!r} may not connect here")
            self._hub.count_refusal(refusal.reason)
            await _refuse(scope, send, refusal)
            return
        if (no_place := self._hub.admit(address)) is not None:
            await _refuse(scope, send, no_place)
            return
        try:
            await self._listen(scope, receive, send, address, named)
        finally:
            self._hub.release(address)

    async def _listen(
        self, scope: Mapping[str, Any], receive: Receive, send: Send, address: str, headers: dict[str, str]
    ) -> None:
        offered = [name for name in scope.get("subprotocols", ()) if name in _FORMATS]
        chosen = offered[0] if offered else None
        permit = Permit()
        try:
            await send({"type": "websocket.accept", "subprotocol": chosen, "headers": []})
            if self._tokens is not None:
                query = scope.get("query_string", b"").decode("latin-1")
                try:
                    permit = self._tokens.read(find_token(headers, query))
                except TokenError as problem:
                    self._hub.count_refusal("token")
                    reason = str(problem).encode()[:120].decode(errors="ignore")
                    await send({"type": "websocket.close", "code": int(CloseCode.UNAUTHORIZED), "reason": reason})
                    return
        except Exception:  # noqa: BLE001 - servers have no common error for "the client has gone"
            self._hub.failed("closed")
            return
        # They would be kept for as long as somebody listens.
        headers.clear()
        format_ = Format.JSON if chosen is None else _FORMATS[chosen]
        connection = self._hub.connect(format_=format_, events=chosen is not None, address=address)
        connection.permit = permit
        try:
            direct = scope.get("extensions", {}).get(EXTENSION)
            on_writable, on_stall = partial(self._hub.on_writable, connection), partial(self._hub.stalled, connection)
            if direct is not None:
                connection.transport = DirectTransport(
                    direct, send, on_writable=on_writable, on_stall=on_stall, on_error=self._hub.failed
                )
                await self._read(connection, receive)
            else:
                transport = AsgiTransport(send, on_writable=on_writable, on_stall=on_stall, on_error=self._hub.failed)
                connection.transport = transport
                await _until_either_ends(self._read(connection, receive), transport.run())
        finally:
            self._hub.disconnect(connection)

    async def _read(self, connection: Connection, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            data = text if text is not None else message.get("bytes")
            if data is not None and not connection.closed:
                self._hub.receive(connection, data)


def _read_headers(scope: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Headers by lower-case name, and every value of X-Forwarded-For in order."""
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    return dict(headers), [value for name, value in headers if name == "x-forwarded-for"]


async def _until_either_ends(reading: Coroutine[Any, Any, None], writing: Coroutine[Any, Any, None]) -> None:
    """Read and write side by side; what is queued still goes out, briefly, when the reader has ended."""
    reader, writer = asyncio.ensure_future(reading), asyncio.ensure_future(writing)
    try:
        await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        if not writer.done():
            await asyncio.wait({writer}, timeout=0.1)
    finally:
        reader.cancel()
        writer.cancel()
        await asyncio.gather(reader, writer, return_exceptions=True)


async def _refuse(scope: Mapping[str, Any], send: Send, refusal: Refusal) -> None:
    """Answer with HTTP instead of upgrading, where the server can."""
    with contextlib.suppress(Exception):  # the client may have gone; then nobody is left to be told
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": int(CloseCode.TRY_LATER), "reason": refusal.text[:120]})
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        if refusal.retry_after_s is not None:
            headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
        await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": refusal.text.encode() + b"\n"})
