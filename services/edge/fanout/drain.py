"""Sending everybody elsewhere, spread over a window (shell)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection

from services.edge.fanout.connection import Connection
from services.runtime.clock import Clock
from services.runtime.observability.logging import get_logger

_log = get_logger(__name__)


async def drain(
    connections: Collection[Connection],
    send_away: Callable[[Connection], None],
    clock: Clock,
    window_s: float,
    settle_s: float | None,
) -> None:
    """Send everybody away who is connected.

    Args:
        connections: who is connected, as it changes.
        send_away: says goodbye to one.
        clock: the service's clock.
        window_s: over how long the goodbyes are spread.
        settle_s: seconds before the first one; None: a tenth of the window, at most 3 s, and none if nobody listens.
    """
    if settle_s is None:
        settle_s = min(3.0, window_s / 10) if connections else 0.0
    _log.info("draining", listeners=len(connections), seconds=window_s)
    await asyncio.sleep(settle_s)
    leaving = list(connections)
    random.shuffle(leaving)
    # Some of the window is kept for the closing handshakes.
    pause_s = max(0.0, (window_s - settle_s) * 0.8) / max(1, len(leaving))
    began_s = clock.now()
    for number, connection in enumerate(leaving):
        # Each at its own time, so that many short sleeps do not add up to more than the window.
        wait_s = began_s + number * pause_s - clock.now()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if not connection.closed:
            send_away(connection)
    until_s = clock.now() + max(1.0, (window_s - settle_s) * 0.2)
    while connections and clock.now() < until_s:  # noqa: ASYNC110 - once in a process's life
        await asyncio.sleep(0.05)
    _log.info("drained", left=len(connections))
