"""What the dashboard is told as it happens: one text for everybody who watches. No I/O of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

MAX_VIEWERS: Final = 100
"""Pages that may watch at once; overflow: further ones are refused with 503."""


class TooManyViewersError(Exception):
    """Everybody who may watch does."""


class Feed:
    """The newest text, for any number of readers of any speed: a slow one misses texts, and never holds one up."""

    def __init__(self) -> None:
        self._text = ""
        self._version = 0
        self._changed = asyncio.Event()
        self._closed = False
        self.viewers = 0

    def publish(self, text: str) -> None:
        """Tell everybody."""
        self._text = text
        self._version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def close(self) -> None:
        """End every reader; idempotent."""
        self._closed = True
        self._changed.set()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A viewer's place, for as long as the context lasts; whether it may watch is said by `watch`."""
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1

    def watch(self) -> AsyncIterator[str]:
        """The newest text at once, where there is one, and then each that comes; for who has a `place`.

        Raises:
            TooManyViewersError: at once.
        """
        if self.viewers > MAX_VIEWERS:
            raise TooManyViewersError(f"{MAX_VIEWERS} pages watch already; close one")
        return self._watch()

    async def _watch(self) -> AsyncIterator[str]:
        seen = 0
        while not self._closed:
            if self._version == seen:
                await self._changed.wait()
                continue
            seen = self._version
            yield self._text
