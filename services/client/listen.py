"""`auralis listen` without its terminal: receives a stream, writes it, sums it up (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from services.client.client import Client
from services.client.statistics import Summary
from services.contract.timebase import TICKS_PER_S

_MOMENT_EVERY_S: Final = 0.25
_CHORD_EVERY_S: Final = 1.0
"""The edge is asked for the chord once a second."""

Fetch = Callable[[str, int, str], Awaitable[bytes | None]]
"""GET (host, port, path) -> body, or None."""


class Sink(Protocol):
    """A receiver of sound."""

    def write(self, chunk_id: int, pcm: bytes) -> None:
        """Take a chunk."""
        ...

    @property
    def ended(self) -> bool:
        """It takes no more, because the reader of its pipe has gone."""
        ...


@dataclass(frozen=True, slots=True)
class Moment:
    """The figures of the status line.

    Attributes:
        seconds: of sound so far, missing chunks included.
        tier: the listener's tier.
        buffer_s: seconds of sound that a player would hold.
        jitter_ms: jitter of the last seconds.
        chord: the chord that sounds; "" where it is not known.
        underruns: so far, of a player that started with the first chunk.
    """

    seconds: float
    tier: str
    buffer_s: float
    jitter_ms: float
    chord: str
    underruns: int


async def listen(
    client: Client,
    sink: Sink,
    *,
    seconds: float | None,
    stopping: asyncio.Event,
    on_moment: Callable[[Moment], None] | None = None,
    fetch: Fetch | None = None,
) -> Summary:
    """Receive `seconds` of sound and pass it to `sink`.

    Args:
        client: not connected yet.
        sink: is given each chunk.
        seconds: of sound, missing chunks included, rounded up to a chunk; None: until `stopping`.
        stopping: ends it.
        on_moment: called four times a second with the figures so far.
        fetch: reads the edge's HTTP API, for the chord; None: no chords.

    Returns:
        The figures of the whole session.

    Raises:
        ClientError: see `Client`.
    """
    count = None if seconds is None else max(1, -int(-seconds * TICKS_PER_S // 1))
    async with client:
        receiving = asyncio.create_task(_receive(client, sink, count, on_moment, _CurrentChord(client, fetch)))
        waiting = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({receiving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                receiving.result()
        finally:
            for task in (receiving, waiting):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await receiving
    return client.arrivals.summary()


async def _receive(
    client: Client, sink: Sink, count: int | None, on_moment: Callable[[Moment], None] | None, chord: _CurrentChord
) -> None:
    first_id: int | None = None
    shown_s = 0.0
    polling = asyncio.create_task(chord.poll()) if on_moment is not None else None
    try:
        async for chunk in client:
            first_id = chunk.chunk_id if first_id is None else first_id
            position = chunk.chunk_id - first_id + 1
            if count is not None and position > count:
                return  # the end lies in a gap
            sink.write(chunk.chunk_id, chunk.pcm)
            now_s = time.monotonic()
            if on_moment is not None and now_s - shown_s >= _MOMENT_EVERY_S:
                shown_s = now_s
                arrivals = client.arrivals
                on_moment(
                    Moment(
                        seconds=position / TICKS_PER_S,
                        tier=chunk.tier,
                        buffer_s=arrivals.buffer_s(now_s),
                        jitter_ms=arrivals.jitter_ms,
                        chord=chord.name,
                        underruns=arrivals.underruns,
                    )
                )
            if sink.ended or (count is not None and position >= count):
                return
    finally:
        if polling is not None:
            polling.cancel()


class _CurrentChord:
    """The chord that sounds now, read from the edge's HTTP API: the stream does not carry it."""

    def __init__(self, client: Client, fetch: Fetch | None) -> None:
        self._client = client
        self._fetch = fetch
        self.name = ""

    async def poll(self) -> None:
        """Read it once a second, for ever."""
        parts = urlsplit(self._client.url)
        if self._fetch is None or parts.scheme != "ws" or parts.hostname is None:
            return
        while True:
            body = await self._fetch(parts.hostname, parts.port or 80, "/api/streams")
            self.name = chord_of(body, self._client.spec.stream_id) if body else ""
            await asyncio.sleep(_CHORD_EVERY_S)


def chord_of(body: bytes, stream_id: str) -> str:
    """The chord of a stream in the edge's answer; empty where it is not there."""
    try:
        streams = json.loads(body)["streams"]
        return next(str(each["chord"]) for each in streams if each["stream_id"] == stream_id and each["chord"])
    except (ValueError, KeyError, TypeError, StopIteration):
        return ""
