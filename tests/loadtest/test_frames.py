from __future__ import annotations

import random

import pytest
from websockets.frames import Frame, Opcode

from services.loadtest.frames import BINARY, CLOSE, HEAD_BYTES, PING, TEXT, FrameError, FrameReader, Message


def wire(opcode: Opcode, data: bytes, *, mask: bool = False) -> bytes:
    return Frame(opcode, data).serialize(mask=mask)


def test_a_short_message_is_kept_whole_and_of_a_long_one_the_head() -> None:
    reader = FrameReader()
    long = bytes(range(256)) * 70
    found = reader.feed(wire(Opcode.TEXT, b'{"type":"hello"}') + wire(Opcode.BINARY, long))
    assert found == [Message(TEXT, 16, b'{"type":"hello"}'), Message(BINARY, len(long), long[:HEAD_BYTES])]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 4096, 4097, 65535, 65536, 100_000])
def test_every_length_of_a_header_is_read(length: int) -> None:
    (message,) = FrameReader().feed(wire(Opcode.BINARY, bytes(length)))
    assert message.length == length
    assert len(message.head) == (length if length <= 4096 else HEAD_BYTES)


def test_pieces_of_any_size_give_the_same_messages() -> None:
    rng = random.Random(7)
    texts = [bytes([number]) * rng.choice([0, 3, 125, 126, 300, 17_660, 70_000]) for number in range(40)]
    whole = b"".join(wire(Opcode.BINARY, text) for text in texts)
    expected = FrameReader().feed(whole)
    assert [message.length for message in expected] == [len(text) for text in texts]
    for longest in (1, 2, 5, 1000, 50_000):
        reader, found, at = FrameReader(), [], 0
        while at < len(whole):
            step = rng.randint(1, longest)
            found += reader.feed(memoryview(whole)[at : at + step])
            at += step
        assert found == expected


def test_a_message_is_complete_with_its_last_byte() -> None:
    reader = FrameReader()
    whole = wire(Opcode.BINARY, bytes(5000))
    assert reader.feed(whole[:-1]) == []
    assert len(reader.feed(whole[-1:])) == 1


def test_control_frames_are_told_apart() -> None:
    data = wire(Opcode.PING, b"x") + wire(Opcode.CLOSE, b"\x03\xf4token")
    assert [message.opcode for message in FrameReader().feed(data)] == [PING, CLOSE]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x02\x01x", "begins with 0x02"),
        (b"\x83\x01x", "begins with 0x83"),
        (bytes.fromhex("8181 01020304 79"), "masked"),
        (b"\x82\x7f" + (1 << 40).to_bytes(8), "1099511627776 bytes"),
    ],
)
def test_bytes_that_no_edge_sends_are_an_error(data: bytes, said: str) -> None:
    with pytest.raises(FrameError, match=said):
        FrameReader().feed(data)
