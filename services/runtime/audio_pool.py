"""Reusable buffers for audio, so that a steady stream allocates nothing. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from services.contract.timebase import CHUNK_BYTES

Overflow = Literal["allocate", "refuse"]


class PoolExhaustedError(RuntimeError):
    """Every buffer is in use and the pool's policy is "refuse"."""


class DoubleReleaseError(RuntimeError):
    """A buffer was released twice; its second user would overwrite the audio of another."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counters of a pool since it was made, and the buffers `in_use` and `free` now."""

    acquired: int
    released: int
    overflowed: int
    in_use: int
    free: int


class PooledChunk:
    """A borrowed buffer: call `release`, or use it as a context manager, which yields `view`."""

    __slots__ = ("_buffer", "_pool", "_view")

    def __init__(self, pool: AudioChunkPool, buffer: bytearray) -> None:
        self._pool = pool
        self._buffer = buffer
        self._view: memoryview | None = memoryview(buffer)

    @property
    def view(self) -> memoryview:
        """The writable buffer of `chunk_bytes`, with the content that its last user left.

        Raises:
            DoubleReleaseError: it has been released.
        """
        if self._view is None:
            raise DoubleReleaseError("this chunk has been released; acquire another one")
        return self._view

    def release(self) -> None:
        """Return it to the pool. Its next user writes into the same memory, so keep no view or array of it.

        Raises:
            DoubleReleaseError: it was released before.
        """
        if self._view is None:
            raise DoubleReleaseError("this chunk has been released already; release a chunk once")
        self._view = None
        self._pool._take_back(self._buffer)  # noqa: SLF001 - the other half of acquire

    def __enter__(self) -> memoryview:
        return self.view

    def __exit__(self, *_: object) -> None:
        self.release()


class AudioChunkPool:
    """A bounded pool of equal buffers, all made at the start.

    Args:
        capacity: buffers that are kept.
        chunk_bytes: size of each; a chunk of 100 ms by default.
        overflow: while all are in use, "allocate" makes a further buffer, which is discarded on release; "refuse"
            raises PoolExhaustedError. Both are counted as `overflowed`.
    """

    def __init__(self, capacity: int = 64, chunk_bytes: int = CHUNK_BYTES, *, overflow: Overflow = "allocate") -> None:
        if capacity < 1 or chunk_bytes < 1:
            raise ValueError(f"audio pool: got {capacity} buffers of {chunk_bytes} bytes, expected at least 1 of each")
        self.capacity = capacity
        self.chunk_bytes = chunk_bytes
        self.overflow: Overflow = overflow
        self._free = deque(bytearray(chunk_bytes) for _ in range(capacity))
        self._acquired = 0
        self._released = 0
        self._overflowed = 0

    def acquire(self) -> PooledChunk:
        """Borrow a buffer.

        Raises:
            PoolExhaustedError: all are in use and the policy is "refuse".
        """
        try:
            buffer = self._free.pop()
        except IndexError:
            self._overflowed += 1
            if self.overflow == "refuse":
                raise PoolExhaustedError(
                    f"all {self.capacity} buffers are in use; release some or make the pool larger"
                ) from None
            buffer = bytearray(self.chunk_bytes)
        self._acquired += 1
        return PooledChunk(self, buffer)

    def release(self, chunk: PooledChunk) -> None:
        """The same as `chunk.release()`."""
        chunk.release()

    @property
    def stats(self) -> PoolStats:
        """Counters and the present state."""
        return PoolStats(
            acquired=self._acquired,
            released=self._released,
            overflowed=self._overflowed,
            in_use=self._acquired - self._released,
            free=len(self._free),
        )

    def _take_back(self, buffer: bytearray) -> None:
        self._released += 1
        if len(self._free) < self.capacity:
            self._free.append(buffer)
