"""A bus in memory with a renderer on it, for tests against a running edge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import TinyRenderer


@pytest.fixture
async def broker() -> AsyncIterator[MemoryBroker]:
    """A bus with a renderer on it."""
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    await renderer.start()
    try:
        yield broker
    finally:
        await renderer.stop()
