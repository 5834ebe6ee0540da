"""One stream's chunks by tick: what has been heard, what is heard, and what has arrived for later.

A ring turns blocks, which come in any order, late, twice or never, into one unbroken line of chunks. The line is drawn
from its first tick forward and never changed: a listener that asks for a tick again gets the same bytes.

The one rule that makes it unbroken: the last chunk before a hole is not given out until the hole is filled or the wait
is over. So there is always a chunk left to crossfade from, into a loop of the last seconds, or into a new revision.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final, Protocol

from services.contract.block import Block
from services.contract.timebase import CHUNK_BYTES, CHUNKS_PER_BLOCK, TICKS_PER_S, block_of, first_tick
from services.edge.stream.mixing import Loop, Pcm, crossfade, loop_chunks

HISTORY_S: Final = 20
"""What a listener that comes back can have been away for."""
HISTORY_CHUNKS: Final = HISTORY_S * TICKS_PER_S
AHEAD_BLOCKS: Final = 8
"""Blocks further ahead than this were not asked for by anybody."""
MAX_LOOP_CHUNKS: Final = 80
RESERVE_CHUNKS: Final = 5
"""Chunks that listeners keep while a block is late. When they have no more, the loop begins."""
RESERVE_GROWS_TICKS: Final = 2
"""A line that has just begun has no reserve yet, because its second block is only a moment behind its first: it grows
by a chunk each time so many ticks have passed."""
LOOP_GROWS_TICKS: Final = 2
"""What is drawn of a loop is heard even if the block comes a moment later. So listeners are kept at the reserve at
first, and filled up by a chunk each time so many ticks have passed."""
BEGINNING_CHUNKS: Final = 4
"""A line begins with no fewer: a block that is nearly over is worth waiting with for the next one, which was asked for
together with it, and a loop over two chunks is no music."""
EARLY_TICKS: Final = 2
"""A line may begin so much before its time when only the next block is there: the live one, nearly over, is not asked
for any more."""
MAX_CATCH_UP_CHUNKS: Final = 50
"""After a longer stall (a suspended machine) the line begins anew at the live tick instead of being drawn to it."""


class Opus(Protocol):
    """A chunk in Opus, as payloads of frames."""

    @property
    def payload(self) -> bytes | None:
        """For whoever had the chunk before; None where everybody has to begin anew."""
        ...

    @property
    def beginning(self) -> bytes:
        """With pre-roll, for whoever begins here."""
        ...


class Source(StrEnum):
    """Where a chunk's sound comes from."""

    LIVE = "live"
    LOOP = "loop"
    FADE = "fade"


