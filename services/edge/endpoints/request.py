"""Pure: an HTTP or WebSocket request, read from its ASGI scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.edge.wire.asgi import Scope


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that the edge reads.

    Attributes:
        method: in capitals; empty for a WebSocket.
        scheme: "http", "https", "ws" or "wss", as this server sees it.
        query: the query string, without the question mark.
        peer: address of the other end of the TCP connection; empty if unknown.
        headers: by lower-case name; of a repeated header the last value.
        forwarded_for: every value of `X-Forwarded-For`, in order.
    """

    method: str
    scheme: str
    query: str
    peer: str
    headers: Mapping[str, str]
    forwarded_for: tuple[str, ...]

    @classmethod
    def from_scope(cls, scope: Scope) -> Request:
        """The request that an ASGI scope of type "http" or "websocket" describes."""
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        client = scope.get("client")
        return cls(
            method=scope.get("method", ""),
            scheme=scope.get("scheme", "http"),
            query=scope.get("query_string", b"").decode("latin-1"),
            peer=client[0] if client else "",
            headers=dict(headers),
            forwarded_for=tuple(value for name, value in headers if name == "x-forwarded-for"),
        )
