from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.edge.endpoints.icy import IcyInterleaver


def separate(data: bytes, interval: int) -> tuple[bytes, list[bytes]]:
    """Separate audio and metadata blocks, as a player does."""
    audio, blocks, at = bytearray(), [], 0
    while at + interval <= len(data):
        audio += data[at : at + interval]
        at += interval
        length = data[at] * 16
        blocks.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    audio += data[at:]
    return bytes(audio), blocks


def test_a_title_becomes_a_block_padded_to_sixteen_bytes() -> None:
    out = IcyInterleaver(4).feed(b"abcdef", "Am9")
    assert out == b"abcd" + b"\x02" + b"StreamTitle='Am9';".ljust(32, b"\0") + b"ef"


def test_an_unchanged_title_is_one_zero_byte() -> None:
    assert IcyInterleaver(2).feed(b"abcdef", "")[-4:] == b"\0ef\0"


def test_quotes_cannot_end_the_field() -> None:
    out = IcyInterleaver(1).feed(b"a", "x';StreamUrl='y")
    assert out.count(b"'") == 2


@given(parts=st.lists(st.binary(max_size=50), max_size=20), interval=st.integers(1, 40), title=st.text(max_size=30))
def test_the_audio_comes_out_as_it_went_in(parts: list[bytes], interval: int, title: str) -> None:
    interleaver = IcyInterleaver(interval)
    out = b"".join(interleaver.feed(part, title) for part in parts)
    audio, blocks = separate(out, interval)
    whole = b"".join(parts)
    assert audio == whole
    assert len(blocks) == len(whole) // interval
    assert all(block == b"" for block in blocks[1:])
