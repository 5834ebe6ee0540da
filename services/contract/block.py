"""A rendered block on the bus: a fixed binary header, chord names, one second of PCM. Pure.

Layout, little-endian:

    offset  size  field
    0       4     magic "AURB"
    4       1     version (1)
    5       1     format (1 = 44.1 kHz stereo s16le)
    6       2     header length in bytes: where the PCM begins
    8       8     first tick
    16      8     spec hash (first 8 bytes of SHA-256 of the stream id)
    24      4     peak, float32, 0 to 1 of full scale
    28      4     RMS, float32, 0 to 1 of full scale
    32      4     render seconds, float32: the wall time of its batch
    36      16    render revision, ASCII, padded with zero bytes
    52      1     number of chords
    53      ...   for each chord: first chunk (1 byte), length of its name (1 byte), name in UTF-8
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, field
from typing import Final, Self

from services.contract.errors import FieldError, MessageError, TruncatedError, UnknownVersionError
from services.contract.timebase import BLOCK_BYTES, CHUNK_BYTES, CHUNKS_PER_BLOCK, MAX_TICK

MAGIC: Final = b"AURB"
VERSION: Final = 1
FORMAT_S16LE_44100_STEREO: Final = 1
MAX_CHORDS: Final = 10
MAX_CHORD_NAME_BYTES: Final = 32

_HEADER = struct.Struct("<4sBBHQ8sfff16sB")
_REVISION = re.compile(r"[a-z0-9-]{1,16}")


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord that sounds from `chunk` (0 to 9) of the block on; `name` is for display ("Am9")."""

    chunk: int
    name: str


