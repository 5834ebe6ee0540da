"""`auralis listen`: hears a stream, writes it, and tells how it went (shell)."""

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

_LINE_EVERY_S: Final = 0.25
_CHORD_EVERY_S: Final = 1.0

Fetch = Callable[[str, int, str], Awaitable[bytes | None]]
"""GET (host, port, path) -> body, or None."""


class Sink(Protocol):
    """Where the sound goes."""

    def write(self, chunk_id: int, pcm: bytes) -> None:
        """Take a chunk."""
        ...

    @property
    def ended(self) -> bool:
        """Nobody takes any more (a pipe whose reader went away)."""
        ...


@dataclass(frozen=True, slots=True)
class Moment:
    """What the live line shows.

    Attributes:
        seconds: of sound so far.
        tier: the listener's tier.
        buffer_s: sound that a player would hold.
        jitter_ms: of the last seconds.
        chord: what sounds, where the edge tells.
        underruns: so far.
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
    """Hear `seconds` of sound (None: until `stopping`) and hand it to `sink`.

    Args:
        client: not connected yet.
        sink: takes each chunk.
        seconds: of sound, what is missing counted in; rounded up to a chunk.
        stopping: ends it.
        on_moment: is told four times a second how it goes.
        fetch: asks the edge's HTTP side what plays; None: no chords.

    Raises:
        ClientError: see `Client`.
    """
    count = None if seconds is None else max(1, -int(-seconds * TICKS_PER_S // 1))
    async with client:
        hearing = asyncio.create_task(_hear(client, sink, count, on_moment, _Chord(client, fetch)))
        waiting = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({hearing, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()
        finally:
            for task in (hearing, waiting):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing
    return client.arrivals.summary()


async def _hear(
    client: Client, sink: Sink, count: int | None, on_moment: Callable[[Moment], None] | None, chord: _Chord
) -> None:
    first_id: int | None = None
    told_s = 0.0
    asking = asyncio.create_task(chord.keep()) if on_moment is not None else None
    try:
        async for chunk in client:
            first_id = chunk.chunk_id if first_id is None else first_id
            heard = chunk.chunk_id - first_id + 1
            if count is not None and heard > count:
                return  # the end fell into a gap
            sink.write(chunk.chunk_id, chunk.pcm)
            now_s = time.monotonic()
            if on_moment is not None and now_s - told_s >= _LINE_EVERY_S:
                told_s = now_s
                arrivals = client.arrivals
                on_moment(
                    Moment(
                        seconds=heard / TICKS_PER_S,
                        tier=chunk.tier,
                        buffer_s=arrivals.buffer_s(now_s),
                        jitter_ms=arrivals.jitter_ms,
                        chord=chord.name,
                        underruns=arrivals.underruns,
                    )
                )
            if sink.ended or (count is not None and heard >= count):
                return
    finally:
        if asking is not None:
            asking.cancel()


class _Chord:
    """What sounds now, asked of the edge once a second: it is for people, and not in the stream."""

    def __init__(self, client: Client, fetch: Fetch | None) -> None:
        self._client = client
        self._fetch = fetch
        self.name = ""

    async def keep(self) -> None:
        """Ask for ever."""
        parts = urlsplit(self._client.url)
        if self._fetch is None or parts.scheme != "ws" or parts.hostname is None:
            return
        while True:
            body = await self._fetch(parts.hostname, parts.port or 80, "/api/streams")
            self.name = chord_of(body, self._client.spec.stream_id) if body else ""
            await asyncio.sleep(_CHORD_EVERY_S)


def chord_of(body: bytes, stream_id: str) -> str:
    """The chord of a stream in the edge's answer; empty where it is not told."""
    try:
        streams = json.loads(body)["streams"]
        return next(str(each["chord"]) for each in streams if each["stream_id"] == stream_id and each["chord"])
    except (ValueError, KeyError, TypeError, StopIteration):
        return ""
