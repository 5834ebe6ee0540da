"""A stream's line for those who listen in Opus (shell): encodes each chunk once, in a thread, before it is due.

To a listener it is a line like the ring itself; a chunk is there once it is encoded. What is asked for and is not there
is remembered, and `work` has it encoded: forward from the newest on, or a run of its own for somebody who resumes
further back. Where two runs meet, the first frame of the later one carries pre-roll for everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from services.contract.timebase import CHUNK_BYTES
from services.edge.codecs.opus_encoder import OpusChunk, OpusEncoder
from services.edge.stream.ring import Chunk, Ring

JOB_CHUNKS: Final = 3
"""Encoded in one go: the first sound of somebody who joins should not wait for a whole buffer."""
MAX_JOB_CHUNKS: Final = 24
"""Encoded in one go where more and more waits. Each job costs a turn of the loop: one whose turns take longer than a
job's chunks last, because a crowd comes in, would never catch up, and would look at everybody one by one for ever."""
WARM_UP_CHUNKS: Final = 2
"""Encoded before a run's first chunk, so that codec and resampler have settled when it comes."""
BACK_CHUNKS: Final = 10
"""A run further back begins so much earlier than asked: those who move here come one after the other."""
_SILENCE: Final = bytes(CHUNK_BYTES)


class _Run:
    """One encoder's unbroken work."""

    def __init__(self, start: int, *, until: int | None = None) -> None:
        self.next = start
        self.until = until
        """The first tick that another run has; None: it goes on for ever."""
        self.last: Chunk | None = None
        self.encoder: OpusEncoder | None = None
        self.before: tuple[bytes, ...] = ()
        self.first = True
        self.most = JOB_CHUNKS
        """Chunks of the next job."""

    def encode(self, warm_up: list[Chunk], chunks: list[Chunk]) -> list[OpusChunk]:
        """In a thread: the packets of `chunks`, which continue what was encoded before."""
        if self.encoder is None:
            self.encoder = OpusEncoder()
            # Without a past the sound begins out of silence, for the ear as for the codec.
            for pcm in [chunk.pcm for chunk in warm_up] or [_SILENCE]:
                self.before = self.encoder.encode(pcm)
        made = []
        for chunk in chunks:
            packets = self.encoder.encode(chunk.pcm)
            made.append(OpusChunk(packets, self.before, first=self.first))
            self.before, self.first = packets, False
        return made


class OpusTimeline:
    """See the module's text.

    Args:
        ring: the stream's chunks.
        pool: where encoders run.
        on_done: called in the loop whenever chunks have been encoded.
        on_failed: called with the error when the codec has failed; the run is begun anew.
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
        """The first tick that there is, encoded or not."""
        return self._ring.origin

    def chunk(self, tick: int) -> Chunk | None:
        """The chunk of `tick` if it is encoded; otherwise it soon will be."""
        chunk = self._ring.chunk(tick)
        if chunk is None or chunk.opus is not None:
            return chunk
        if self._missing is None or tick < self._missing:
            self._missing = tick
        return None

    def work(self) -> None:
        """Have encoded what is there and was not encoded yet; returns at once."""
        if self._busy or self._closed:
            return
        run = self._choose()
        if run is None:
            return
        chunks: list[Chunk] = []
        while len(chunks) < run.most and run.next + len(chunks) != run.until:
            chunk = self._ring.chunk(run.next + len(chunks))
            if chunk is None:
                break
            chunks.append(chunk)
        if not chunks:
            return
        run.most = min(2 * run.most, MAX_JOB_CHUNKS) if len(chunks) == run.most else JOB_CHUNKS
        warm_up = []
        if run.last is None:
            before = (self._ring.chunk(run.next - back) for back in range(WARM_UP_CHUNKS, 0, -1))
            warm_up = [chunk for chunk in before if chunk is not None]
        self._busy = True
        job = asyncio.get_running_loop().run_in_executor(self._pool, run.encode, warm_up, chunks)
        job.add_done_callback(lambda done: self._done(run, chunks, done))

    def close(self) -> None:
        """Encode no more; what is encoded stays."""
        self._closed = True

    def _choose(self) -> _Run | None:
        """The run to go on with: what somebody waits for comes first."""
        main = self._main
        if main is not None and main.last is not None and self._ring.chunk(main.next - 1) is not main.last:
            # The line has begun anew, or has forgotten what was encoded last.
            main = self._main = None
            self._back = None
        missing, self._missing = self._missing, None
        if missing is not None and self._is_encoded(missing):
            # It was being encoded when it was asked for.
            missing = None
        if main is None:
            if missing is None:
                return None
            main = self._main = _Run(missing)
        if missing is not None and missing < main.next:
            first = self._first_encoded_after(missing, main.next)
            if self._back is None or not self._back.next <= missing < (self._back.until or 0):
                start = max(missing - BACK_CHUNKS, self._ring.origin or 0)
                while start < missing and self._is_encoded(start):
                    start += 1
                self._back = _Run(start, until=first)
        if self._back is not None:
            if self._back.next < (self._back.until or 0) and self._ring.chunk(self._back.next) is not None:
                return self._back
            self._back = None
        return main

    def _first_encoded_after(self, tick: int, end: int) -> int:
        while tick < end and not self._is_encoded(tick):
            tick += 1
        return tick

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