@dataclass(frozen=True, slots=True)
class Block:
    """One second of one stream.

    Attributes:
        stream_hash: `stream_hash(stream_id)`, 8 bytes, to check that the block is on the right subject.
        revision: of its renderer; blocks of two revisions do not join.
        first_tick: the tick of its first chunk, a multiple of 10.
        pcm: 176,400 bytes of s16le stereo at 44.1 kHz.
        peak, rms: level, 0 to 1 of full scale.
        render_s: wall seconds that its batch took.
        chords: chords that begin in it, for display.
    """

    stream_hash: bytes
    revision: str
    first_tick: int
    pcm: bytes | memoryview = field(repr=False)
    peak: float = 0.0
    rms: float = 0.0
    render_s: float = 0.0
    chords: tuple[Chord, ...] = ()

    def chunk(self, index: int) -> bytes:
        """The 17,640 bytes of chunk `index` (0 to 9)."""
        return bytes(self.pcm[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES])

    def encode(self) -> bytes:
        """The block as it goes over the bus.

        Raises:
            FieldError: a field is not valid in the format.
        """
        if not _REVISION.fullmatch(self.revision):
            raise FieldError("revision", self.revision, "1 to 16 characters of [a-z0-9-]")
        if not 0 <= self.first_tick <= MAX_TICK or self.first_tick % CHUNKS_PER_BLOCK:
            raise FieldError("first_tick", self.first_tick, "a multiple of 10 from 0 on")
        if len(self.pcm) != BLOCK_BYTES:
            raise FieldError("pcm", len(self.pcm), f"{BLOCK_BYTES} bytes")
        if len(self.stream_hash) != 8:
            raise FieldError("stream_hash", self.stream_hash, "8 bytes")
        if len(self.chords) > MAX_CHORDS:
            raise FieldError("chords", len(self.chords), f"at most {MAX_CHORDS}")
        for field_name, level in (("peak", self.peak), ("rms", self.rms), ("render_s", self.render_s)):
            _check_level(field_name, level)
        names = bytearray()
        for chord in self.chords:
            name = chord.name.encode()
            if not 0 <= chord.chunk < CHUNKS_PER_BLOCK or not 0 < len(name) <= MAX_CHORD_NAME_BYTES:
                raise FieldError("chords", chord, "a chunk from 0 to 9 and a name of 1 to 32 bytes")
            names += bytes((chord.chunk, len(name))) + name
        header = _HEADER.pack(
            MAGIC,
            VERSION,
            FORMAT_S16LE_44100_STEREO,
            _HEADER.size + len(names),
            self.first_tick,
            self.stream_hash,
            self.peak,
            self.rms,
            self.render_s,
            self.revision.encode(),
            len(self.chords),
        )
        return b"".join((header, names, self.pcm))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a block; its PCM is a view into `data`, not a copy.

        Raises:
            TruncatedError: `data` is too short.
            UnknownVersionError: another version or sample format.
            MessageError, FieldError: it is not a block, or contradicts itself.
        """
        # The version comes first, because a later layout may be shorter than this header.
        if len(data) < 6:
            raise TruncatedError("block", len(data), _HEADER.size)
        if data[:4] != MAGIC:
            raise MessageError(f"block: begins with {bytes(data[:4])!r}, expected {MAGIC!r}")
        if data[4] != VERSION:
            raise UnknownVersionError("block", data[4], VERSION)
        if data[5] != FORMAT_S16LE_44100_STEREO:
            raise UnknownVersionError("block format", data[5], FORMAT_S16LE_44100_STEREO)
        if len(data) < _HEADER.size:
            raise TruncatedError("block", len(data), _HEADER.size)
        _, _, _, pcm_offset, tick, spec_hash, peak, rms, render_s, revision, count = _HEADER.unpack_from(data)
        if pcm_offset < _HEADER.size:
            raise MessageError(f"block: PCM begins at byte {pcm_offset}, expected {_HEADER.size} or later")
        if len(data) < pcm_offset + BLOCK_BYTES:
            raise TruncatedError("block", len(data), pcm_offset + BLOCK_BYTES)
        if len(data) != pcm_offset + BLOCK_BYTES:
            raise MessageError(f"block: got {len(data)} bytes, expected {pcm_offset + BLOCK_BYTES}")
        if tick > MAX_TICK or tick % CHUNKS_PER_BLOCK:
            raise FieldError("first_tick", tick, "a multiple of 10 from 0 on")
        for name, level in (("peak", peak), ("rms", rms), ("render_s", render_s)):
            _check_level(name, level)
        revision_text = revision.rstrip(b"\0").decode("ascii", "replace")
        if not _REVISION.fullmatch(revision_text):
            raise FieldError("revision", revision_text, "1 to 16 characters of [a-z0-9-]")
        return cls(
            stream_hash=spec_hash,
            revision=revision_text,
            first_tick=tick,
            pcm=memoryview(data)[pcm_offset:],
            peak=peak,
            rms=rms,
            render_s=render_s,
            chords=_read_chords(data[_HEADER.size : pcm_offset], count),
        )


def _check_level(name: str, level: float) -> None:
    # float32 ends at 3.4e38; packing more raises OverflowError.
    if not 0 <= level <= 3e38:
        raise FieldError(name, level, "a finite number from 0 on")


def stream_hash(stream_id: str) -> bytes:
    """8 bytes that identify a stream in a block's header."""
    return hashlib.sha256(stream_id.encode()).digest()[:8]


def _read_chords(data: bytes, count: int) -> tuple[Chord, ...]:
    if count > MAX_CHORDS:
        raise FieldError("chords", count, f"at most {MAX_CHORDS}")
    chords: list[Chord] = []
    offset = 0
    for _ in range(count):
        if offset + 2 > len(data):
            raise TruncatedError("block chords", len(data), offset + 2)
        chunk, length = data[offset], data[offset + 1]
        offset += 2
        name = bytes(data[offset : offset + length])
        if len(name) != length:
            raise TruncatedError("block chords", len(data), offset + length)
        if chunk >= CHUNKS_PER_BLOCK or not 0 < length <= MAX_CHORD_NAME_BYTES:
            raise FieldError("chords", (chunk, name), "a chunk from 0 to 9 and a name of 1 to 32 bytes")
        try:
            chords.append(Chord(chunk, name.decode()))
        except UnicodeDecodeError:
            raise FieldError("chords", name, "UTF-8 text") from None
        offset += length
    if offset != len(data):
        raise MessageError(f"block: {len(data) - offset} bytes between the chords and the PCM, expected 0")
    return tuple(chords)
