"""`/ws` (shell): admits a client, upgrades, and carries messages between it and the hub."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Final

from services.contract.websocket import JSON_V1, OPUS_V1, PCM_V1, CloseCode
from services.edge.access.auth import Permit, TokenChecker, TokenError, find_token
from services.edge.access.origins import origin_allowed
from services.edge.access.proxy_trust import ProxyTrust
from services.edge.access.refusal import Refusal
from services.edge.endpoints.request import Request
from services.edge.endpoints.response import HttpError, send_error
from services.edge.fanout.connection import Connection
from services.edge.fanout.delivery import CLOSE_REASON_BYTES
from services.edge.fanout.hub import Hub
from services.edge.listener.payloads import Format
from services.edge.wire.asgi import Receive, Scope, Send
from services.edge.wire.asgi_transport import AsgiTransport
from services.edge.wire.direct_transport import EXTENSION, DirectTransport
from services.edge.wire.serving import serve_until_client_leaves

_FORMATS: Final[Mapping[str, Format]] = {OPUS_V1: Format.OPUS, PCM_V1: Format.PCM, JSON_V1: Format.JSON}
_LAST_WRITES_S: Final = 0.1
"""How long queued payloads may still be written after the client has stopped sending."""


class WebSocketEndpoint:
    """An ASGI application for `/ws`; plain HTTP requests are told to upgrade.

    Args:
        hub: serves the listeners.
        proxies: whose `X-Forwarded-For` is believed.
        origins: origins of pages that may connect; "*" allows all.
        tokens: checks tokens; None: no token is needed.
    """

    def __init__(
        self, hub: Hub, *, proxies: ProxyTrust, origins: tuple[str, ...] = ("*",), tokens: TokenChecker | None = None
    ) -> None:
        self._hub = hub
        self._proxies = proxies
        self._origins = origins
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            text = "this is a WebSocket: connect with ws:// or wss://"
            await send_error(send, HttpError(426, text, [(b"upgrade", b"websocket")]))
            return
        request = Request.from_scope(scope)
        await receive()  # websocket.connect
        address = self._proxies.address(request.peer, request.forwarded_for)
        refusal = self._refusal_of_page(request) or self._hub.admit(address)
        if refusal is not None:
            await refuse_upgrade(scope, send, refusal)
            return
        token = find_token(request.headers, request.query)
        del request  # Its headers are not needed again, and a listener stays for hours.
        try:
            await self._serve(scope, receive, send, address, token)
        finally:
            self._hub.release(address)

    def _refusal_of_page(self, request: Request) -> Refusal | None:
        origin = request.headers.get("origin")
        if origin_allowed(origin, self._origins, request.headers.get("host")):
            return None
        self._hub.count_refusal("origin")
        return Refusal(403, "origin", f"pages from {origin!r} may not connect here")

    async def _serve(self, scope: Scope, receive: Receive, send: Send, address: str, token: str | None) -> None:
        subprotocol = next((name for name in scope.get("subprotocols", ()) if name in _FORMATS), None)
        try:
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})
            permit = await self._permit(token, send)
        except Exception:  # noqa: BLE001 - servers have no common error for "the client has disconnected"
            self._hub.count_send_error("closed")
            return
        if permit is None:
            return
        format_ = Format.JSON if subprotocol is None else _FORMATS[subprotocol]
        connection = self._hub.connect(format_=format_, events=subprotocol is not None, address=address)
        connection.permit = permit
        try:
            await self._carry_messages(connection, scope, receive, send)
        finally:
            self._hub.disconnect(connection)

    async def _permit(self, token: str | None, send: Send) -> Permit | None:
        """The streams that the token allows; None: it is not accepted, and the connection is closed."""
        if self._tokens is None:
            return Permit()
        try:
            return self._tokens.read(token)
        except TokenError as error:
            self._hub.count_refusal("token")
            reason = str(error).encode()[:CLOSE_REASON_BYTES].decode(errors="ignore")
            await send({"type": "websocket.close", "code": int(CloseCode.UNAUTHORIZED), "reason": reason})
            return None

    async def _carry_messages(self, connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        direct = scope.get("extensions", {}).get(EXTENSION)
        on_writable, on_stall = partial(self._hub.on_writable, connection), partial(self._hub.on_stall, connection)
        on_error = self._hub.count_send_error
        if direct is not None:
            connection.transport = DirectTransport(
                direct, send, on_writable=on_writable, on_stall=on_stall, on_error=on_error
            )
            await self._read(connection, receive)
        else:
            transport = AsgiTransport(send, on_writable=on_writable, on_stall=on_stall, on_error=on_error)
            connection.transport = transport
            await serve_until_client_leaves(transport.run(), self._read(connection, receive), grace_s=_LAST_WRITES_S)

    async def _read(self, connection: Connection, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            data = text if text is not None else message.get("bytes")
            if data is not None and not connection.closed:
                self._hub.receive(connection, data)


async def refuse_upgrade(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Answer with HTTP instead of upgrading; servers that cannot do that close instead."""
    with contextlib.suppress(Exception):  # the client may have disconnected and needs no answer
        if "websocket.http.response" in scope.get("extensions", {}):
            await send_error(send, HttpError.from_refusal(refusal), message_type="websocket.http.response")
        else:
            reason = refusal.text[:CLOSE_REASON_BYTES]
            await send({"type": "websocket.close", "code": int(CloseCode.TRY_LATER), "reason": reason})
