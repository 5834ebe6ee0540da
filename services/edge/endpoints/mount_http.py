"""`/stream.opus` and `/stream.mp3` (shell): endless audio for any player."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from services.contract.spec import StreamSpec
from services.edge.access.auth import TokenChecker
from services.edge.access.proxy_trust import ProxyTrust
from services.edge.access.refusal import Refusal
from services.edge.codecs.mount_encoder import MEDIA_TYPES, MountFormat
from services.edge.endpoints.get_endpoint import GetEndpoint, check_token, parsed
from services.edge.endpoints.icy import META_INTERVAL_BYTES, IcyInterleaver
from services.edge.endpoints.mount import MountClosedError, MountListener
from services.edge.endpoints.mounts import Mounts
from services.edge.endpoints.query import spec_from_query, title_of
from services.edge.endpoints.request import Request
from services.edge.endpoints.response import NO_STORE, HttpError
from services.edge.fanout.hub import Hub
from services.edge.wire.asgi import Receive, Send
from services.edge.wire.serving import serve_until_client_leaves

FIRST_SOUND_WITHIN_S: Final = 10.0
"""How long a listener waits for the first sound; after that the answer is 503."""
RETRY_AFTER_S: Final = 5
"""Value of `Retry-After` in that answer: by then a renderer may have started."""


class MountEndpoint(GetEndpoint):
    """Serves the stream that the query names, in one format.

    Args:
        hub: admits listeners.
        mounts: encodes.
        format_: what is served.
        proxies: whose `X-Forwarded-For` is believed.
        tokens: checks tokens; None: no token is needed.
    """

    def __init__(
        self, hub: Hub, mounts: Mounts, format_: MountFormat, *, proxies: ProxyTrust, tokens: TokenChecker | None
    ) -> None:
        self._hub = hub
        self._mounts = mounts
        self._format: MountFormat = format_
        self._proxies = proxies
        self._tokens = tokens

    async def get(self, request: Request, receive: Receive, send: Send) -> None:
        """Stream until the client leaves or the mount is closed."""
        spec = parsed(spec_from_query, request)
        check_token(self._tokens, request, spec, self._hub.count_refusal)
        titles = self._format == "mp3" and request.headers.get("icy-metadata") == "1"
        start = _response_start(spec, self._format, titles=titles)
        if request.method == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        address = self._proxies.address(request.peer, request.forwarded_for)
        if (refusal := self._hub.admit(address)) is not None:
            raise HttpError.from_refusal(refusal)
        try:
            async with self._mounts.listen(spec, self._format) as listener:
                await serve_until_client_leaves(_stream(listener, send, start, titles=titles), _disconnected(receive))
        finally:
            self._hub.release(address)


async def _stream(listener: MountListener, send: Send, start: dict[str, Any], *, titles: bool) -> None:
    """Send parts until the mount is closed.

    Raises:
        HttpError: there was no first part. The headers wait for it, so that this can still be the answer.
    """
    parts = listener.parts()
    interleaver = IcyInterleaver() if titles else None
    async with contextlib.aclosing(parts):
        first = await _first_part(parts)
        await send(start)
        with contextlib.suppress(MountClosedError):
            async for part in _chain(first, parts):
                data = part if interleaver is None else interleaver.feed(part, listener.mount.title)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _first_part(parts: AsyncIterator[bytes]) -> bytes:
    try:
        async with asyncio.timeout(FIRST_SOUND_WITHIN_S):
            return await anext(parts)
    except TimeoutError as error:
        refusal = Refusal(503, "overload", "no renderer is ready yet; try again", RETRY_AFTER_S)
        raise HttpError.from_refusal(refusal) from error
    except MountClosedError as error:
        raise HttpError.from_refusal(Refusal(503, "overload", error.reason, RETRY_AFTER_S)) from error


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


async def _disconnected(receive: Receive) -> None:
    """Wait until the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _response_start(spec: StreamSpec, format_: MountFormat, *, titles: bool) -> dict[str, Any]:
    headers = [(b"content-type", MEDIA_TYPES[format_].encode()), NO_STORE, (b"icy-name", b"Auralis")]
    if titles:
        headers.append((b"icy-metaint", str(META_INTERVAL_BYTES).encode()))
    headers.append((b"icy-description", title_of(spec).encode("ascii", "ignore")))
    # A proxy that buffers would hold back the music.
    headers.append((b"x-accel-buffering", b"no"))
    return {"type": "http.response.start", "status": 200, "headers": headers}
