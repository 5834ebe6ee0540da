"""Writing what was heard: a WAV file, or raw samples for a pipe (shell)."""

from __future__ import annotations

import struct
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from services.contract.timebase import CHANNELS, CHUNK_BYTES, FRAME_BYTES, SAMPLE_BYTES, SAMPLE_RATE_HZ

MAX_GAP_CHUNKS: Final = 100
"""A gap up to 10 s is kept as silence, so that the recording keeps its time; a longer one is cut out."""
MAX_WAITING_CHUNKS: Final = 50
"""What waits for a slow pipe: 5 s; beyond it the oldest chunk is dropped, and counted."""
_WAV_HEADER_BYTES: Final = 44
_MAX_WAV_DATA_BYTES: Final = 2**32 - 1 - _WAV_HEADER_BYTES


def wav_header(data_bytes: int) -> bytes:
    """The 44 bytes before s16le stereo at 44.1 kHz."""
    size = min(data_bytes, _MAX_WAV_DATA_BYTES)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        size + _WAV_HEADER_BYTES - 8,
        b"WAVE",
        b"fmt ",
        16,
        1,
        CHANNELS,
        SAMPLE_RATE_HZ,
        SAMPLE_RATE_HZ * FRAME_BYTES,
        FRAME_BYTES,
        8 * SAMPLE_BYTES,
        b"data",
        size,
    )


class WavRecorder:
    """A WAV file that can be played at any moment while it grows.

    Args:
        path: is written anew.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._file.write(wav_header(0))
        self._data_bytes = 0
        self._next_id: int | None = None
        self.silent_chunks = 0
        """Chunks of silence that stand for missing ones."""

    def __enter__(self) -> Self:
        """The recorder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the file."""
        self.close()

    def write(self, chunk_id: int, pcm: bytes) -> None:
        """Append a chunk; ids that are missing before it become silence."""
        if self._next_id is not None and 0 < chunk_id - self._next_id <= MAX_GAP_CHUNKS:
            missing = chunk_id - self._next_id
            self.silent_chunks += missing
            self._append(bytes(missing * CHUNK_BYTES))
        self._next_id = chunk_id + 1
        self._append(pcm)

    def close(self) -> None:
        """Complete the file; idempotent."""
        if not self._file.closed:
            self._file.seek(0)
            self._file.write(wav_header(self._data_bytes))
            self._file.close()

    def _append(self, pcm: bytes) -> None:
        self._file.write(pcm)
        self._data_bytes += len(pcm)


class PipeWriter:
    """Writes raw samples from a thread: a player that pauses must not hold up the connection.

    Overflow: of more than `MAX_WAITING_CHUNKS` the oldest is dropped, and counted.

    Args:
        pipe: for example `sys.stdout.buffer`.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.dropped_chunks = 0
        self.broken = False
        """Whoever read has gone."""
        self._thread = threading.Thread(target=self._work, name="pipe", daemon=True)
        self._thread.start()

    def write(self, pcm: bytes) -> None:
        """Take a chunk; never waits."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING_CHUNKS:
                self._waiting.popleft()
                self.dropped_chunks += 1
            self._waiting.append(pcm)
            self._changed.notify()

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, for at most `timeout_s`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                pcm = self._waiting.popleft()
            try:
                self._pipe.write(pcm)
                self._pipe.flush()
            except (OSError, ValueError):
                self.broken = True
                return
