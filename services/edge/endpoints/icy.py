"""Pure: titles inside an MP3 stream (ICY metadata); players ask with `Icy-MetaData: 1`."""

from __future__ import annotations

from typing import Final

META_INTERVAL_BYTES: Final = 16_000
"""Bytes of audio between two metadata blocks; the `icy-metaint` header says so."""
_UNIT_BYTES: Final = 16
_MAX_UNITS: Final = 255
"""A metadata block begins with its length in units of 16 bytes, which is one byte."""


class IcyInterleaver:
    """Puts a metadata block after every `interval_bytes` of audio.

    A block is empty (one zero byte) unless the title has changed since the last block.

    Args:
        interval_bytes: at least 1.

    Raises:
        ValueError: `interval_bytes` is below 1.
    """

    def __init__(self, interval_bytes: int = META_INTERVAL_BYTES) -> None:
        if interval_bytes < 1:
            raise ValueError(f"interval_bytes: got {interval_bytes}, expected at least 1")
        self._interval_bytes = interval_bytes
        self._until_block_bytes = interval_bytes
        self._last_title: str | None = None

    def feed(self, audio: bytes, title: str) -> bytes:
        """`audio` with the metadata blocks that are due within it."""
        out = bytearray()
        start = 0
        while len(audio) - start >= self._until_block_bytes:
            out += audio[start : start + self._until_block_bytes]
            start += self._until_block_bytes
            self._until_block_bytes = self._interval_bytes
            out += self._block(title)
        out += audio[start:]
        self._until_block_bytes -= len(audio) - start
        return bytes(out)

    def _block(self, title: str) -> bytes:
        if title == self._last_title:
            return b"\0"
        self._last_title = title
        # The field is quoted and has no escape, so a quote or semicolon would end it.
        clean = "".join(c for c in title if c not in "';" and c.isprintable())
        text = f"StreamTitle='{clean}';".encode()[: _MAX_UNITS * _UNIT_BYTES]
        units = -(-len(text) // _UNIT_BYTES)
        return bytes((units,)) + text.ljust(units * _UNIT_BYTES, b"\0")
