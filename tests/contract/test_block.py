from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contract.block import Block, Chord, stream_hash
from services.contract.errors import ContractError, FieldError, MessageError, TruncatedError, UnknownVersionError
from services.contract.timebase import BLOCK_BYTES, CHUNK_BYTES, MAX_TICK
from tests.contract.strategies import PCM, blocks

BLOCK = Block(
    stream_hash=stream_hash("c-dorian-70-50-drift-0"),
    revision="a1b2-3",
    first_tick=17_000_000_000,
    pcm=PCM,
    peak=0.5,
    rms=0.25,
    render_s=0.125,
    chords=(Chord(0, "Am9"), Chord(7, "D♭maj7")),
)
FIXED = bytes.fromhex(
    "41555242"  # AURB
    "01"  # version 1
    "01"  # format 1: 44.1 kHz stereo s16le
    "4400"  # the PCM begins at byte 68
    "006a47f503000000"  # first tick 17,000,000,000
    "9e9c88a77b97bd66"  # the first 8 bytes of SHA-256 of the stream id
    "0000003f"  # peak 0.5
    "0000803e"  # RMS 0.25
    "0000003e"  # render seconds 0.125
    "613162322d3300000000000000000000"  # revision "a1b2-3", padded to 16 bytes
    "02"  # two chords
)
CHORDS = bytes.fromhex(
    "0003416d39"  # from chunk 0, 3 bytes: Am9
    "070844e299ad6d616a37"  # from chunk 7, 8 bytes: D♭maj7
)
ENCODED = FIXED + CHORDS + PCM


def with_bytes(offset: int, new: bytes) -> bytes:
    return ENCODED[:offset] + new + ENCODED[offset + len(new) :]


def test_a_block_has_these_bytes() -> None:
    assert len(FIXED) == 53
    assert BLOCK.encode() == ENCODED
    assert Block.decode(ENCODED) == BLOCK


def test_a_block_without_chords_has_these_bytes() -> None:
    header = FIXED[:6] + b"\x35\x00" + FIXED[8:52] + b"\x00"
    assert replace(BLOCK, chords=()).encode() == header + PCM
    assert Block.decode(header + PCM).chords == ()


def test_the_hash_of_a_stream_never_changes() -> None:
    assert stream_hash("c-dorian-70-50-drift-0").hex() == "9e9c88a77b97bd66"
    assert stream_hash("c-dorian-70-50-drift-1") != stream_hash("c-dorian-70-50-drift-0")


@settings(max_examples=50)
@given(blocks)
def test_every_block_reads_back(block: Block) -> None:
    assert Block.decode(block.encode()) == block


def test_the_pcm_is_not_copied_when_a_block_is_read() -> None:
    pcm = Block.decode(ENCODED).pcm
    assert isinstance(pcm, memoryview)
    assert pcm.obj is ENCODED


def test_a_chunk_is_a_tenth_of_the_pcm() -> None:
    for block in (BLOCK, Block.decode(ENCODED)):
        assert b"".join(block.chunk(index) for index in range(10)) == PCM
        assert block.chunk(3) == PCM[3 * CHUNK_BYTES : 4 * CHUNK_BYTES]
        assert isinstance(block.chunk(3), bytes)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_block_reads_from_any_buffer(kind: Any) -> None:
    assert Block.decode(kind(ENCODED)) == BLOCK


def test_a_block_encodes_from_a_view_of_its_pcm() -> None:
    assert replace(BLOCK, pcm=memoryview(PCM)).encode() == ENCODED


# --- truncation ------------------------------------------------------------------------------------------------------


def test_a_block_cut_anywhere_is_an_error_of_the_contract_that_says_how_much_is_missing() -> None:
    cuts = [*range(len(FIXED) + len(CHORDS) + 300), *range(1000, len(ENCODED), 997), len(ENCODED) - 1]
    for length in cuts:
        with pytest.raises(TruncatedError) as caught:
            Block.decode(ENCODED[:length])
        assert caught.value.observed_bytes == length
        assert caught.value.expected_bytes > length


def test_a_block_with_bytes_too_many_is_refused() -> None:
    with pytest.raises(MessageError, match=f"got {len(ENCODED) + 1} bytes, expected {len(ENCODED)}"):
        Block.decode(ENCODED + b"\0")


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 2, 255])
def test_an_unknown_version_is_a_typed_error_even_when_its_layout_is_another(version: int) -> None:
    for data in (with_bytes(4, bytes([version])), b"AURB" + bytes([version]) + b"\x09"):
        with pytest.raises(UnknownVersionError) as caught:
            Block.decode(data)
        assert (caught.value.what, caught.value.observed, caught.value.expected) == ("block", version, 1)


