from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.edge.playing import (
    SECRET,
    Fleet,
    playing,
)
from tests.edge.support import running_edge
from tests.support.waiting import until


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet() -> AsyncIterator[Fleet]:
    async with playing(secret=SECRET) as (edge, tiny, broker), running_edge(broker, plain=True, secret=SECRET) as plain:
        await until(lambda: plain.service.hub.status()["renderers"] == 1)
        yield Fleet(edge, plain, tiny, broker)
