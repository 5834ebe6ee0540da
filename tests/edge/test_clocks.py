"""The machine's clock is set while an edge plays: listeners go on without a gap, and are told of another number."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest

from services.contract.timebase import tick_at
from services.contract.websocket import JSON_V1, OPUS_V1, PCM_V1
from services.runtime.bus.memory import MemoryBroker
from services.runtime.clock import SystemClock
from tests.edge.playing import connect, hear, hear_audio, renderer, say, unbroken
from tests.edge.support import running_edge
from tests.support.waiting import until


class Wall:
    """A wall clock that the test sets."""

    def __init__(self, offset_s: float = 0.0) -> None:
        self.offset_s = offset_s

    def __call__(self) -> float:
        return time.time() + self.offset_s


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.clock.JUMP_AFTER_S", 0.05)


async def hear_until_skipped(ws: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Audio and statuses, until the edge has said that it skips."""
    audio: list[dict[str, Any]] = []
    statuses: list[dict[str, Any]] = []
    while not any(status["state"] == "skipped" for status in statuses):
        message = await hear(ws)
        if message["type"] == "audio":
            audio.append(message)
        elif message["type"] == "status":
            statuses.append(message)
    return audio, statuses


@pytest.mark.parametrize("step_s", [-3600.0, -4.0, 7.0, 3600.0])
async def test_a_large_step_is_one_skip_that_no_listener_hears(step_s: float) -> None:
    wall = Wall()
    broker = MemoryBroker()
    async with (
        renderer(broker) as tiny,
        running_edge(broker, clock=SystemClock(wall=wall)) as edge,
        connect(edge, JSON_V1) as ws,
    ):
        await say(ws, "start")
        before = await hear_audio(ws, 15)
        wall.offset_s = step_s
        heard, statuses = await hear_until_skipped(ws)
        after = await hear_audio(ws, 25)
        everything = [*before, *heard, *after]
        skips = [status for status in statuses if status["state"] == "skipped"]
        assert [skip["reason"] for skip in skips] == ["clock"]
        jumped = skips[0]["to_chunk_id"] - skips[0]["from_chunk_id"]
        assert jumped == pytest.approx(step_s * 10, abs=1)
        # Each chunk follows the one before, except for the one jump.
        steps = [later["chunk_id"] - earlier["chunk_id"] for earlier, later in pairwise(everything)]
        assert sorted(set(steps)) == sorted({1, 1 + jumped})
        assert steps.count(1 + jumped) == 1
        assert unbroken(after)
        # Its buffer never ran empty.
        assert min(message["buffer_depth"] for message in everything[15:]) >= 4
        assert after[-1]["chunk_id"] == pytest.approx(tick_at(wall()), abs=30)
        # A new listener hears the new time.
        async with connect(edge, PCM_V1) as new:
            await say(new, "start")
            first = await hear_audio(new, 5)
            assert unbroken(first)
            assert first[0]["chunk_id"] == pytest.approx(tick_at(wall()), abs=3)
        assert not edge.service.hub.status()["overloaded"]
        assert tiny.jobs
        exposition = edge.service.metrics.exposition().decode()
        direction = "forward" if step_s > 0 else "back"
        assert f'auralis_clock_jumps_total{{direction="{direction}"}} 1.0' in exposition


@pytest.mark.parametrize("step_s", [-1.0, 2.9])
async def test_a_small_step_is_not_noticed(step_s: float) -> None:
    wall = Wall()
    broker = MemoryBroker()
    async with (
        renderer(broker),
        running_edge(broker, clock=SystemClock(wall=wall)) as edge,
        connect(edge, JSON_V1) as ws,
    ):
        await say(ws, "start")
        before = await hear_audio(ws, 12)
        wall.offset_s = step_s
        assert unbroken([*before, *await hear_audio(ws, 10)])
        assert edge.service.hub.clock.shift_s == 0


@pytest.mark.parametrize("step_s", [-3600.0])
async def test_opus_goes_on_after_a_large_step(step_s: float) -> None:
    wall = Wall()
    broker = MemoryBroker()
    async with (
        renderer(broker),
        running_edge(broker, clock=SystemClock(wall=wall)) as edge,
        connect(edge, OPUS_V1) as ws,
    ):
        await say(ws, "start")
        ids = [message["chunk_id"] for message in await hear_audio(ws, 12)]
        wall.offset_s = step_s
        while abs(ids[-1] - tick_at(wall())) > 40:
            ids += [message["chunk_id"] for message in await hear_audio(ws, 1)]
        ids += [message["chunk_id"] for message in await hear_audio(ws, 15)]
        assert sum(later - earlier != 1 for earlier, later in pairwise(ids)) == 1


@pytest.mark.parametrize("slow_s", [-7.0, 3600.0])
async def test_an_edge_whose_clock_is_wrong_from_the_start_plays(slow_s: float) -> None:
    broker = MemoryBroker()
    async with renderer(broker), running_edge(broker, clock=SystemClock(wall=Wall(slow_s))) as edge:
        await until(lambda: edge.service.hub.status()["renderers"] == 1)
        async with connect(edge, JSON_V1) as ws:
            await say(ws, "start")
            assert unbroken(await hear_audio(ws, 15))
