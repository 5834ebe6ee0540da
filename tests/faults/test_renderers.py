"""Renderers that die, hang, starve and answer nonsense."""

from __future__ import annotations

import asyncio
import time

from tests.faults.support import Figures, fault, listen_on, uninterrupted, unnoticed
from tests.support.fleet import Fleet
from tests.support.judge import judge
from tests.support.new_listener import NewListener
from tests.support.poisoned_renderer import POISON
from tests.support.recorder import recorders

STREAMS = range(100, 104)


@fault(
    "one renderer of two is killed (SIGKILL)",
    does="its fetched jobs return within a second and go to the other one; blocks are asked for five seconds ahead",
    promise="a synthesis worker is killed",
)
async def test_a_killed_renderer_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with recorders(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.services["synthesis-2"].kill()
        await listen_on(8)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=struck_s)
    assert unnoticed(verdict)


@fault(
    "one renderer of two hangs (SIGSTOP) and continues (SIGCONT)",
    does="as if it were killed; blocks that it renders after it continues are too late and are dropped",
)
async def test_a_renderer_that_hangs_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with recorders(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.services["synthesis-1"].pause()
        await listen_on(7)
        fleet.services["synthesis-1"].resume()
        well_s = time.monotonic()
        await listen_on(3)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unnoticed(verdict)


@fault(
    "all renderers hang (SIGSTOP) for eight seconds and continue (SIGCONT)",
    does="the edge says `degraded` and crossfades into a loop of the last bars, and back when blocks return",
    promise="all synthesis gone, or NATS gone",
)
async def test_without_renderers_the_music_goes_on(fleet: Fleet, figures: Figures) -> None:
    renderers = [fleet.services["synthesis-1"], fleet.services["synthesis-2"]]
    async with recorders(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        for renderer in renderers:
            renderer.pause()
        await listen_on(8)
        for renderer in renderers:
            renderer.resume()
        well_s = time.monotonic()
        await listen_on(4)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert uninterrupted(verdict)
    assert 1 < verdict.looped_s < 8
    assert verdict.recovered_s < 4
    for recorder in listening:
        states = [state for state, _ in recorder.states]
        assert "degraded" in states
        assert states[-1] == "playing"


@fault(
    "three listeners want a spec that no renderer can render (it hits a bug)",
    does="failures are counted by stream; after three it is refused with 1008; the rest of its batch is rendered",
    promise="a spec cannot be rendered",
)
async def test_a_stream_that_cannot_be_rendered_is_refused_alone(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-1"]
    unlucky = [NewListener(edge.ws_url, POISON) for _ in range(3)]
    async with recorders(edge.ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        await asyncio.gather(*(new_listener.listen(15) for new_listener in unlucky))
        figures.more["refused_after_s"] = round(time.monotonic() - struck_s, 1)
        await listen_on(1)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=struck_s)
    assert unnoticed(verdict)
    assert [(new_listener.code, new_listener.chunks) for new_listener in unlucky] == [(1008, 0)] * 3
