"""A subscription to the bus in memory (shell: asyncio, the log)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from services.runtime.bus.limits import BusLimits
from services.runtime.bus.port import Message
from services.runtime.metrics import BusMetrics
from services.runtime.observability.logging import get_logger

_log = get_logger(__name__)


class MemorySubscription:
    """Messages of a subject that wait for a callback; overflow drops the oldest and is counted.

    Args:
        subject: a subject or a filter.
        callback: called in the loop for each message.
        on_close: called once, when it is closed.
        limits: how much may wait.
        metrics: where drops and failed callbacks are counted.
    """

    def __init__(
        self,
        subject: str,
        callback: Callable[[Message], None],
        on_close: Callable[[MemorySubscription], None],
        limits: BusLimits,
        metrics: BusMetrics,
    ) -> None:
        self.subject = subject
        self._callback = callback
        self._on_close = on_close
        self._limits = limits
        self._metrics = metrics
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._scheduled = False
        self._closed = False

    def offer(self, message: Message) -> None:
        """Deliver a message in the loop's next turn."""
        self._waiting.append(message)
        self._waiting_bytes += len(message.data)
        while len(self._waiting) > 1 and (
            len(self._waiting) > self._limits.subscription_messages
            or self._waiting_bytes > self._limits.subscription_bytes
        ):
            self._waiting_bytes -= len(self._waiting.popleft().data)
            self._metrics.dropped.labels(policy="subscription_oldest").inc()
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def forget(self) -> None:
        """Lose what waits, as a connection does that breaks."""
        self._waiting.clear()
        self._waiting_bytes = 0

    async def close(self) -> None:
        """Stop delivery; idempotent."""
        if not self._closed:
            self._closed = True
            self._on_close(self)

    def _deliver(self) -> None:
        self._scheduled = False
        while self._waiting and not self._closed:
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message.data)
            try:
                self._callback(message)
            except Exception:  # noqa: BLE001 - one bad message must not end the subscription
                self._metrics.callback_errors.inc()
                _log.exception("subscription callback failed", subject=message.subject)
