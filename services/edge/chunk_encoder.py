"""A chunk as base64 text, encoded once for all of its listeners (shell: reads the clock)."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable

Observe = Callable[[float], None]
"""Called with the duration of one encoding, in seconds."""


class ChunkEncoder:
    """Encodes PCM for JSON messages.

    Args:
        observe: called after each encoding; None: durations are not measured.
    """

    def __init__(self, observe: Observe | None = None) -> None:
        self._observe = observe

    def encode(self, audio_data: bytes | memoryview) -> str:
        """The base64 text of `audio_data`: 23,520 characters for a chunk of 17,640 bytes."""
        if self._observe is None:
            return b64encode(audio_data).decode("ascii")
        started = time.perf_counter()
        text = b64encode(audio_data).decode("ascii")
        self._observe(time.perf_counter() - started)
        return text
