"""HTTP for players that know nothing of Auralis (shell): `/stream.opus`, `/stream.mp3`, `/listen.m3u`."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from services.contract.errors import FieldError
from services.contract.spec import StreamSpec
from services.edge.access.addresses import ProxyTrust
from services.edge.access.auth import TokenChecker, find_token
from services.edge.access.refusal import Refusal
from services.edge.codecs.mount_encoder import MEDIA_TYPES, MountFormat
from services.edge.endpoints.icy import META_INTERVAL_BYTES, IcyInterleaver
from services.edge.endpoints.mounts import MountClosedError, MountListener, Mounts
from services.edge.endpoints.query import query_from_spec, spec_from_query
from services.edge.endpoints.record import MEDIA_TYPES as FILE_TYPES
from services.edge.endpoints.record import BusyError, NotPlayingError, Recorder, file_name, parse_query
from services.edge.fanout.hub import Hub

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

FIRST_WITHIN_S: Final = 10.0
"""Without a first sound by then the answer is 503."""
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_NO_STORE: Final = (b"cache-control", b"no-store")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


class MountEndpoint:
    """Serves one encoded stream to one HTTP listener at a time; an ASGI application for the scope type "http".

    Args:
        hub: admits listeners.
        mounts: encodes.
        proxies: whose `X-Forwarded-For` is believed.
        tokens: checks who may listen; None: everybody may.
    """

    def __init__(self, hub: Hub, mounts: Mounts, *, proxies: ProxyTrust, tokens: TokenChecker | None = None) -> None:
        self._hub = hub
        self._mounts = mounts
        self._proxies = proxies
        self._tokens = tokens
        self._recorder = Recorder(hub)

    async def stream(self, scope: Mapping[str, Any], receive: Receive, send: Send, format_: MountFormat) -> None:
        """Serve `/stream.opus` or `/stream.mp3`; the stream is named by the query."""
        headers = _headers(scope)
        query = scope.get("query_string", b"").decode("latin-1")
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, "only GET and HEAD", [(b"allow", b"GET, HEAD")])
            return
        try:
            spec = spec_from_query(query)
        except (FieldError, ValueError) as error:
            await _answer(send, 400, str(error))
            return
        if await self._keep_out(headers, query, spec, send):
            return
        icy = format_ == "mp3" and headers.get("icy-metadata") == "1"
        start = _start(spec, format_, icy=icy)
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        address = self._proxies.address(scope["client"][0] if scope.get("client") else "", _forwarded(scope))
        if (refusal := self._hub.admit(address)) is not None:
            await _refuse(send, refusal)
            return
        try:
            async with self._mounts.listen(spec, format_) as listener:
                await _until_gone(_serve(listener, send, start, icy=icy), receive)
        finally:
            self._hub.release(address)

    async def playlist(self, scope: Mapping[str, Any], _receive: Receive, send: Send) -> None:
        """Serve `/listen.m3u`: the MP3 stream's address, for players that open playlists."""
        headers = _headers(scope)
        query = scope.get("query_string", b"").decode("latin-1")
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, "only GET and HEAD", [(b"allow", b"GET, HEAD")])
            return
        try:
            spec = spec_from_query(query)
        except (FieldError, ValueError) as error:
            await _answer(send, 400, str(error))
            return
        host = headers.get("host", "")
        if not _HOST.fullmatch(host):
            await _answer(send, 400, f"Host: got {host[:80]!r}, expected a name and perhaps a port")
            return
        # The scheme that the listener used is known to the proxy in front, where there is one.
        forwarded = headers.get("x-forwarded-proto", "")
        peer = scope["client"][0] if scope.get("client") else ""
        secure = forwarded == "https" and self._proxies.trusts(peer)
        scheme = "https" if secure else scope.get("scheme", "http")
        url = f"{scheme}://{host}/stream.mp3?{query_from_spec(spec)}"
        if (token := find_token({}, query)) is not None:
            # Whoever opens the playlist's only address has no other way to show it.
            url += "&" + urlencode({"token": token})
        body = f"#EXTM3U\n#EXTINF:-1,Auralis - {_title(spec)}\n{url}\n"
        start_headers = [(b"content-type", b"audio/x-mpegurl"), _NO_STORE]
        await send({"type": "http.response.start", "status": 200, "headers": start_headers})
        await send({"type": "http.response.body", "body": body.encode()})

    async def record(self, scope: Mapping[str, Any], _receive: Receive, send: Send) -> None:
        """Serve `/record`: a file of the last seconds of a stream that is heard here."""
        query = scope.get("query_string", b"").decode("latin-1")
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, "only GET and HEAD", [(b"allow", b"GET, HEAD")])
            return
        try:
            spec, seconds, format_ = parse_query(query)
        except (FieldError, ValueError) as error:
            await _answer(send, 400, str(error))
            return
        if await self._keep_out(_headers(scope), query, spec, send):
            return
        try:
            data = await self._recorder.record(spec, seconds, format_)
        except NotPlayingError:
            await _answer(send, 404, "nobody hears this stream here, so there is nothing to record; listen to it first")
            return
        except BusyError:
            await _refuse(send, Refusal(503, "overload", "other recordings are being made; try again", 1))
            return
        disposition = f'attachment; filename="{file_name(spec, format_)}"'.encode()
        headers = [
            (b"content-type", FILE_TYPES[format_].encode()), (b"content-length", str(len(data)).encode()),
            (b"content-disposition", disposition), _NO_STORE,
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else data})

    async def _keep_out(self, headers: Mapping[str, str], query: str, spec: StreamSpec, send: Send) -> bool:
        """Answer somebody whose token does not let him hear `spec`; False: he may."""
        problem = None if self._tokens is None else self._tokens.refusal(find_token(headers, query), spec)
        if problem is None:
            return False
        self._hub.count_refusal("token")
        await _answer(send, 401, problem, [(b"www-authenticate", b"Bearer")])
        return True


