"""Messages that are nearly right: known ones with a few bytes or words changed, the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

WORDS = (
    b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"-Infinity", b"18446744073709551616", b"0.30000000000000004",
    b'""', b'"\\u0000"', b'"\\ud800"', b"[]", b"{}", b"[[[[[[[[", b'{"a":' * 50, b"\xff\xfe", b"\xed\xa0\x80", b"\r\n",
    b" ", b"\0", b".", b"*", b">", b"-", b"%00", b"..", "é".encode(), "٣".encode(), b'"v":2', b'"v":1,"v":1',
    b"9" * 5000,
)  # fmt: skip
NUMBERS = (0, 1, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64 - 1)


def mutations(seeds: Sequence[bytes], count: int, *, seed: int, head_bytes: int = 4096) -> Iterator[bytes]:
    """`count` messages made of `seeds`.

    Args:
        seeds: right messages.
        count: how many.
        seed: of all chance.
        head_bytes: only so much of a message's beginning is changed, beside its length: the rest is payload.
    """
    chance = random.Random(seed)
    for _ in range(count):
        message = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            _change(message, seeds, chance, head_bytes)
        yield bytes(message)


def _change(message: bytearray, seeds: Sequence[bytes], chance: random.Random, head_bytes: int) -> None:
    place = chance.randint(0, min(len(message), head_bytes))
    end = min(len(message), place + chance.choice((1, 1, 2, 4, 8, 16)))
    match chance.randrange(8):
        case 0:
            message[place:end] = bytes(byte ^ 1 << chance.randrange(8) for byte in message[place:end])
        case 1:
            message[place:end] = chance.randbytes(end - place)
        case 2:
            del message[place:end]
        case 3:
            del message[chance.randint(0, len(message)) :]
        case 4:
            message[place:end] = chance.choice(WORDS)
        case 5:
            message[place:place] = message[place:end] * chance.choice((1, 2, 100))
        case 6:
            size = chance.choice((1, 2, 4, 8))
            number = chance.choice(NUMBERS) % 256**size
            message[place : place + size] = number.to_bytes(size, chance.choice(("little", "big")))
        case _:
            other = chance.choice(seeds)
            message[place:end] = other[place : place + chance.choice((4, 64, len(other)))]
