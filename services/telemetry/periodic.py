"""Runs an action again and again (shell): an exception of one round does not end the rounds after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog

LOGGED_EVERY_S: Final = 60.0
"""Time between two log lines of the same failure."""

_log = RateLimitedLog(get_logger(__name__), LOGGED_EVERY_S)


async def run_periodically(name: str, action: Callable[[], Awaitable[None]], every_s: Callable[[], float]) -> None:
    """Run an action for ever; an exception is logged, and the next round follows all the same.

    Args:
        name: of the action, for the log.
        action: one round.
        every_s: seconds between two rounds; called after each round.
    """
    while True:
        try:
            await action()
        except Exception as error:  # noqa: BLE001 - if the task ended, the process would look healthy and do nothing
            _log.exception("round failed", key=f"{name} {type(error).__name__}", what=name)
        await asyncio.sleep(every_s())
