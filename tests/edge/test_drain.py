from __future__ import annotations

import asyncio

import pytest

from services.contract.spec import StreamSpec
from services.edge import drain as module
from tests.edge.fanout.world import settle, world


async def test_a_drain_spreads_its_closes_and_accepts_no_new_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(drain_s=10.0) as edge:
        await edge.announce()
        pairs = [edge.listen(StreamSpec(seed=seed), events=True) for seed in range(5)]
        await settle()
        began_s = edge.clock.now()
        closed_s: list[float] = []
        real_sleep = asyncio.sleep

        async def sleep(seconds: float) -> None:
            if not edge.hub.draining:
                return
            before = sum(transport.closed is not None for _, transport in pairs)
            closed_s.extend([edge.clock.now() - began_s] * (before - len(closed_s)))
            for connection, transport in pairs:
                if transport.closed is not None:
                    edge.hub.disconnect(connection)
            edge.clock.forward(seconds)
            await real_sleep(0)

        monkeypatch.setattr(module.asyncio, "sleep", sleep)
        draining = asyncio.create_task(edge.hub.drain())
        await real_sleep(0)
        refusal = edge.hub.admit("b")
        assert refusal is not None
        assert refusal.status == 503
        assert edge.health.failing == ("accepting",)
        await draining
        monkeypatch.undo()
        assert {transport.closed[0] for _, transport in pairs if transport.closed} == {1012}
        assert edge.metric("auralis_closes_total", code="1012") == 5
        # A tenth of the window comes before the first close, and four fifths of the rest are divided evenly.
        assert closed_s == pytest.approx([1.0, 2.44, 3.88, 5.32, 6.76], abs=0.01)
        assert edge.metric("active_websocket_connections") == 0
