"""Listeners of a soak (shell): they join, steer, change format and leave again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx

from services.client import Client, ClientError
from services.contract.spec import MODES, PRESETS, StreamSpec
from services.local.soak.report import ListenerCounts

FORMATS: Final = ("pcm", "json", "opus", "stream.opus", "stream.mp3")
STREAMS: Final = 6
"""Different ones to begin with; steering makes more."""
_STEER_EVERY_S: Final = (4.0, 15.0)


@dataclass(frozen=True, slots=True)
class Visit:
    """How long a listener stays, in seconds: from, to."""

    least_s: float = 8.0
    most_s: float = 60.0


async def crowd(
    http_url: str, listeners: int, counts: ListenerCounts, *, visit: Visit | None = None, seed: int = 1
) -> None:
    """Keep `listeners` of them busy until cancelled.

    Args:
        http_url: of the edge.
        listeners: how many at once.
        counts: takes what they see.
        visit: how long each stays before another takes its place.
        seed: of everything that is drawn.
    """
    visit = visit or Visit()
    async with asyncio.TaskGroup() as group:
        for number in range(listeners):
            group.create_task(_seat(http_url, counts, visit, random.Random(f"{seed}-{number}")))  # noqa: S311 - no secret


async def _seat(http_url: str, counts: ListenerCounts, visit: Visit, chance: random.Random) -> None:
    """One after another on one seat."""
    await asyncio.sleep(chance.uniform(0, 5))
    while True:
        format_ = chance.choice(FORMATS)
        stay_s = chance.uniform(visit.least_s, visit.most_s)
        counts.began(format_)
        try:
            if format_ in ("pcm", "json", "opus"):
                await _listen(http_url, format_, stay_s, counts, chance)  # type: ignore[arg-type] # one of the three
            else:
                await _fetch(f"{http_url}/{format_}", stay_s, counts, chance)
        except (ClientError, httpx.HTTPError, OSError) as error:
            counts.failed(f"{format_}: {type(error).__name__}: {error}")
            await asyncio.sleep(1)
        await asyncio.sleep(chance.uniform(0, 2))


async def _listen(
    http_url: str,
    format_: Literal["pcm", "json", "opus"],
    stay_s: float,
    counts: ListenerCounts,
    chance: random.Random,
) -> None:
    client = Client(f"{http_url.replace('http', 'ws', 1)}/ws", StreamSpec.from_params(_params(chance)), format=format_)
    end_s = time.monotonic() + stay_s
    steer_s = time.monotonic() + chance.uniform(*_STEER_EVERY_S)
    try:
        async with client:
            async for _ in client:
                now_s = time.monotonic()
                if now_s >= end_s:
                    break
                if now_s >= steer_s:
                    counts.steered += 1
                    await client.update(intensity=round(chance.random(), 2))
                    steer_s = now_s + chance.uniform(*_STEER_EVERY_S)
    finally:
        summary = client.arrivals.summary()
        counts.chunks += summary.chunks
        counts.gaps += summary.missing_chunks
        counts.underruns += summary.underruns


async def _fetch(url: str, stay_s: float, counts: ListenerCounts, chance: random.Random) -> None:
    timeout = httpx.Timeout(10.0)
    async with httpx.AsyncClient(timeout=timeout) as http, http.stream("GET", url, params=_params(chance)) as answer:
        answer.raise_for_status()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(stay_s):
                async for part in answer.aiter_raw():
                    counts.http_bytes += len(part)
                counts.failed(f"{url.rpartition('/')[2]}: the stream ended")


def _params(chance: random.Random) -> dict[str, Any]:
    number = chance.randrange(STREAMS)
    return {
        "key": ("C", "D", "Eb", "F", "G", "A")[number % 6],
        "mode": sorted(MODES)[number % len(MODES)],
        "preset": sorted(PRESETS)[number % len(PRESETS)],
    }
