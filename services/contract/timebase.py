"""Time and audio format: a tick is 100 ms since the Unix epoch and one chunk of sound. Pure.

Ticks, blocks and sections are integers counted from the epoch. So all services agree on the address of a chunk by the
time alone, without any exchange.
"""

from __future__ import annotations

from typing import Final

SAMPLE_RATE_HZ: Final = 44_100
CHANNELS: Final = 2
SAMPLE_BYTES: Final = 2

TICK_S: Final = 0.1
TICKS_PER_S: Final = 10
CHUNK_FRAMES: Final = 4_410
FRAME_BYTES: Final = CHANNELS * SAMPLE_BYTES
CHUNK_BYTES: Final = CHUNK_FRAMES * FRAME_BYTES
CHUNK_MS: Final = 100

CHUNKS_PER_BLOCK: Final = 10
BLOCK_FRAMES: Final = CHUNKS_PER_BLOCK * CHUNK_FRAMES
BLOCK_BYTES: Final = CHUNKS_PER_BLOCK * CHUNK_BYTES

SECTION_S: Final = 240
"""A section is 240 s, which is exactly `bpm` bars of 4/4 at any whole bpm."""
BLOCKS_PER_SECTION: Final = 240

MAX_TICK: Final = 2**53 // CHUNK_FRAMES
"""Beyond it, in the year 8432, a frame index is no longer exact as float64."""


def tick_at(unix_s: float) -> int:
    """The live tick at `unix_s`, seconds since the epoch."""
    return int(unix_s * TICKS_PER_S // 1)


def due_s(tick: int) -> float:
    """When `tick` is due: seconds since the epoch."""
    return tick / TICKS_PER_S


def block_of(tick: int) -> int:
    """The block (1 s) that holds `tick`."""
    return tick // CHUNKS_PER_BLOCK


def first_tick(block: int) -> int:
    """The first tick of `block`."""
    return block * CHUNKS_PER_BLOCK
