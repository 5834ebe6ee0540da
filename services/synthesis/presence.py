"""Tells edges what a worker can do (shell: the bus): once a second, and on every roll call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from services.contract import subjects
from services.contract.presence import INTERVAL_S, Presence
from services.runtime.bus import Bus, BusError


class Announcer:
    """Announces a worker.

    Args:
        bus: connected, or connecting.
        describe: what the worker can do now.
    """

    def __init__(self, bus: Bus, describe: Callable[[], Presence]) -> None:
        self._bus = bus
        self._describe = describe

    async def run(self) -> None:
        """Announce once a second, and whenever an edge calls the roll; runs until it is cancelled."""
        called = asyncio.Event()
        roll_call = await self._bus.subscribe(subjects.ROLL_CALL, lambda _message: called.set())
        try:
            while True:
                await self.announce()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INTERVAL_S):
                        await called.wait()
                called.clear()
        finally:
            await roll_call.close()

    async def announce(self) -> None:
        """Announce now."""
        # Without a bus edges hear the next announcement after it is back.
        with contextlib.suppress(BusError):
            await self._bus.publish(subjects.PRESENCE, self._describe().encode())
