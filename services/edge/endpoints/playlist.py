"""`/listen.m3u`, `.pls` and `.xspf` (shell): the address of the MP3 stream, for players that open playlists."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from services.edge.access.auth import find_token
from services.edge.access.proxy_trust import ProxyTrust
from services.edge.endpoints.get_endpoint import GetEndpoint, parsed
from services.edge.endpoints.query import query_from_spec, spec_from_query, title_of
from services.edge.endpoints.request import Request
from services.edge.endpoints.response import HttpError, send_body
from services.edge.wire.asgi import Receive, Send

PlaylistFormat = Literal["m3u", "pls", "xspf"]

_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_ARTIST: Final = "Auralis"


class PlaylistEndpoint(GetEndpoint):
    """Serves a playlist with one entry: the stream that the query names.

    Args:
        format_: of the playlist.
        proxies: whose `X-Forwarded-Proto` is believed.
    """

    def __init__(self, format_: PlaylistFormat, *, proxies: ProxyTrust) -> None:
        self._format = format_
        self._proxies = proxies

    async def get(self, request: Request, _receive: Receive, send: Send) -> None:
        """Answer with the playlist."""
        spec = parsed(spec_from_query, request)
        query = query_from_spec(spec)
        if (token := find_token({}, request.query)) is not None:
            # A player opens the entry without any header, so the token must be in its address.
            query += "&" + urlencode({"token": token})
        media_type, write = _FORMATS[self._format]
        body = write(f"{self._base_url(request)}/stream.mp3?{query}", title_of(spec))
        await send_body(send, media_type, body.encode(), head=request.method == "HEAD")

    def _base_url(self, request: Request) -> str:
        host = request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            raise HttpError(400, f"Host: got {host[:80]!r}, expected a name and perhaps a port")
        # Where a proxy ends TLS, only the proxy knows which scheme the listener used.
        secure = request.headers.get("x-forwarded-proto") == "https" and self._proxies.trusts(request.peer)
        return f"{'https' if secure else request.scheme}://{host}"


def _m3u(url: str, title: str) -> str:
    return f"#EXTM3U\n#EXTINF:-1,{_ARTIST} - {title}\n{url}\n"


def _pls(url: str, title: str) -> str:
    return f"[playlist]\nFile1={url}\nTitle1={_ARTIST} - {title}\nLength1=-1\nNumberOfEntries=1\nVersion=2\n"


def _xspf(url: str, title: str) -> str:
    track = f"<location>{escape(url)}</location><title>{escape(title)}</title><creator>{_ARTIST}</creator>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<playlist version="1" xmlns="http://xspf.org/ns/0/">'
        f"<trackList><track>{track}</track></trackList></playlist>\n"
    )


_FORMATS: Final[Mapping[PlaylistFormat, tuple[str, Callable[[str, str], str]]]] = {
    "m3u": ("audio/x-mpegurl", _m3u),
    "pls": ("audio/x-scpls", _pls),
    "xspf": ("application/xspf+xml", _xspf),
}
"""Media type, and the text for an address and a title."""
