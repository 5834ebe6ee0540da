from __future__ import annotations

import pytest

from services.contract.spec import StreamSpec
from services.contract.timebase import SECTION_S
from tests.edge.fanout.world import settle, world
from tests.edge.support import NOW_S, SPEC


@pytest.mark.parametrize(("into_section_s", "bar"), [(0.01, 1), (SECTION_S - 0.01, SPEC.bpm)])
async def test_the_bar_counts_from_one_to_the_bars_of_a_section(into_section_s: float, bar: int) -> None:
    async with world() as edge:
        edge.listen()
        section = NOW_S // SECTION_S
        edge.clock.now_s = section * SECTION_S + into_section_s
        (described,) = edge.hub.now_playing()
        assert (described["bar"], described["bars"]) == (bar, SPEC.bpm)
        assert described["section_started"] == section * SECTION_S


async def test_the_stream_with_most_listeners_comes_first() -> None:
    async with world() as edge:
        other = StreamSpec(seed=9)
        edge.listen(SPEC)
        edge.listen(other)
        edge.listen(other)
        assert [described["stream_id"] for described in edge.hub.now_playing()] == [other.stream_id, SPEC.stream_id]
        assert [described["listeners"] for described in edge.hub.now_playing()] == [2, 1]


async def test_a_stream_warms_up_plays_and_loops() -> None:
    async with world() as edge:
        await edge.announce()
        edge.listen()
        await settle()

        def state() -> str:
            (described,) = edge.hub.now_playing()
            return str(described["state"])

        assert state() == "warming"
        await edge.render(0, 1)
        assert state() == "playing"
        await edge.tick(25)
        assert state() == "degraded"
