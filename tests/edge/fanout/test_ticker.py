from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from services.contract.timebase import TICK_S
from services.edge.fanout.crowd import SLOT_LISTENERS, SLOTS
from services.edge.fanout.ticker import Ticker, slot_due_s
from tests.edge.fanout.world import settle, world
from tests.edge.support import LIVE


async def test_an_edge_that_is_always_late_still_lets_other_tasks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as made:
        ticks = turns = 0

        def slow(_tick: int) -> None:
            nonlocal ticks
            ticks += 1
            made.clock.forward(0.3)
            if ticks == 20:
                # Ends the ticker, which would otherwise hang this test if it never yielded.
                raise asyncio.CancelledError

        monkeypatch.setattr(made.hub.ticker, "begin", slow)
        late = asyncio.create_task(Ticker.run(made.hub.ticker))
        await asyncio.sleep(0)
        made.clock.forward(0.3)
        while not late.done():
            turns += ticks > 0
            await asyncio.sleep(0)
        assert ticks == 20
        assert turns >= 19


async def test_a_failing_tick_does_not_end_the_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as made:
        seen = []

        def broken(tick: int) -> None:
            seen.append(tick)
            made.clock.forward(0.1)
            if len(seen) == 3:
                raise asyncio.CancelledError
            raise RuntimeError("a planted fault")

        monkeypatch.setattr(made.hub.ticker, "begin", broken)
        made.clock.forward(0.1)
        running = asyncio.create_task(Ticker.run(made.hub.ticker))
        await asyncio.sleep(0)
        made.clock.forward(0.1)
        await asyncio.wait([running], timeout=5)
        assert len(seen) == 3


async def test_a_large_crowd_is_spread_over_the_slots_of_a_tick() -> None:
    async with world(max_connections=2 * SLOT_LISTENERS) as made:
        connections = [made.listen()[0] for _ in range(SLOT_LISTENERS + 1)]
        await settle()
        assert {connection.slot for connection in connections[:-1]} == {0}
        assert connections[-1].slot == 1
        assert [made.hub.crowd.is_occupied(slot) for slot in range(3)] == [True, True, False]


def test_slots_divide_a_tick_evenly() -> None:
    times = [slot_due_s(LIVE, slot) for slot in range(SLOTS)] + [slot_due_s(LIVE + 1, 0)]
    assert times[0] == pytest.approx(LIVE * TICK_S)
    for earlier, later in pairwise(times):
        assert later - earlier == pytest.approx(TICK_S / SLOTS, abs=1e-6)
