"""Pure. When to look for idle streams, whose memory can be given back."""

from __future__ import annotations

from typing import Final

IDLE_S: Final = 30
"""Seconds of music without a rendered block after which a stream counts as idle."""


class IdleSweep:
    """Says when to look for idle streams: once for each second of music.

    Batches overlap by a second or a few, so that their newest seconds do not always rise.
    """

    def __init__(self) -> None:
        self._swept_at: int | None = None

    def horizon(self, newest: int) -> int | None:
        """The second before which a stream is idle; None if this second has been looked at already.

        Args:
            newest: the latest second that has just been rendered, since the epoch.
        """
        # A second far behind the last one comes from offline rendering or a test: it is looked at.
        if self._swept_at is not None and self._swept_at - IDLE_S < newest <= self._swept_at:
            return None
        self._swept_at = newest
        return newest - IDLE_S
