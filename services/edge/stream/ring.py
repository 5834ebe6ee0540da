"""Pure: one stream's chunks by tick: the last seconds, the present and the next blocks.

A ring turns blocks, which arrive in any order, late, twice or never, into one continuous timeline of chunks. The
timeline only grows at its end and never changes: asking for a tick again returns the same bytes.

One rule makes it continuous: the last chunk before a hole is held back until the hole is filled or the wait is over. So
there is always a chunk left to crossfade from, into a loop of the last seconds or into a new revision.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final

from services.contract.block import Block
from services.contract.timebase import CHUNK_BYTES, CHUNKS_PER_BLOCK, TICKS_PER_S, block_of, first_tick
from services.edge.stream.chunk import Chunk, Source
from services.edge.stream.mixing import Loop, Pcm, crossfade, loop_chunks

HISTORY_S: Final = 20
"""How long chunks are kept after their time: a listener may have been away for this long."""
HISTORY_CHUNKS: Final = HISTORY_S * TICKS_PER_S
AHEAD_BLOCKS: Final = 8
"""Blocks further ahead than this are not kept: no edge has asked for them."""
MAX_LOOP_CHUNKS: Final = 80
"""The longest loop: 8 s."""
RESERVE_CHUNKS: Final = 5
"""Chunks that listeners keep while a block is late. When they have no more than these, the loop begins."""
RESERVE_GROWS_TICKS: Final = 2
"""A timeline that has just begun has no reserve, because its second block arrives only a moment after its first. Its
reserve grows by a chunk each time this many ticks have passed."""
LOOP_GROWS_TICKS: Final = 2
"""Chunks of a loop that are on the timeline are heard even if the block arrives a moment later. So a loop first fills
listeners only up to the reserve, and then by one more chunk each time this many ticks have passed."""
BEGINNING_CHUNKS: Final = 4
"""A timeline begins with at least this many chunks. A block that is nearly over waits for the next one, which was asked
for together with it: a loop over two chunks is not music."""
EARLY_TICKS: Final = 2
"""A timeline may begin this many ticks before its time when only the next block is there: the live block, nearly over,
is no longer asked for."""
MAX_CATCH_UP_CHUNKS: Final = 50
"""After a longer stall, such as a suspended machine, the timeline begins anew at the live tick."""


class Added(StrEnum):
    """The result of adding a block."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    LATE = "late"
    EARLY = "early"
    FOREIGN = "foreign"
    """Of another stream, or of a revision that this stream is neither on nor moving to."""