async def _serve(listener: MountListener, send: Send, start: Mapping[str, Any], *, icy: bool) -> None:
    """Write parts until the mount is closed. Headers wait for the first part, so that a refusal can still be said."""
    parts = listener.parts()
    interleaver = IcyInterleaver() if icy else None
    async with contextlib.aclosing(parts):
        try:
            async with asyncio.timeout(FIRST_WITHIN_S):
                first = await anext(parts)
        except TimeoutError:
            await _refuse(send, Refusal(503, "overload", "no renderer is ready yet; try again", 5))
            return
        except MountClosedError as error:
            await _refuse(send, Refusal(503, "overload", error.reason, 5))
            return
        await send(start)
        with contextlib.suppress(MountClosedError):
            async for part in _chain(first, parts):
                data = part if interleaver is None else interleaver.feed(part, listener.mount.title)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


async def _until_gone(serving: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Serve until it ends or the client goes away: a server that is blocked in a send would not notice otherwise."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    server, watcher = asyncio.ensure_future(serving), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({server, watcher}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watcher.cancel()
        if not server.done():
            server.cancel()
        results = await asyncio.gather(server, watcher, return_exceptions=True)
    failed = results[0]
    if isinstance(failed, Exception):
        raise failed


def _start(spec: StreamSpec, format_: MountFormat, *, icy: bool) -> dict[str, Any]:
    headers = [(b"content-type", MEDIA_TYPES[format_].encode()), _NO_STORE, (b"icy-name", b"Auralis")]
    if icy:
        headers.append((b"icy-metaint", str(META_INTERVAL_BYTES).encode()))
    headers.append((b"icy-description", _title(spec).encode("ascii", "ignore")))
    # Proxies that buffer would hold back the music.
    headers.append((b"x-accel-buffering", b"no"))
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _title(spec: StreamSpec) -> str:
    return f"{spec.key} {spec.mode}, {spec.bpm} bpm, intensity {spec.intensity:g}, {spec.preset}"


def _headers(scope: Mapping[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _forwarded(scope: Mapping[str, Any]) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]


async def _refuse(send: Send, refusal: Refusal) -> None:
    retry = [] if refusal.retry_after_s is None else [(b"retry-after", str(refusal.retry_after_s).encode())]
    await _answer(send, refusal.status, refusal.text, retry)


async def _answer(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [_TEXT, _NO_STORE, *(headers or [])]})
    await send({"type": "http.response.body", "body": text.encode() + b"\n"})
