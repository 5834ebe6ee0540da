"""Titles inside an MP3 stream (ICY metadata), for players that ask with `Icy-MetaData: 1`. Pure."""

from __future__ import annotations

from typing import Final

META_INTERVAL_BYTES: Final = 16_000
_MAX_BLOCKS: Final = 255
"""A title's length is one byte, in units of 16 bytes."""


class IcyInterleaver:
    """Puts a metadata block after every `interval_bytes` of audio.

    A block is empty (one zero byte) unless the title has changed since the last one.

    Args:
        interval_bytes: what the `icy-metaint` header says.
    """

    def __init__(self, interval_bytes: int = META_INTERVAL_BYTES) -> None:
        if interval_bytes < 1:
            raise ValueError(f"interval_bytes: got {interval_bytes}, expected at least 1")
        self._interval = interval_bytes
        self._left = interval_bytes
        self._said: str | None = None

    def feed(self, audio: bytes, title: str) -> bytes:
        """`audio` with the metadata blocks that fall into it."""
        out = bytearray()
        start = 0
        while len(audio) - start >= self._left:
            out += audio[start : start + self._left]
            start += self._left
            self._left = self._interval
            out += self._block(title)
        out += audio[start:]
        self._left -= len(audio) - start
        return bytes(out)

    def _block(self, title: str) -> bytes:
        if title == self._said:
            return b"\0"
        self._said = title
        # The field is quoted and has no escape: a quote or semicolon in it would end it.
        clean = "".join(c for c in title if c not in "';" and c.isprintable())
        text = f"StreamTitle='{clean}';".encode()[: _MAX_BLOCKS * 16]
        blocks = -(-len(text) // 16)
        return bytes((blocks,)) + text.ljust(blocks * 16, b"\0")
