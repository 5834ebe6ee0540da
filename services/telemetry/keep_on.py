"""Doing something again and again (shell: asyncio): what one round raises must not be the last of all rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from services.runtime.observability.logging import RepeatLimiter, get_logger

_log = get_logger(__name__)
_complaints = RepeatLimiter(60.0)


async def keep_on(what: str, do: Callable[[], Awaitable[None]], every_s: Callable[[], float]) -> None:
    """Do it for ever; an exception out of it is logged, and the next round comes all the same.

    Args:
        what: its name, for the log.
        do: one round.
        every_s: seconds between two rounds, asked after each.
    """
    while True:
        try:
            await do()
        except Exception as error:  # noqa: BLE001 - a task that ends leaves a process that looks well and does nothing
            held_back = _complaints.admit(f"{what} {type(error).__name__}")
            if held_back is not None:
                _log.exception("round failed", what=what, repeats=held_back)
        await asyncio.sleep(every_s())
