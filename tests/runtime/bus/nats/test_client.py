"""Closing for certain."""

from __future__ import annotations

import asyncio

from tests.runtime.bus.nats.conftest import Fleet
from tests.support.nats import NatsServer


async def test_a_close_that_is_cut_short_leaves_nothing_behind(nats_server: NatsServer, fleet: Fleet) -> None:
    for steps in range(1, 16):
        bus = fleet.bus(nats_server.url)
        await bus.connect()
        await bus.subscribe("x", lambda _: None)
        closing = asyncio.create_task(bus.close())
        for _ in range(steps):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