class Added(StrEnum):
    """What became of a block."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    LATE = "late"
    EARLY = "early"
    FOREIGN = "foreign"
    """Of a revision that this stream is neither on nor moving to."""


class Chunk:
    """100 ms of one stream, the same for every listener.

    Attributes:
        tick: its place in time, and its `chunk_id`.
        pcm: 17,640 bytes.
        source: live, loop or fade.
        encoded: base64 of `pcm` once somebody has needed it (see payloads.py).
        opus: its packets once somebody has needed them (see opus_timeline.py).
    """

    __slots__ = ("encoded", "opus", "pcm", "source", "tick")

    def __init__(self, tick: int, pcm: Pcm, source: Source = Source.LIVE) -> None:
        self.tick = tick
        self.pcm = pcm
        self.source = source
        self.encoded: str | None = None
        self.opus: Opus | None = None

    def __repr__(self) -> str:
        return f"Chunk({self.tick}, {self.source})"


class Ring:
    """The line of one stream.

    Args:
        stream_hash: 8 bytes; a block with another one is on the wrong subject.
        bpm: the stream's tempo, for loops that keep the beat.
        reserve_chunks: how many chunks listeners keep before the loop begins.

    Attributes:
        revision: whose blocks the line is made of; None before the first.
        target: the revision to move to; equal to `revision` most of the time.
    """

    def __init__(self, stream_hash: bytes, *, bpm: int, reserve_chunks: int = RESERVE_CHUNKS) -> None:
        self._stream_hash = stream_hash
        self._loop_chunks = loop_chunks(bpm, most=MAX_LOOP_CHUNKS)
        self._reserve = max(1, reserve_chunks)
        self.revision: str | None = None
        self.target: str | None = None
        # revision -> block number -> block; at most the two revisions above.
        self._blocks: dict[str, dict[int, Block]] = {}
        self._line: deque[Chunk] = deque()
        self._origin: int | None = None
        self._began = 0
        self._loop: Loop | None = None
        self._looping_since = 0

    @property
    def origin(self) -> int | None:
        """The first tick that can still be had; None while nothing has been heard."""
        return self._origin

    @property
    def front(self) -> int | None:
        """The last tick of the line so far."""
        return None if self._origin is None else self._origin + len(self._line) - 1

    @property
    def degraded(self) -> bool:
        """Whether the line's newest chunk is a loop's."""
        return self._loop is not None

    def chunk(self, tick: int) -> Chunk | None:
        """The chunk of `tick`; None before the origin and beyond the front."""
        origin = self._origin
        if origin is None:
            return None
        index = tick - origin
        return self._line[index] if 0 <= index < len(self._line) else None

    def has_block(self, block: int) -> bool:
        """Whether nobody needs to be asked for `block`: it is here, or its time on the line is over.

        While the stream moves to another revision, the last block of the old one is wanted of the new one too: there
        they are joined.
        """
        front = self.front
        if front is not None and front >= first_tick(block) + CHUNKS_PER_BLOCK - 1:
            return True
        if block in self._blocks.get(self.target or "", ()):
            return True
        kept = self._blocks.get(self.revision or "", ())
        return block in kept and (self.revision == self.target or block + 1 in kept)

    def has_any(self, block: int) -> bool:
        """Whether `block` is here in one of the revisions that it may be heard in, or its time on the line is over."""
        return self.has_block(block) or self.arrived(block)

    def arrived(self, block: int) -> bool:
        """Whether `block` of the current revision has come."""
        return block in self._blocks.get(self.revision or "", ())

    def chord_at(self, tick: int) -> str | None:
        """Name of the chord that sounds at `tick`, where its block is known."""
        kept = self._blocks.get(self.revision or "", {})
        block = kept.get(block_of(tick))
        if block is None:
            return None
        offset = tick - block.first_tick
        for chord in reversed(block.chords):
            if chord.chunk <= offset:
                return chord.name
        before = kept.get(block_of(tick) - 1)
        return before.chords[-1].name if before is not None and before.chords else None

    def loudness(self, tick: int) -> float | None:
        """RMS of the block that sounds at `tick` (0 to 1); None where it is not known."""
        block = self._blocks.get(self.revision or "", {}).get(block_of(tick))
        return None if block is None else block.rms

    # --- blocks come in ----------------------------------------------------------------------------------------------

    def move_to(self, revision: str) -> int | None:
        """Make the line of `revision` from the next block boundary on that its blocks can be joined at.

        Blocks of the present revision are kept until then; those of a third one are dropped.

        Returns:
            The block at which the two can be joined if the new revision renders it soon; None if there is nothing to
            join.
        """
        if revision == self.target:
            return None
        self.target = revision
        if self._origin is None:
            # Nothing has been heard: there is nothing to move from.
            self.revision = revision
        self._blocks = {name: kept for name, kept in self._blocks.items() if name in (self.revision, revision)}
        return None if self.revision == revision else max(self._blocks.get(self.revision or "", ()), default=None)

    def add(self, block: Block, live: int) -> Added:
        """Take a block in; of two for the same tick the first one stays.

        Args:
            block: a decoded block.
            live: the live tick.
        """
        if block.stream_hash != self._stream_hash:
            return Added.FOREIGN
        if self.target is None and self.revision is None:
            # What JetStream kept from before this edge began: better than waiting for a worker to say its name.
            self.revision = self.target = block.revision
        if block.revision not in (self.revision, self.target):
            return Added.FOREIGN
        number = block_of(block.first_tick)
        if number > block_of(live) + AHEAD_BLOCKS:
            return Added.EARLY
        if number < block_of(live - HISTORY_CHUNKS):
            return Added.LATE
        kept = self._blocks.setdefault(block.revision, {})
        if number in kept:
            return Added.DUPLICATE
        front = self.front
        if front is not None and block.first_tick + CHUNKS_PER_BLOCK - 1 <= front:
            return Added.LATE
        kept[number] = block
        return Added.KEPT

    # --- the line is drawn -------------------------------------------------------------------------------------------

    def advance(self, live: int, ahead: int) -> None:
        """Draw the line so that listeners can be filled up to `ahead` chunks from `live` on, as far as may be.

        Args:
            live: the live tick.
            ahead: chunks that the deepest listener wants, the live one included.
        """
        if self._origin is None:
            self._origin = self._find_origin(live)
            self._began = live
        elif self._origin + len(self._line) < live - MAX_CATCH_UP_CHUNKS:
            self._skip_to(live)
        if self._origin is None:
            return
        tick = self._origin + len(self._line)
        last = live + max(ahead, 1) - 1
        while tick <= last:
            chunk = self._draw(tick, live)
            if chunk is None:
                break
            self._line.append(chunk)
            tick += 1
        self._forget(live)

    def restart(self) -> None:
        """Forget the line and keep the blocks: nobody listens, so nothing needs to be joined to."""
        self._line.clear()
        self._origin = None
        self._loop = None
        if self.target is not None:
            self.revision = self.target
            self._blocks = {name: kept for name, kept in self._blocks.items() if name == self.target}

    def _find_origin(self, live: int) -> int | None:
        """Where the line begins: the start of the unbroken run of blocks that holds the live tick and the next few."""
        if self.revision is None:
            return None
        kept = self._blocks.get(self.revision, {})
        block = block_of(live)
        if self._live(live) is None or self._live(live + BEGINNING_CHUNKS - 1) is None:
            following = first_tick(block + 1)
            return following if block + 1 in kept and following - live <= EARLY_TICKS else None
        while block - 1 in kept and live - first_tick(block - 1) <= HISTORY_CHUNKS:
            block -= 1
        return first_tick(block)

    def _draw(self, tick: int, live: int) -> Chunk | None:
        """The chunk that continues the line at `tick`; None while it is better to wait."""
        arrived = self._live(tick)
        if tick % CHUNKS_PER_BLOCK == 0 and self.target not in (self.revision, None):
            joined = self._join_target(tick, arrived)
            if joined is not None:
                return joined
        reserve = min(self._reserve, 1 + (live - self._began) // RESERVE_GROWS_TICKS)
        if self._loop is not None:
            # One chunk alone is not worth coming back for: the chunk after it must be there too.
            if arrived is not None and self._live(tick + 1) is not None:
                fade = crossfade(self._loop.take(), arrived)
                self._loop = None
                return Chunk(tick, fade, Source.FADE)
            if tick - live >= reserve + (live - self._looping_since) // LOOP_GROWS_TICKS:
                return None
            return Chunk(tick, self._loop.take(), Source.LOOP)
        if arrived is None:
            # Only after a restart in the middle of a hole: the rule at the top keeps the line from getting here.
            return None
        if self._live(tick + 1) is None:
            if tick - live >= reserve:
                return None
            self._loop = self._make_loop(arrived)
            if self._loop is not None:
                self._looping_since = live
                return Chunk(tick, self._loop.take(), Source.LOOP)
        return Chunk(tick, arrived)

    def _join_target(self, tick: int, arrived: Pcm | None) -> Chunk | None:
        """At a block boundary: the crossfade into the new revision, if both sides of it are there."""
        target = self.target
        assert target is not None  # noqa: S101 - for the type checker; the caller looked
        block = self._blocks.get(target, {}).get(block_of(tick))
        if block is None:
            return None
        old = arrived if arrived is not None else self._loop.take() if self._loop is not None else None
        if old is None:
            return None
        self._blocks.pop(self.revision or "", None)
        self.revision = target
        self._loop = None
        return Chunk(tick, crossfade(old, block.pcm[:CHUNK_BYTES]), Source.FADE)

    def _make_loop(self, last: Pcm) -> Loop | None:
        """A loop over the line's end and `last`, the chunk that would come next."""
        heard = [chunk.pcm for chunk in list(self._line)[-(self._loop_chunks - 1) :]]
        if not heard:
            return None
        return Loop([*heard, last])

    def _live(self, tick: int) -> Pcm | None:
        """The rendered chunk of `tick` in the current revision."""
        block = self._blocks.get(self.revision or "", {}).get(block_of(tick))
        if block is None:
            return None
        start = (tick - block.first_tick) * CHUNK_BYTES
        return block.pcm[start : start + CHUNK_BYTES]

    def _skip_to(self, live: int) -> None:
        """Begin again at `live`; a loop that plays goes on, sound that has arrived is faded into from one."""
        if self._loop is None:
            heard = [chunk.pcm for chunk in list(self._line)[-self._loop_chunks :]]
            self._loop = Loop(heard) if len(heard) > 1 else None
            self._looping_since = live
        self._line.clear()
        self._origin = live if self._loop is not None else None
        if self._origin is None:
            self._origin = self._find_origin(live)

    def _forget(self, live: int) -> None:
        origin = self._origin
        if origin is None:
            return
        oldest = live - HISTORY_CHUNKS
        while origin < oldest and self._line:
            self._line.popleft()
            origin += 1
        self._origin = origin
        for kept in self._blocks.values():
            for number in [number for number in kept if number < block_of(oldest)]:
                del kept[number]
