"""The clocks that an edge knows: which of them differs is said, and changes nothing in the music."""

from __future__ import annotations

import pytest

from tests.edge.fanout.world import World, world
from tests.edge.support import NOW_S


def detail(made: World) -> str:
    clocks = made.health.condition("clocks")
    assert clocks is not None
    assert clocks.ok
    return clocks.detail


async def test_a_worker_whose_clock_differs_is_named_and_still_asked() -> None:
    async with world() as made:
        for name, ahead_s in (("w1", 0.0), ("w2", 120.0), ("w3", 0.1)):
            await made.announce(instance=name, clock_s=NOW_S + ahead_s)
        await made.announce(instance="an-earlier-build")
        await made.tick(10)
        assert detail(made) == "w2 is 120.0 s ahead of the median of 4 clocks"
        assert made.hub.status()["renderers"] == 4
        made.listen()
        await made.tick()
        assert made.asks()


async def test_an_edge_whose_own_clock_differs_names_itself_and_stays_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as made:
        monkeypatch.setattr(made.bus, "unix_s", lambda: made.clock.now_s + 7.0)
        for name in ("w1", "w2"):
            await made.announce(instance=name, clock_s=NOW_S + 7.0)
        await made.tick(10)
        assert detail(made) == "this edge is 7.0 s behind the median of 4 clocks"
        assert made.health.ready
        assert made.metric("auralis_clock_difference_seconds") == pytest.approx(-7.0, abs=0.2)


async def test_clocks_that_agree_are_not_named() -> None:
    async with world() as made:
        await made.announce(clock_s=NOW_S + 0.2)
        await made.tick(10)
        assert detail(made) == ""


async def test_after_a_jump_clocks_are_compared_with_the_new_time() -> None:
    async with world() as made:
        made.clock.shift_s = 3600.0
        for name in ("w1", "w2"):
            await made.announce(instance=name, clock_s=NOW_S + 3600.0)
        await made.tick(10)
        assert detail(made) == ""