class Ring:
    """The timeline of one stream.

    Args:
        stream_hash: 8 bytes; a block with another hash is on the wrong subject.
        bpm: the stream's tempo, so that loops repeat on a bar line.
        reserve_chunks: chunks that listeners keep before the loop begins, at least 1.

    Attributes:
        revision: the renderers whose blocks the timeline is made of; None before the first block.
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
        self._timeline: deque[Chunk] = deque()
        self._origin: int | None = None
        self._began = 0
        self._loop: Loop | None = None
        self._looping_since = 0
        # Up to this tick the timeline holds chunks of another time, after a jump.
        self._moved_until = -1

    @property
    def origin(self) -> int | None:
        """The first tick that is still kept; None while the timeline has not begun."""
        return self._origin

    @property
    def front(self) -> int | None:
        """The last tick of the timeline so far; None while it has not begun."""
        return None if self._origin is None else self._origin + len(self._timeline) - 1

    @property
    def degraded(self) -> bool:
        """Whether the timeline's newest chunk belongs to a loop."""
        return self._loop is not None

    def chunk(self, tick: int) -> Chunk | None:
        """The chunk of `tick`; None before the origin and beyond the front."""
        origin = self._origin
        if origin is None:
            return None
        index = tick - origin
        return self._timeline[index] if 0 <= index < len(self._timeline) else None

    def has_block(self, block: int) -> bool:
        """Whether `block` need not be asked for: it is here, or its time on the timeline is over.

        While the stream moves to another revision, the last block of the old revision is needed of the new one too:
        there the two are joined.
        """
        front = self.front
        if front is not None and front >= first_tick(block) + CHUNKS_PER_BLOCK - 1:
            return True
        if block in self._blocks_of(self.target):
            return True
        kept = self._blocks_of(self.revision)
        return block in kept and (self.revision == self.target or block + 1 in kept)

    def has_any(self, block: int) -> bool:
        """Whether `block` is here in a revision that may be heard, or its time is over."""
        return self.has_block(block) or self.arrived(block)

    def arrived(self, block: int) -> bool:
        """Whether `block` of the current revision has arrived."""
        return block in self._blocks_of(self.revision)

    def missing(self, block: int) -> bool:
        """Whether `block` should have arrived if it is due now: after a jump the timeline does not need every block."""
        return not self.arrived(block) and first_tick(block) > self._moved_until

    def chord_at(self, tick: int) -> str | None:
        """Name of the chord that sounds at `tick`; None where its block is not here."""
        kept = self._blocks_of(self.revision)
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
        """RMS of the block that sounds at `tick` (0 to 1); None where the block is not here."""
        block = self._blocks_of(self.revision).get(block_of(tick))
        return None if block is None else block.rms

    # --- blocks come in ----------------------------------------------------------------------------------------------

    def move_to(self, revision: str) -> int | None:
        """Move the timeline to blocks of `revision`, at the next block where the two can be joined.

        Blocks of the present revision are kept until then; those of a third one are dropped.

        Returns:
            The block at which the two can be joined if the new revision renders it soon; None if there is nothing to
            join.
        """
        if revision == self.target:
            return None
        self.target = revision
        if self._origin is None:
            # Nothing has been heard, so there is nothing to move from.
            self.revision = revision
        self._blocks = {name: kept for name, kept in self._blocks.items() if name in (self.revision, revision)}
        return None if self.revision == revision else max(self._blocks_of(self.revision), default=None)

    def add(self, block: Block, live: int) -> Added:
        """Take a block in; of two blocks for one tick the first stays.

        Args:
            block: a decoded block.
            live: the live tick.
        """
        if block.stream_hash != self._stream_hash:
            return Added.FOREIGN
        if self.target is None and self.revision is None:
            # It was kept by JetStream from before this edge began, and saves the wait for a renderer's presence.
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

    def _blocks_of(self, revision: str | None) -> dict[int, Block]:
        return self._blocks.get(revision or "", {})

    # --- the timeline grows ------------------------------------------------------------------------------------------

    def advance(self, live: int, ahead: int) -> None:
        """Extend the timeline to `ahead` chunks from `live` on, as far as that is possible.

        Args:
            live: the live tick.
            ahead: chunks that the deepest listener wants, the live one included.
        """
        if self._origin is None:
            self._origin = self._find_origin(live)
            self._began = live
        elif self._origin + len(self._timeline) < live - MAX_CATCH_UP_CHUNKS:
            self._skip_to(live)
        if self._origin is None:
            return
        tick = self._origin + len(self._timeline)
        last = live + max(ahead, 1) - 1
        while tick <= last:
            chunk = self._next_chunk(tick, live)
            if chunk is None:
                break
            self._timeline.append(chunk)
            tick += 1
        self._forget(live)

    def jump(self, ticks: int, live: int) -> None:
        """Time has jumped: go on without a gap, and fade into the new time's music at the end of the timeline.

        The chunks that the timeline has keep their order and their sound and get new ticks, so each listener goes on
        with the chunk after its last one.

        Args:
            ticks: by which time has jumped; negative: back.
            live: the live tick after the jump.
        """
        front = self.front
        if front is None or not self._timeline:
            self._origin = None
        else:
            following = self._rendered(front + 1)
            if self._loop is None:
                self._loop = self._make_loop(self._timeline[-1].pcm if following is None else following)
                self._looping_since = live - ticks
            self._timeline = deque(Chunk(chunk.tick + ticks, chunk.pcm, Source.LOOP) for chunk in self._timeline)
            self._origin = self._timeline[0].tick
            self._looping_since += ticks
            self._began += ticks
            self._moved_until = front + ticks
        wanted = range(block_of(live - HISTORY_CHUNKS), block_of(live) + AHEAD_BLOCKS + 1)
        for kept in self._blocks.values():
            for number in [number for number in kept if number not in wanted]:
                del kept[number]

    def restart(self) -> None:
        """Forget the timeline and keep the blocks: without listeners nothing needs to be joined."""
        self._timeline.clear()
        self._origin = None
        self._loop = None
        if self.target is not None:
            self.revision = self.target
            self._blocks = {name: kept for name, kept in self._blocks.items() if name == self.target}

    def _find_origin(self, live: int) -> int | None:
        """The first tick of the run of blocks that holds the live tick and the next few."""
        if self.revision is None:
            return None
        kept = self._blocks_of(self.revision)
        block = block_of(live)
        if self._rendered(live) is None or self._rendered(live + BEGINNING_CHUNKS - 1) is None:
            following = first_tick(block + 1)
            return following if block + 1 in kept and following - live <= EARLY_TICKS else None
        while block - 1 in kept and live - first_tick(block - 1) <= HISTORY_CHUNKS:
            block -= 1
        return first_tick(block)

    def _next_chunk(self, tick: int, live: int) -> Chunk | None:
        """The chunk that continues the timeline at `tick`; None while it is better to wait."""
        rendered = self._rendered(tick)
        if tick % CHUNKS_PER_BLOCK == 0 and self.target is not None and self.target != self.revision:
            joined = self._join(self.target, tick, rendered)
            if joined is not None:
                return joined
        reserve = min(self._reserve, 1 + (live - self._began) // RESERVE_GROWS_TICKS)
        if self._loop is not None:
            return self._next_loop_chunk(self._loop, tick, live, rendered, reserve)
        if rendered is None:
            # Only after a restart in the middle of a hole: the rule in the module's text prevents it otherwise.
            return None
        if self._rendered(tick + 1) is None:
            if tick - live >= reserve:
                return None
            self._loop = self._make_loop(rendered)
            if self._loop is not None:
                self._looping_since = live
                return Chunk(tick, self._loop.take(), Source.LOOP)
        return Chunk(tick, rendered)

    def _next_loop_chunk(self, loop: Loop, tick: int, live: int, rendered: Pcm | None, reserve: int) -> Chunk | None:
        """The next chunk while a loop plays."""
        # One rendered chunk is not worth coming back for: the chunk after it must be there too.
        if rendered is not None and self._rendered(tick + 1) is not None:
            self._loop = None
            return Chunk(tick, crossfade(loop.leave(), rendered), Source.FADE)
        if tick - live >= reserve + (live - self._looping_since) // LOOP_GROWS_TICKS:
            return None
        return Chunk(tick, loop.take(), Source.LOOP)

    def _join(self, target: str, tick: int, rendered: Pcm | None) -> Chunk | None:
        """The crossfade into the revision `target` at a block's start, if both sides are here."""
        block = self._blocks_of(target).get(block_of(tick))
        if block is None:
            return None
        old = rendered if rendered is not None else self._loop.take() if self._loop is not None else None
        if old is None:
            return None
        self._blocks.pop(self.revision or "", None)
        self.revision = target
        self._loop = None
        return Chunk(tick, crossfade(old, block.pcm[:CHUNK_BYTES]), Source.FADE)

    def _make_loop(self, last: Pcm) -> Loop | None:
        """A loop over the timeline's end and `last`, the chunk that would come next."""
        heard = [chunk.pcm for chunk in list(self._timeline)[-(self._loop_chunks - 1) :]]
        if not heard:
            return None
        return Loop([*heard, last])

    def _rendered(self, tick: int) -> Pcm | None:
        """The audio of `tick` by the current revision; None if its block is not here."""
        block = self._blocks_of(self.revision).get(block_of(tick))
        if block is None:
            return None
        start = (tick - block.first_tick) * CHUNK_BYTES
        return block.pcm[start : start + CHUNK_BYTES]

    def _skip_to(self, live: int) -> None:
        """Begin again at `live`, with a loop, so that a crossfade can lead out of it."""
        if self._loop is None:
            heard = [chunk.pcm for chunk in list(self._timeline)[-self._loop_chunks :]]
            self._loop = Loop(heard) if len(heard) > 1 else None
            self._looping_since = live
        self._timeline.clear()
        self._origin = live if self._loop is not None else None
        if self._origin is None:
            self._origin = self._find_origin(live)

    def _forget(self, live: int) -> None:
        origin = self._origin
        if origin is None:
            return
        oldest = live - HISTORY_CHUNKS
        while origin < oldest and self._timeline:
            self._timeline.popleft()
            origin += 1
        self._origin = origin
        for kept in self._blocks.values():
            for number in [number for number in kept if number < block_of(oldest)]:
                del kept[number]
