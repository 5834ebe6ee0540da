"""Serving a client while watching whether it leaves (shell)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def serve_until_client_leaves(
    serving: Coroutine[Any, Any, None], watching: Coroutine[Any, Any, None], *, grace_s: float = 0.0
) -> None:
    """Run both until either ends, then cancel the other.

    A task that waits for a blocked send does not notice that its client has left; a second task has to watch.

    Args:
        serving: writes to the client.
        watching: reads from the client, and ends when it has left.
        grace_s: how long `serving` may go on after `watching` has ended, to write what is queued.

    Raises:
        Exception: what `serving` raised.
    """
    server, watcher = asyncio.ensure_future(serving), asyncio.ensure_future(watching)
    try:
        await asyncio.wait({server, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if grace_s and not server.done():
            await asyncio.wait({server}, timeout=grace_s)
    finally:
        server.cancel()
        watcher.cancel()
        failed, _ = await asyncio.gather(server, watcher, return_exceptions=True)
    if isinstance(failed, Exception):
        raise failed
