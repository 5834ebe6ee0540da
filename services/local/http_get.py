"""A minimal HTTP GET (shell): it needs no client library, so `auralis up` starts without delay."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

_MAX_BYTES: Final = 2**20
"""Bytes of a body that are read; the rest is ignored."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status and body of an answer."""

    status: int
    body: bytes


async def get(host: str, port: int, path: str, *, timeout_s: float = 1.0) -> Response | None:
    """GET `path` over HTTP/1.0; at most 1 MiB of the body is read.

    Returns:
        The answer; None if none came within `timeout_s`, or if it was not HTTP.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _get(host, port, path)
    except (TimeoutError, OSError, ValueError, EOFError):
        return None


async def _get(host: str, port: int, path: str) -> Response:
    reader, writer = await asyncio.open_connection(host.strip("[]"), port)
    try:
        # With HTTP/1.0 the server closes at the end of the body and does not send it in chunks.
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status_line = (await reader.readline()).split(None, 2)
        if len(status_line) < 2 or not status_line[0].startswith(b"HTTP/"):
            raise ValueError("not HTTP")
        length = _MAX_BYTES
        while line := (await reader.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = min(length, int(value))
        body = bytearray()
        while len(body) < length and (part := await reader.read(length - len(body))):
            body += part
        return Response(int(status_line[1]), bytes(body))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
