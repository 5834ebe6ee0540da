"""`/listen.m3u` (shell): the address of the MP3 stream, for players that open playlists."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlencode

from services.edge.access.auth import find_token
from services.edge.access.proxy_trust import ProxyTrust
from services.edge.endpoints.get_endpoint import GetEndpoint, parsed
from services.edge.endpoints.query import query_from_spec, spec_from_query, title_of
from services.edge.endpoints.request import Request
from services.edge.endpoints.response import HttpError, send_body
from services.edge.wire.asgi import Receive, Send

_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


class PlaylistEndpoint(GetEndpoint):
    """Serves a playlist with one entry: the stream that the query names.

    Args:
        proxies: whose `X-Forwarded-Proto` is believed.
    """

    def __init__(self, *, proxies: ProxyTrust) -> None:
        self._proxies = proxies

    async def get(self, request: Request, _receive: Receive, send: Send) -> None:
        """Answer with the playlist."""
        spec = parsed(spec_from_query, request)
        query = query_from_spec(spec)
        if (token := find_token({}, request.query)) is not None:
            # A player opens the entry without any header, so the token must be in its address.
            query += "&" + urlencode({"token": token})
        url = f"{self._base_url(request)}/stream.mp3?{query}"
        body = f"#EXTM3U\n#EXTINF:-1,Auralis - {title_of(spec)}\n{url}\n"
        await send_body(send, "audio/x-mpegurl", body.encode(), head=request.method == "HEAD")

    def _base_url(self, request: Request) -> str:
        host = request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            raise HttpError(400, f"Host: got {host[:80]!r}, expected a name and perhaps a port")
        # Where a proxy ends TLS, only the proxy knows which scheme the listener used.
        secure = request.headers.get("x-forwarded-proto") == "https" and self._proxies.trusts(request.peer)
        return f"{'https' if secure else request.scheme}://{host}"
