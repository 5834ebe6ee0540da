"""A stream's timeline in Opus (shell): threads encode each chunk once, before it is due.

Listeners read it like the ring, but a chunk exists only when it is encoded. A chunk that a listener asks for too early
is remembered, and `work` has it encoded. The main run encodes chunk after chunk. If a listener resumes before the main
run's first chunk, a second run encodes the chunks in between. A decoder that goes over from the second run's packets to
the main run's needs pre-roll, so the main run's first chunk carries pre-roll for every listener.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from services.contract.timebase import CHUNK_BYTES
from services.edge.codecs.opus_encoder import OpusChunk, OpusEncoder
from services.edge.stream.chunk import Chunk
from services.edge.stream.ring import Ring

JOB_CHUNKS: Final = 3
"""Chunks of a run's first job. Few, because a new listener's first sound must not wait for a whole buffer."""
MAX_JOB_CHUNKS: Final = 24
"""Chunks of a job at most. A run doubles its jobs while chunks are waiting: each job costs an iteration of the event
loop, and while a crowd connects, an iteration can take longer than a small job's chunks last."""
WARM_UP_CHUNKS: Final = 2
"""Chunks that a run encodes before its first one and drops, so that codec and resampler have settled."""
BACK_CHUNKS: Final = 10
"""How much earlier than asked a second run begins, because several listeners resume one after the other."""
_SILENCE: Final = bytes(CHUNK_BYTES)


class _Run:
    """One encoder and the continuous chunks that it encodes.

    Args:
        start: tick of the first chunk.
        until: first tick that another run has encoded; None: there is none.

    Attributes:
        next: tick of the next chunk.
        until: as above.
        last: the chunk that was encoded last.
        job_chunks: chunks of the next job at most.
    """

    def __init__(self, start: int, *, until: int | None = None) -> None:
        self.next = start
        self.until = until
        self.last: Chunk | None = None
        self.job_chunks = JOB_CHUNKS
        self._encoder: OpusEncoder | None = None
        self._before: tuple[bytes, ...] = ()
        self._first = True

    @property
    def finished(self) -> bool:
        """Whether it has met the other run."""
        return self.next == self.until

    def encode(self, warm_up: list[Chunk], chunks: list[Chunk]) -> list[OpusChunk]:
        """Encode `chunks`, which follow the last ones; runs in a thread.

        Args:
            warm_up: chunks before the run's first one; may be empty, and is not used later.
            chunks: what to encode.
        """
        if self._encoder is None:
            self._encoder = OpusEncoder()
            # Without chunks before it, the music begins out of silence.
            for pcm in [chunk.pcm for chunk in warm_up] or [_SILENCE]:
                self._before = self._encoder.encode(pcm)
        encoded = []
        for chunk in chunks:
            packets = self._encoder.encode(chunk.pcm)
            encoded.append(OpusChunk(packets, self._before, first=self._first))
            self._before, self._first = packets, False
        return encoded


class OpusTimeline:
    """Encoded chunks of one ring.

    Args:
        ring: the stream's chunks.
        pool: threads that encode.
        on_done: called in the event loop after each job.
        on_failed: called with the error when the codec has failed; encoding then begins anew.
    """

    def __init__(
        self, ring: Ring, pool: Executor, *, on_done: Callable[[], None], on_failed: Callable[[Exception], None]
    ) -> None:
        self._ring = ring
        self._pool = pool
        self._on_done = on_done
        self._on_failed = on_failed
        self._main: _Run | None = None
        self._back: _Run | None = None
        self._missing: int | None = None
        self._busy = False
        self._closed = False

    @property
    def origin(self) -> int | None:
        """The first tick of the ring, encoded or not; None if it is empty."""
        return self._ring.origin

    def chunk(self, tick: int) -> Chunk | None:
        """The chunk of `tick` if it is encoded; otherwise None, and `work` will have it encoded."""
        chunk = self._ring.chunk(tick)
        if chunk is None or chunk.opus is not None:
            return chunk
        if self._missing is None or tick < self._missing:
            self._missing = tick
        return None

    def work(self) -> None:
        """Start a job if chunks are to be encoded; returns immediately."""
        if self._busy or self._closed:
            return
        run = self._choose_run()
        chunks = [] if run is None else self._next_chunks(run)
        if run is None or not chunks:
            return
        run.job_chunks = min(2 * run.job_chunks, MAX_JOB_CHUNKS) if len(chunks) == run.job_chunks else JOB_CHUNKS
        warm_up: list[Chunk] = []
        if run.last is None:
            before = (self._ring.chunk(run.next - back) for back in range(WARM_UP_CHUNKS, 0, -1))
            warm_up = [chunk for chunk in before if chunk is not None]
        self._busy = True
        job = asyncio.get_running_loop().run_in_executor(self._pool, run.encode, warm_up, chunks)
        job.add_done_callback(lambda done: self._done(run, chunks, done))

    def jump(self) -> None:
        """The ring's chunks have got other ticks: encode anew from what listeners ask for next."""
        self._main = self._back = None
        self._missing = None

    def close(self) -> None:
        """Encode no more; encoded chunks remain."""
        self._closed = True

    def _next_chunks(self, run: _Run) -> list[Chunk]:
        """The chunks of the run's next job, as far as the ring has them."""
        chunks: list[Chunk] = []
        while len(chunks) < run.job_chunks and run.next + len(chunks) != run.until:
            chunk = self._ring.chunk(run.next + len(chunks))
            if chunk is None:
                break
            chunks.append(chunk)
        return chunks

    def _choose_run(self) -> _Run | None:
        """The run that encodes next; the second run comes first, because a listener waits for it."""
        if self._main is not None and not self._continues(self._main):
            self._main = self._back = None
        missing, self._missing = self._missing, None
        if missing is not None and self._is_encoded(missing):
            missing = None  # encoded since it was asked for
        if self._main is None:
            if missing is None:
                return None
            self._main = _Run(missing)
        if missing is not None and missing < self._main.next:
            self._cover(missing, self._main)
        if self._back is not None:
            if not self._back.finished and self._ring.chunk(self._back.next) is not None:
                return self._back
            self._back = None
        return self._main

    def _continues(self, run: _Run) -> bool:
        """Whether the ring still has the chunk that `run` encoded last; after a restart it does not."""
        return run.last is None or self._ring.chunk(run.next - 1) is run.last

    def _cover(self, missing: int, main: _Run) -> None:
        """Have a second run encode `missing`, which lies before the main run."""
        if self._back is not None and self._back.next <= missing < (self._back.until or 0):
            return
        until = missing
        while until < main.next and not self._is_encoded(until):
            until += 1
        start = max(missing - BACK_CHUNKS, self._ring.origin or 0)
        while start < missing and self._is_encoded(start):
            start += 1
        self._back = _Run(start, until=until)

    def _is_encoded(self, tick: int) -> bool:
        chunk = self._ring.chunk(tick)
        return chunk is not None and chunk.opus is not None

    def _done(self, run: _Run, chunks: list[Chunk], done: asyncio.Future[list[OpusChunk]]) -> None:
        self._busy = False
        if self._closed or done.cancelled():
            return
        error = done.exception()
        if error is not None:
            self._main = self._back = None
            if isinstance(error, Exception):
                self._on_failed(error)
            return
        for chunk, opus in zip(chunks, done.result(), strict=True):
            chunk.opus = opus
        run.next += len(chunks)
        run.last = chunks[-1]
        self._on_done()
        self.work()
