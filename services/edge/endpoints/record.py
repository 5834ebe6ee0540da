"""`/record` (shell): what was just heard of a stream, as a file."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode

from services.contract.errors import FieldError
from services.contract.spec import StreamSpec
from services.contract.timebase import CHANNELS, SAMPLE_BYTES, SAMPLE_RATE_HZ, TICKS_PER_S, tick_at
from services.edge.codecs.mount_encoder import MountEncoder
from services.edge.endpoints.query import spec_from_query
from services.edge.fanout.hub import Hub
from services.edge.stream.mixing import Pcm
from services.edge.stream.ring import HISTORY_S

DEFAULT_S: Final = 15
AT_ONCE: Final = 2
"""Files that are made at a time; overflow: 503 ("busy")."""

FileFormat = Literal["wav", "opus"]
MEDIA_TYPES: Final[dict[FileFormat, str]] = {"wav": "audio/wav", "opus": "audio/ogg"}


class NotPlayingError(LookupError):
    """The stream is not heard here, so there is nothing to record."""


class BusyError(RuntimeError):
    """As many files as allowed are being made."""


def parse_query(query_string: str) -> tuple[StreamSpec, int, FileFormat]:
    """The stream, seconds and format that `seconds=10&format=opus&key=D` names.

    Raises:
        FieldError: a field is unknown or cannot be used.
    """
    rest: list[tuple[str, str]] = []
    seconds, format_ = str(DEFAULT_S), "wav"
    for name, value in parse_qsl(query_string, keep_blank_values=True, max_num_fields=32):
        if name == "seconds":
            seconds = value
        elif name == "format":
            format_ = value
        else:
            rest.append((name, value))
    # Its length first: a number that is not read to its end would be no limit, and reading a long one is work.
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 6 and 1 <= int(seconds) <= HISTORY_S):
        raise FieldError("seconds", seconds, f"a whole number from 1 to {HISTORY_S}")
    if format_ not in ("wav", "opus"):
        raise FieldError("format", format_, "wav or opus")
    return spec_from_query(urlencode(rest)), int(seconds), "opus" if format_ == "opus" else "wav"


def file_name(spec: StreamSpec, format_: FileFormat) -> str:
    """What to save it as."""
    return f"auralis-{spec.stream_id}.{format_}"


class Recorder:
    """Makes files of what the rings remember.

    Args:
        hub: has the rings.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="record")
        self._making = 0

    async def record(self, spec: StreamSpec, seconds: int, format_: FileFormat) -> bytes:
        """The last `seconds` of the stream, or as much of them as there is.

        Raises:
            NotPlayingError: nobody hears it here.
            BusyError: too many are being made.
        """
        ring = self._hub.ring_of(spec.stream_id)
        live = tick_at(self._hub.clock.now())
        chunks = [] if ring is None else [ring.chunk(tick) for tick in range(live - seconds * TICKS_PER_S, live)]
        heard = [chunk.pcm for chunk in chunks if chunk is not None]
        if not heard:
            raise NotPlayingError(spec.stream_id)
        if self._making >= AT_ONCE:
            raise BusyError
        self._making += 1
        try:
            make = to_wav if format_ == "wav" else to_opus
            return await asyncio.get_running_loop().run_in_executor(self._pool, make, heard)
        finally:
            self._making -= 1

    def stop(self) -> None:
        """Make no more; idempotent."""
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


def to_opus(chunks: Sequence[Pcm]) -> bytes:
    """Chunks as an Ogg Opus file."""
    encoder = MountEncoder("opus", title="Auralis")
    data = encoder.head + b"".join(encoder.encode(chunk) for chunk in chunks)
    return data + encoder.finish()
