"""Background tasks of one owner (shell), which end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from services.runtime.observability.logging import get_logger

_log = get_logger(__name__)


class Tasks:
    """Keeps tasks alive while they run, logs those that fail, and cancels the rest at the end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` as a task that ends with `stop` at the latest.

        Args:
            work: what to run.
            name: for the log line, if it fails.
        """
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended; idempotent."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("task failed", task=task.get_name(), error=repr(task.exception()), exc_info=task.exception())
