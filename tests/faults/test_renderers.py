"""Renderers that die, hang, starve and answer nonsense."""

from __future__ import annotations

import asyncio
import time

from tests.faults.support import Figures, fault, unheard, whole
from tests.support.ears import ears, judge
from tests.support.fleet import Fleet
from tests.support.newcomer import Newcomer
from tests.support.poisoned_renderer import POISON

STREAMS = range(100, 104)


@fault(
    "a renderer of two is killed (SIGKILL)",
    does="what it had fetched comes back within a second to the other one; blocks are asked for five seconds ahead",
    promise="a synthesis worker is killed",
)
async def test_a_killed_renderer_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with ears(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.services["synthesis-2"].kill()
        await asyncio.sleep(8)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=struck_s)
    assert unheard(verdict)


@fault(
    "a renderer of two hangs (SIGSTOP) and goes on (SIGCONT)",
    does="as if it were killed; what it renders when it goes on comes too late for anybody and is dropped",
)
async def test_a_renderer_that_hangs_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with ears(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.services["synthesis-1"].pause()
        await asyncio.sleep(7)
        fleet.services["synthesis-1"].resume()
        well_s = time.monotonic()
        await asyncio.sleep(3)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unheard(verdict)


@fault(
    "all renderers hang (SIGSTOP) for eight seconds and go on (SIGCONT)",
    does="the edge says `degraded` and crossfades into a loop of the last bars, and back when blocks return",
    promise="all synthesis gone, or NATS gone",
)
async def test_without_renderers_the_music_goes_on(fleet: Fleet, figures: Figures) -> None:
    renderers = [fleet.services["synthesis-1"], fleet.services["synthesis-2"]]
    async with ears(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        for renderer in renderers:
            renderer.pause()
        await asyncio.sleep(8)
        for renderer in renderers:
            renderer.resume()
        well_s = time.monotonic()
        await asyncio.sleep(4)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert whole(verdict)
    assert 1 < verdict.looped_s < 8
    assert verdict.recovered_s < 4
    for ear in listening:
        states = [state for state, _ in ear.states]
        assert "degraded" in states
        assert states[-1] == "playing"


@fault(
    "a spec that no renderer can render (a bug that it has found), wanted by three listeners",
    does="failures are counted by stream; after three it is refused with 1008; what shared its batch is rendered",
    promise="a spec cannot be rendered",
)
async def test_a_stream_that_cannot_be_rendered_is_refused_alone(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-1"]
    unlucky = [Newcomer(edge.ws_url, POISON) for _ in range(3)]
    async with ears(edge.ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        await asyncio.gather(*(newcomer.listen(15) for newcomer in unlucky))
        figures.more["refused_after_s"] = round(time.monotonic() - struck_s, 1)
        await asyncio.sleep(1)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=struck_s)
    assert unheard(verdict)
    assert [(newcomer.code, newcomer.chunks) for newcomer in unlucky] == [(1008, 0)] * 3
