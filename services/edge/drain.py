"""Graceful shutdown (shell): sends all listeners to other edges, spread over a window."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from typing import Final, Protocol

from services.runtime.clock import Clock
from services.runtime.observability.logging import get_logger

SETTLE_SHARE: Final = 0.1
"""Share of the window (0 to 1) before the first close, if the caller does not say otherwise. In this time load
balancers see that the edge is not ready, and then send no listener back to it."""
MAX_SETTLE_S: Final = 3.0
"""At most this long."""
CLOSING_SHARE: Final = 0.8
"""Share of the rest of the window over which the closes are spread; what is left is for the closing handshakes."""
HANDSHAKES_AT_LEAST_S: Final = 1.0
"""Time for closing handshakes even if the window is short."""
POLL_S: Final = 0.05
"""How often the drain looks whether connections are left."""

_log = get_logger(__name__)


class Closable(Protocol):
    """A connection, as a drain sees it."""

    @property
    def closed(self) -> bool:
        """Whether it has been sent away already, or has ended by itself."""
        ...


async def drain[C: Closable](
    connections: Collection[C],
    send_away: Callable[[C], None],
    clock: Clock,
    window_s: float,
    settle_s: float | None,
) -> None:
    """Send all connected listeners away.

    Args:
        connections: the connections, as they come and go.
        send_away: closes one of them.
        clock: the service's clock.
        window_s: seconds over which the closes are spread.
        settle_s: seconds before the first one; None: a tenth of the window, at most 3 s, and none if there are no
            listeners.
    """
    if settle_s is None:
        settle_s = min(MAX_SETTLE_S, window_s * SETTLE_SHARE) if connections else 0.0
    _log.info("draining", listeners=len(connections), seconds=window_s)
    await asyncio.sleep(settle_s)
    leaving = list(connections)
    random.shuffle(leaving)
    pause_s = max(0.0, (window_s - settle_s) * CLOSING_SHARE) / max(1, len(leaving))
    began_s = clock.now()
    for number, connection in enumerate(leaving):
        # Each at its own time, so that many short sleeps do not add up to more than the window.
        wait_s = began_s + number * pause_s - clock.now()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if not connection.closed:
            send_away(connection)
    until_s = clock.now() + max(HANDSHAKES_AT_LEAST_S, (window_s - settle_s) * (1 - CLOSING_SHARE))
    while connections and clock.now() < until_s:  # noqa: ASYNC110 - once in a process's life
        await asyncio.sleep(POLL_S)
    _log.info("drained", left=len(connections))