@pytest.mark.parametrize("format_", [0, 2, 255])
def test_an_unknown_sample_format_is_a_typed_error(format_: int) -> None:
    with pytest.raises(UnknownVersionError, match="block format"):
        Block.decode(with_bytes(5, bytes([format_])))


# --- contradictions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"RIFF" + ENCODED[4:], MessageError),
        (with_bytes(6, struct.pack("<H", 10)), MessageError),
        (with_bytes(6, struct.pack("<H", 52)), MessageError),
        (with_bytes(6, struct.pack("<H", 67)), MessageError),
        (with_bytes(6, struct.pack("<H", 69)), TruncatedError),
        (with_bytes(6, struct.pack("<H", 65535)), TruncatedError),
        (with_bytes(8, struct.pack("<Q", 17_000_000_001)), FieldError),
        (with_bytes(8, struct.pack("<Q", 2**64 - 6)), FieldError),
        (with_bytes(24, struct.pack("<f", float("nan"))), FieldError),
        (with_bytes(28, struct.pack("<f", float("inf"))), FieldError),
        (with_bytes(32, struct.pack("<f", -1.0)), FieldError),
        (with_bytes(36, b"UPPER\0"), FieldError),
        (with_bytes(36, b"a\0b"), FieldError),
        (with_bytes(36, b"\xff"), FieldError),
        (with_bytes(36, bytes(16)), FieldError),
        (with_bytes(52, b"\x01"), MessageError),
        (with_bytes(52, b"\x03"), TruncatedError),
        (with_bytes(52, b"\x0b"), FieldError),
        (with_bytes(53, b"\x0a"), FieldError),
        (with_bytes(54, b"\x00"), FieldError),
        (with_bytes(54, b"\x21"), ContractError),
        (with_bytes(55, b"\xff"), FieldError),
    ],
    ids=[
        "magic", "pcm inside the fixed header", "pcm one byte early", "pcm inside the chords", "pcm one byte late",
        "pcm far beyond the end", "odd tick", "tick of the far future", "peak NaN", "RMS infinite", "negative time",
        "revision in capitals", "revision with a hole", "revision not ASCII", "no revision", "a chord too few",
        "a chord too many", "eleven chords", "chord after the block", "chord without a name", "chord name too long",
        "chord not UTF-8",
    ],
)  # fmt: skip
def test_a_block_that_contradicts_itself_is_refused(data: bytes, error: type[ContractError]) -> None:
    with pytest.raises(error):
        Block.decode(data)


@settings(max_examples=300)
@given(st.integers(0, len(FIXED) + len(CHORDS) - 1), st.integers(0, 255))
def test_a_header_with_one_wrong_byte_reads_as_a_block_or_raises_an_error_of_the_contract(
    offset: int, byte: int
) -> None:
    data = with_bytes(offset, bytes([byte]))
    try:
        block = Block.decode(data)
    except ContractError:
        return
    assert block.encode() == data


@given(st.binary(max_size=200))
def test_random_bytes_are_an_error_of_the_contract(data: bytes) -> None:
    with pytest.raises(ContractError):
        Block.decode(data)
    with pytest.raises(ContractError):
        Block.decode(b"AURB\x01\x01" + data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"revision": ""}, {"revision": "x" * 17}, {"revision": "Ä"}, {"revision": "a b"},
        {"first_tick": -10}, {"first_tick": 5}, {"first_tick": MAX_TICK // 10 * 10 + 10},
        {"pcm": PCM[:-1]}, {"pcm": PCM + b"\0"}, {"pcm": b""}, {"pcm": memoryview(PCM).cast("h")},
        {"stream_hash": b"short"}, {"stream_hash": bytes(9)},
        {"chords": (Chord(10, "A"),)}, {"chords": (Chord(-1, "A"),)}, {"chords": (Chord(0, ""),)},
        {"chords": (Chord(0, "♭" * 11),)}, {"chords": (Chord(0, "A"),) * 11},
        {"peak": float("nan")}, {"peak": -0.1}, {"rms": float("inf")}, {"render_s": 1e300},
    ],
)  # fmt: skip
def test_what_does_not_fit_the_format_is_refused_when_it_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(FieldError):
        replace(BLOCK, **wrong).encode()


def test_a_block_is_shown_without_its_pcm() -> None:
    assert len(repr(BLOCK)) < 500
    assert len(BLOCK.encode()) == BLOCK_BYTES + 68
