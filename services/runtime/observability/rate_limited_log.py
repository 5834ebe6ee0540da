"""Warnings that may repeat without end, logged at most once an interval (shell: reads the clock, writes the log)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import structlog

DEFAULT_INTERVAL_S: Final = 10.0
"""Seconds between two lines of one event."""
MAX_KEYS: Final = 256
"""Keys that are remembered; of more, the one seen least recently is forgotten."""


class RateLimitedLog:
    """A logger for faults that may repeat without end: each event gets one line an interval.

    The line carries `repeats`, the number of lines held back since the one before.

    ```python
    _rare = RateLimitedLog(_log)
    _rare.warning("block skipped", stream=stream_id, detail=str(error))
    ```

    Args:
        log: the module's own logger.
        interval_s: seconds between two lines of one key; 0: all pass.
        max_keys: keys that are remembered, at least 1.
        monotonic: seconds from anywhere.
    """

    def __init__(
        self,
        log: structlog.stdlib.BoundLogger,
        interval_s: float = DEFAULT_INTERVAL_S,
        *,
        max_keys: int = MAX_KEYS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._interval_s = interval_s
        self._max_keys = max_keys
        self._monotonic = monotonic
        # key -> (when its last line was logged, lines held back since); the key seen least recently comes first.
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def warning(self, event: str, *, key: str | None = None, **fields: Any) -> None:
        """Log a warning, unless a line with the same key was logged within the interval.

        Args:
            event: the log line's event.
            key: events with the same key count as repeats of each other; None: `event`.
            fields: the line's fields.
        """
        repeats = self._admit(event if key is None else key)
        if repeats is not None:
            self._log.warning(event, **fields, repeats=repeats)

    def exception(self, event: str, *, key: str | None = None, **fields: Any) -> None:
        """As `warning`, but an error with the traceback of the exception that is being handled."""
        repeats = self._admit(event if key is None else key)
        if repeats is not None:
            self._log.exception(event, **fields, repeats=repeats)

    def _admit(self, key: str) -> int | None:
        """Lines held back since the last one; None: this one is held back too."""
        now_s = self._monotonic()
        logged_s, held_back = self._seen.pop(key, (-float("inf"), 0))
        if now_s - logged_s < self._interval_s:
            self._seen[key] = (logged_s, held_back + 1)
            return None
        self._seen[key] = (now_s, 0)
        if len(self._seen) > self._max_keys:
            self._seen.popitem(last=False)
        return held_back
