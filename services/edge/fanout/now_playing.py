"""The streams that play on this edge, for `/api/streams` and for metrics (shell)."""

from __future__ import annotations

from math import log10
from typing import Any, Final

from services.contract.timebase import BLOCKS_PER_SECTION, SECTION_S, block_of, tick_at
from services.edge.fanout.connection import Connection
from services.edge.fanout.stream import Stream
from services.edge.fanout.streams import Streams
from services.edge.metrics import SILENCE_DBFS, EdgeMetrics
from services.edge.stream.mixing import rms

MAX_TITLES: Final = 8
"""Titles that `/api/status` names at most."""


def describe(streams: Streams[Connection], now_s: float) -> list[dict[str, Any]]:
    """Every stream that is heard, the one with most listeners first, as `/api/streams` answers."""
    return [_describe(stream, now_s, tick_at(now_s)) for stream in _heard(streams)]


def titles(streams: Streams[Connection]) -> list[str]:
    """Titles of the pieces that are heard, the stream with most listeners first; each one once, at most MAX_TITLES."""
    return list(dict.fromkeys(stream.spec.title for stream in _heard(streams)))[:MAX_TITLES]


def _heard(streams: Streams[Connection]) -> list[Stream[Connection]]:
    heard = [stream for stream in streams.by_id.values() if stream.subscribers]
    heard.sort(key=lambda stream: (-stream.audience, stream.id))
    return heard


def _describe(stream: Stream[Connection], now_s: float, live: int) -> dict[str, Any]:
    ring = stream.ring
    state = "warming" if ring.origin is None else "degraded" if ring.degraded else "playing"
    loudness = ring.loudness(live)
    # A section lasts 240 s, and all music is in 4/4: a section has as many bars as the tempo has beats a minute.
    section, second = divmod(now_s, SECTION_S)
    return {
        "stream_id": stream.id,
        "title": stream.spec.title,
        "stream": stream.spec.to_params(),
        "listeners": stream.audience,
        "state": state,
        "chord": ring.chord_at(live),
        "section": block_of(live) // BLOCKS_PER_SECTION,
        "bar": int(second * stream.spec.bpm / SECTION_S) + 1,
        "bars": stream.spec.bpm,
        "section_started": section * SECTION_S,
        "loudness_dbfs": None if loudness is None else round(_dbfs(loudness), 1),
        "revision": ring.revision,
    }


def measure(streams: Streams[Connection], metrics: EdgeMetrics, now_s: float, live: int) -> None:
    """Set the metrics of streams, and count blocks that are missing now; call it once a second."""
    demanded = degraded = 0
    quietest: float | None = None
    for stream in streams.by_id.values():
        if stream.left_s is not None:
            continue
        demanded += 1
        degraded += stream.ring.degraded
        if stream.ring.origin is None:
            continue
        if stream.ring.missing(block_of(live)):
            metrics.missing.inc()
            if streams.presences.capacity(now_s):
                streams.load.missed(now_s)
        loudness = _loudness(stream, live)
        if loudness is not None and (quietest is None or loudness < quietest):
            quietest = loudness
    metrics.streams.set(len(streams.by_id))
    metrics.demand.set(demanded)
    metrics.degraded.set(degraded)
    metrics.renderers.set(len(streams.presences.ready(now_s)))
    metrics.overloaded.set(streams.load.overloaded(now_s))
    if quietest is not None:
        metrics.loudness.set(_dbfs(quietest))


def _loudness(stream: Stream[Connection], live: int) -> float | None:
    if not stream.ring.degraded:
        return stream.ring.loudness(live)
    chunk = stream.ring.chunk(live)
    return None if chunk is None else rms(chunk.pcm)


def _dbfs(level: float) -> float:
    return max(SILENCE_DBFS, 20.0 * log10(level)) if level > 0 else SILENCE_DBFS
