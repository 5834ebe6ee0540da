"""A soak's listeners (shell): they join, steer and leave, in all formats."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx

from services.client import Client, ClientError
from services.contract.spec import LAYERS, MAX_LEVEL, MODES, PRESETS, TEXTURES, StreamSpec
from services.local.soak.report import ListenerCounts

FORMATS: Final = ("pcm", "json", "opus", "stream.opus", "stream.mp3")
STREAMS: Final = 6
"""Different streams that listeners start with; steering adds more."""
_STEER_EVERY_S: Final = (4.0, 15.0)
"""Shortest and longest time between two changes of a listener's stream."""
_FIRST_JOIN_S: Final = 5.0
"""Listeners join within this time after the start."""
_REJOIN_S: Final = 2.0
"""Longest pause between two visits."""
_ERROR_PAUSE_S: Final = 1.0
"""Pause after a visit that failed."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Shortest and longest stay of a listener, in seconds."""

    least_s: float = 8.0
    most_s: float = 60.0


async def crowd(
    http_url: str, listeners: int, counts: ListenerCounts, *, visit: Visit | None = None, seed: int = 1
) -> None:
    """Keep a number of listeners connected until cancelled.

    Args:
        http_url: of the edge.
        listeners: how many listen at a time.
        counts: collects their figures.
        visit: how long each stays before another one takes its place.
        seed: of all random decisions.
    """
    visit = visit or Visit()
    async with asyncio.TaskGroup() as group:
        for number in range(listeners):
            group.create_task(_visit_repeatedly(http_url, counts, visit, random.Random(f"{seed}-{number}")))  # noqa: S311 - no secret


async def _visit_repeatedly(http_url: str, counts: ListenerCounts, visit: Visit, rng: random.Random) -> None:
    await asyncio.sleep(rng.uniform(0, _FIRST_JOIN_S))
    while True:
        format_ = rng.choice(FORMATS)
        stay_s = rng.uniform(visit.least_s, visit.most_s)
        counts.began(format_)
        try:
            if format_ in ("pcm", "json", "opus"):
                await _listen(http_url, format_, stay_s, counts, rng)  # type: ignore[arg-type] # one of the three
            else:
                await _fetch(f"{http_url}/{format_}", stay_s, counts, rng)
        except (ClientError, httpx.HTTPError, OSError) as error:
            counts.failed(f"{format_}: {type(error).__name__}: {error}")
            await asyncio.sleep(_ERROR_PAUSE_S)
        await asyncio.sleep(rng.uniform(0, _REJOIN_S))


async def _listen(
    http_url: str,
    format_: Literal["pcm", "json", "opus"],
    stay_s: float,
    counts: ListenerCounts,
    rng: random.Random,
) -> None:
    client = Client(f"{http_url.replace('http', 'ws', 1)}/ws", StreamSpec.from_params(_params(rng)), format=format_)
    end_s = time.monotonic() + stay_s
    steer_s = time.monotonic() + rng.uniform(*_STEER_EVERY_S)
    try:
        async with client:
            async for _ in client:
                now_s = time.monotonic()
                if now_s >= end_s:
                    break
                if now_s >= steer_s:
                    counts.steered += 1
                    await client.update(**_change(rng))
                    steer_s = now_s + rng.uniform(*_STEER_EVERY_S)
    finally:
        summary = client.arrivals.summary()
        counts.chunks += summary.chunks
        counts.gaps += summary.missing_chunks
        counts.underruns += summary.underruns


async def _fetch(url: str, stay_s: float, counts: ListenerCounts, rng: random.Random) -> None:
    timeout = httpx.Timeout(10.0)
    async with httpx.AsyncClient(timeout=timeout) as http, http.stream("GET", url, params=_params(rng)) as answer:
        answer.raise_for_status()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(stay_s):
                async for part in answer.aiter_raw():
                    counts.http_bytes += len(part)
                counts.failed(f"{url.rpartition('/')[2]}: the stream ended")


def _change(rng: random.Random) -> dict[str, Any]:
    field = rng.choice(("intensity", "brightness", "density", "texture", "levels"))
    if field == "levels":
        return {"levels": {rng.choice(LAYERS): round(rng.uniform(0.0, MAX_LEVEL), 1)}}
    if field == "texture":
        return {"texture": rng.choice(TEXTURES)}
    return {field: round(rng.random(), 2)}


def _params(rng: random.Random) -> dict[str, Any]:
    number = rng.randrange(STREAMS)
    return {
        "key": ("C", "D", "Eb", "F", "G", "A")[number % 6],
        "mode": sorted(MODES)[number % len(MODES)],
        "preset": sorted(PRESETS)[number % len(PRESETS)],
    }
