"""Live events: the newest text for all viewers of the dashboard (shell: it waits with asyncio)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

MAX_VIEWERS: Final = 100
"""Viewers at a time; overflow: further ones are refused with 503."""


class TooManyViewersError(Exception):
    """There are `MAX_VIEWERS` viewers already."""


class Feed:
    """The newest text for readers of any speed: a slow one misses texts and delays no other.

    Attributes:
        viewers: viewers at present.
    """

    def __init__(self) -> None:
        self._text = ""
        self._version = 0
        self._changed = asyncio.Event()
        self._closed = False
        self.viewers = 0

    def publish(self, text: str) -> None:
        """Replace the text, and wake all readers."""
        self._text = text
        self._version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def close(self) -> None:
        """End every reader; idempotent."""
        self._closed = True
        self._changed.set()

    @contextmanager
    def viewer(self) -> Iterator[None]:
        """Count a viewer for the time of a `with` block; `watch` refuses it if there are too many."""
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1

    def watch(self) -> AsyncIterator[str]:
        """Yield the newest text, if there is one, and then later ones; to be called inside `viewer`.

        Raises:
            TooManyViewersError: there are more than `MAX_VIEWERS`; raised by the call, not by the iterator.
        """
        if self.viewers > MAX_VIEWERS:
            raise TooManyViewersError(f"{MAX_VIEWERS} viewers watch already; close one")
        return self._watch()

    async def _watch(self) -> AsyncIterator[str]:
        seen = 0
        while not self._closed:
            if self._version == seen:
                await self._changed.wait()
                continue
            seen = self._version
            yield self._text
