"""Writing received sound: WAV files, or raw samples for a pipe (shell: files, a thread)."""

from __future__ import annotations

import itertools
import threading
import wave
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from services.contract.timebase import CHANNELS, CHUNK_BYTES, FRAME_BYTES, SAMPLE_BYTES, SAMPLE_RATE_HZ

MAX_GAP_CHUNKS: Final = 100
"""A gap of up to 10 s is kept as silence, so that the recording keeps its time; a longer one is cut out."""
MAX_WAITING_CHUNKS: Final = 50
"""Chunks that wait for a slow pipe, 5 s; of more the oldest is dropped and counted."""
MAX_WAV_BYTES: Final = (2**32 - 1 - 36) // FRAME_BYTES * FRAME_BYTES
"""Most bytes of samples in one WAV file, 6 h 45 min: with 36 bytes of header they are told in 32 bits."""


class WavRecorder:
    """A recording that can be played while it grows: after each chunk the header tells the real length.

    Past `max_bytes` of samples it goes on, without a gap, in a next file: `out.wav`, `out-2.wav`, `out-3.wav`, … A next
    file never overwrites one that is there; its number is left out.

    Args:
        path: the first file; overwritten where it exists.
        max_bytes: of samples in one file, a multiple of a frame's 4 bytes.
        on_next_file: called with the path of each further file.

    Attributes:
        paths: files written so far.
        silent_chunks: chunks of silence in place of missing ones.

    Raises:
        OSError: a file cannot be written.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = MAX_WAV_BYTES, on_next_file: Callable[[Path], object] | None = None
    ) -> None:
        self.paths = [path]
        self.silent_chunks = 0
        self._max_bytes = max_bytes
        self._on_next_file = on_next_file
        self._next_id: int | None = None
        self._file = _WavFile(path)

    def __enter__(self) -> Self:
        """The recorder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def write(self, chunk_id: int, pcm: bytes) -> None:
        """Append a chunk; missing chunks before it become silence.

        Args:
            chunk_id: greater than the one before.
            pcm: int16 frames of two channels at 44.1 kHz.

        Raises:
            OSError: the disk is full, or a next file cannot be made.
        """
        if self._next_id is not None and 0 < chunk_id - self._next_id <= MAX_GAP_CHUNKS:
            missing = chunk_id - self._next_id
            self.silent_chunks += missing
            self._append(bytes(missing * CHUNK_BYTES))
        self._next_id = chunk_id + 1
        self._append(pcm)

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()

    def _append(self, pcm: bytes) -> None:
        while len(pcm) > (fits := self._max_bytes - self._file.bytes):
            self._file.append(pcm[:fits])
            pcm = pcm[fits:]
            self._begin_next_file()
        self._file.append(pcm)

    def _begin_next_file(self) -> None:
        first = self.paths[0]
        numbered = (first.with_stem(f"{first.stem}-{number}") for number in itertools.count(len(self.paths) + 1))
        path = next(path for path in numbered if path not in self.paths and not path.exists())
        self._file.close()
        self._file = _WavFile(path)
        self.paths.append(path)
        if self._on_next_file is not None:
            self._on_next_file(path)


class _WavFile:
    """One file, complete after every `append`.

    Attributes:
        bytes: of samples so far.
    """

    def __init__(self, path: Path) -> None:
        self.bytes = 0
        self._file = path.open("wb")
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115 - closed by `close`
        self._wave.setnchannels(CHANNELS)
        self._wave.setsampwidth(SAMPLE_BYTES)
        self._wave.setframerate(SAMPLE_RATE_HZ)
        # Writes the header: an empty file cannot be opened.
        self.append(b"")

    def append(self, pcm: bytes) -> None:
        # `writeframesraw` would leave the header as it was until the file is closed.
        self._wave.writeframes(pcm)
        self._file.flush()
        self.bytes += len(pcm)

    def close(self) -> None:
        """Idempotent."""
        self._wave.close()
        self._file.close()


class PipeWriter:
    """Writes raw samples from a thread, so that a player that pauses does not hold up the connection.

    Overflow: of more than `MAX_WAITING_CHUNKS` the oldest is dropped and counted.

    Args:
        pipe: for example `sys.stdout.buffer`.

    Attributes:
        dropped_chunks: chunks that were dropped.
        broken: the reader of the pipe has gone, or the pipe is closed.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.dropped_chunks = 0
        self.broken = False
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
