"""Waiting for a condition with a deadline: the one place where tests poll."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

POLL_S = 0.005


async def until(
    condition: Callable[[], Any | Awaitable[Any]], within_s: float = 5.0, *, every_s: float = POLL_S
) -> Any:
    """Wait until `condition` holds, and return what it returned.

    Args:
        condition: called again and again; may be a coroutine function.
        within_s: deadline.
        every_s: pause between two calls.

    Raises:
        AssertionError: the condition did not hold within the deadline; names it and its last value.
    """
    deadline_s = time.monotonic() + within_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline_s, _late(condition, within_s, value)
        await asyncio.sleep(every_s)


def wait_until(condition: Callable[[], Any], within_s: float = 5.0, *, every_s: float = POLL_S) -> Any:
    """`until` for tests without an event loop."""
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, _late(condition, within_s, value)
        time.sleep(every_s)
    return value


def _late(condition: Callable[[], Any], within_s: float, value: Any) -> str:
    try:
        text = inspect.getsource(condition).strip()
    except (OSError, TypeError):
        text = repr(condition)
    return f"not within {within_s:g} s: {text} (last value {value!r})"
