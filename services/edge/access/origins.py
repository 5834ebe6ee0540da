"""Pure: the check of the web page that a connection comes from."""

from __future__ import annotations

from collections.abc import Sequence


def origin_allowed(origin: str | None, allowed: Sequence[str], host: str | None = None) -> bool:
    """Whether a page from `origin` may open a WebSocket.

    A request without `Origin` does not come from a browser, so the check would protect no listener. A page of this host
    is always allowed.

    Args:
        origin: value of the `Origin` header.
        allowed: lower-case origins; "*" allows all.
        host: value of the `Host` header.
    """
    if origin is None or "*" in allowed:
        return True
    origin = origin.lower().rstrip("/")
    if origin in allowed:
        return True
    return bool(host) and origin.partition("://")[2] == str(host).lower()
