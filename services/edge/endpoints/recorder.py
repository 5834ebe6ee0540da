"""Files of the last seconds of a stream (shell)."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Literal

from services.contract.spec import StreamSpec
from services.contract.timebase import CHANNELS, SAMPLE_BYTES, SAMPLE_RATE_HZ, TICKS_PER_S
from services.edge.codecs.mount_encoder import MountEncoder
from services.edge.endpoints.query import title_of
from services.edge.fanout.hub import Hub
from services.edge.stream.mixing import Pcm

MAX_RECORDINGS: Final = 2
"""Files that are made at the same time; overflow: 503 ("overload")."""

FileFormat = Literal["wav", "opus"]
MEDIA_TYPES: Final[dict[FileFormat, str]] = {"wav": "audio/wav", "opus": "audio/ogg"}


class NotPlayingError(LookupError):
    """The stream does not play on this edge, so there is nothing to record."""


class BusyError(RuntimeError):
    """`MAX_RECORDINGS` files are being made."""


class Recorder:
    """Makes files of the chunks that rings remember.

    Args:
        hub: has the rings.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="record")
        self._recordings = 0

    async def record(self, spec: StreamSpec, seconds: int, format_: FileFormat) -> bytes:
        """The last `seconds` of the stream, or as many of them as there are.

        Raises:
            NotPlayingError: the stream does not play on this edge.
            BusyError: `MAX_RECORDINGS` files are being made.
        """
        ring = self._hub.ring_of(spec.stream_id)
        live = self._hub.live
        chunks = [] if ring is None else [ring.chunk(tick) for tick in range(live - seconds * TICKS_PER_S, live)]
        heard = [chunk.pcm for chunk in chunks if chunk is not None]
        if not heard:
            raise NotPlayingError(spec.stream_id)
        if self._recordings >= MAX_RECORDINGS:
            raise BusyError
        self._recordings += 1
        try:
            encode = to_wav if format_ == "wav" else partial(to_opus, title=title_of(spec))
            return await asyncio.get_running_loop().run_in_executor(self._pool, encode, heard)
        finally:
            self._recordings -= 1

    def stop(self) -> None:
        """Make no more files; idempotent."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def to_wav(chunks: Sequence[Pcm]) -> bytes:
    """Chunks as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(CHANNELS)
        writer.setsampwidth(SAMPLE_BYTES)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes(b"".join(chunks))
    return file.getvalue()


def to_opus(chunks: Sequence[Pcm], title: str) -> bytes:
    """Chunks as an Ogg Opus file that has a title."""
    encoder = MountEncoder("opus", title=title)
    data = encoder.head + b"".join(encoder.encode(chunk) for chunk in chunks)
    return data + encoder.finish()
