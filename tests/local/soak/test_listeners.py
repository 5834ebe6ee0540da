import asyncio
import contextlib

import pytest

from services.local.soak import listeners as soak_listeners
from services.local.soak.listeners import FORMATS, Visit, crowd
from services.local.soak.report import ListenerCounts
from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import TinyRenderer, running_edge
from tests.support.waiting import until


async def test_listeners_join_in_every_format_steer_and_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_listeners, "_STEER_EVERY_S", (0.2, 0.5))
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    await renderer.start()
    counts = ListenerCounts()
    try:
        async with running_edge(broker) as edge:
            crowding = asyncio.create_task(crowd(edge.http, 12, counts, visit=Visit(0.5, 1.0)))
            try:
                await until(
                    lambda: (
                        crowding.done()
                        or (counts.sessions.keys() == set(FORMATS) and sum(counts.sessions.values()) >= 30)
                    ),
                    40.0,
                )
                assert not crowding.done()
            finally:
                crowding.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await crowding
    finally:
        await renderer.stop()
    assert counts.errors == {}
    assert counts.chunks > 50
    assert counts.http_bytes > 10_000
    assert counts.steered > 3
