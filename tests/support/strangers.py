"""Connections of strangers: nearly right requests and frames, in pieces, left in every way; the same for a seed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from services.runtime.observability.logging import configure_logging
from services.runtime.settings import Settings
from tests.edge.raw_clients import masked
from tests.edge.support import UPGRADE
from tests.fuzz.mutation import mutations

Leave = Literal["close", "reset", "half-close", "wait"]
LEAVES: Final[tuple[Leave, ...]] = ("close", "reset", "half-close", "wait")

PATIENCE_S: Final = 0.1
"""How long a patient stranger waits for an answer, in seconds: an edge answers within a turn of its loop."""

MAX_PIECES: Final = 60
"""Frames that a stranger sends at most, and twice the requests."""


def get(path: bytes, *headers: bytes, method: bytes = b"GET", host: bytes = b"127.0.0.1") -> bytes:
    """A request with one Host."""
    return b"\r\n".join((method + b" " + path + b" HTTP/1.1", b"Host: " + host, *headers, b"", b""))


REQUESTS: Final = (
    get(b"/"), get(b"/api/status"), get(b"/api/streams"), get(b"/api/options"), get(b"/healthz"), get(b"/readyz"),
    get(b"/metrics"), get(b"/metrics?scope=self"), get(b"/api/fleet"), get(b"/api/history"), get(b"/api/alerts"),
    get(b"/api/autoscale?assumed_streams=nan"), get(b"/api/events", b"Accept: text/event-stream"),
    get(b"/stream.mp3"), get(b"/stream.mp3?key=D&bpm=90", b"Icy-MetaData: 1"), get(b"/stream.opus?level.pad=0.5"),
    get(b"/record?seconds=3"), get(b"/record?seconds=3&format=opus&key=C"), get(b"/listen.m3u?token=a.b.c"),
    get(b"/stream.mp3", method=b"HEAD"), get(b"/", method=b"OPTIONS"), get(b"/ws", method=b"POST"),
    get(b"/ws"), get(b"/stream.mp3", b"Content-Length: 3") + b"abc",
    get(b"/ws", b"Transfer-Encoding: chunked", method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n",
    get(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"),
    get(b"/", b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQ"),
    get(b"/healthz", b"Cookie: a=b; c", b"Range: bytes=0-", b"Accept: */*;q=x", b"Content-Type: a/b; charset=q"),
    b"GET / HTTP/1.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    get(b"http://127.0.0.1/healthz"), get(b"//healthz"), get(b"/%00%ff/..;/ws"), get(b"*", method=b"OPTIONS"),
)  # fmt: skip
UPGRADE_HEADERS: Final = UPGRADE[UPGRADE.index(b"Upgrade") : -2].split(b"\r\n")[:-1]
UPGRADES: Final = (
    UPGRADE,
    *(
        get(path, *UPGRADE_HEADERS)
        for path in (b"/", b"/nope", b"/stream.mp3", b"/record", b"/healthz", b"/ws?token=x")
    ),
    get(b"/ws", *UPGRADE_HEADERS, b"Sec-WebSocket-Protocol: auralis.opus.v1, x"),
    get(b"/ws", *UPGRADE_HEADERS, b"Content-Length: 3"),
    get(b"/ws", *UPGRADE_HEADERS, b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    get(b"/ws", *UPGRADE_HEADERS, b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
    get(b"/ws", *UPGRADE_HEADERS, b"Origin: https://elsewhere.example"),
    get(b"/ws", *UPGRADE_HEADERS, method=b"POST"),
)
FRAMES: Final = (
    masked(1, b'{"type":"control","action":"start"}'), masked(1, b'{"type":"control","action":"stop"}'),
    masked(1, b'{"type":"control","action":"update","params":{"bpm":90}}'), masked(1, b"\xff\xfe"), masked(2, b"ab"),
    masked(8, b"\x03\xe8"), masked(8, b"\x00"), masked(8, b"\x03\xe8\xff"), masked(9, b"p"), masked(10, b"q"),
    masked(0, b"x"), masked(1, b"a", fin=False), masked(3, b"r"), masked(9, bytes(126)), masked(9, b"p", fin=False),
    b"\x81\x02ab", b"\xc1\x80\0\0\0\0", b"\x81\xff" + bytes(8), b"\x81\xff" + b"\xff" * 12, masked(1, bytes(5000)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Visit:
    """What one stranger sends, piece by piece, and how it leaves."""

    pieces: tuple[bytes, ...]
    leave: Leave
    stay_s: float
    patient: bool
    """Whether it waits for an answer to the first piece; one that does can be upgraded before its frames come."""


def visits(count: int, *, seed: int) -> Iterator[Visit]:
    """`count` visits, of all kinds."""
    chance = random.Random(seed)
    changed = mutations([*REQUESTS, *UPGRADES], MAX_PIECES * count, seed=seed)
    frames = mutations(FRAMES, MAX_PIECES * count, seed=seed)
    for _ in range(count):
        requests = [
            chance.choice((REQUESTS, UPGRADES)[chance.random() < 0.5]) if chance.random() < 0.6 else next(changed)
            for _ in range(chance.choice((1, 1, 1, 2, 3, MAX_PIECES // 2)))
        ]
        pieces = [b"".join(requests)] if chance.random() < 0.7 else requests
        if chance.random() < 0.2:
            whole = b"".join(pieces)
            place = chance.randint(0, len(whole))
            pieces = [whole[:place], whole[place:]]
        for _ in range(chance.choice((0, 0, 1, 2, 5, MAX_PIECES))):
            pieces.append(chance.choice(FRAMES) if chance.random() < 0.6 else next(frames))
        yield Visit(tuple(pieces), chance.choice(LEAVES), chance.choice((0.0, 0.0, 0.01, 0.05)), chance.random() < 0.5)


async def visit(port: int, stranger: Visit) -> bytes:
    """Send and leave; the bytes that came back.

    The client's errors are not the server's: a server may reset at any moment.
    """
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)  # noqa: FBT003 - the standard library's signature
    answer = b""
    with contextlib.closing(client), contextlib.suppress(OSError, TimeoutError):
        await loop.sock_connect(client, ("127.0.0.1", port))
        for number, piece in enumerate(stranger.pieces):
            await asyncio.wait_for(loop.sock_sendall(client, piece), 1)
            if number == 0 and stranger.patient:
                with contextlib.suppress(TimeoutError):
                    answer += await asyncio.wait_for(loop.sock_recv(client, 65536), PATIENCE_S)
            else:
                await asyncio.sleep(0)
        if stranger.leave == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if stranger.leave == "half-close":
            client.shutdown(socket.SHUT_WR)
        if stranger.leave in ("half-close", "wait") or stranger.stay_s:
            async with asyncio.timeout(stranger.stay_s or 0.02):
                while part := await loop.sock_recv(client, 65536):
                    answer += part
    return answer


class Lines:
    """The log lines of a process, as an operator would see them.

    Attributes:
        stream: gets them, as JSON.
    """

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def texts(self) -> list[str]:
        """Each line."""
        return self.stream.getvalue().splitlines()


@contextlib.asynccontextmanager
async def listening_for_lines() -> AsyncIterator[Lines]:
    """Collect the lines of every logger from INFO on, as in production."""
    lines = Lines()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging(Settings(log_format="json"), service="edge", stream=lines.stream)
    logging.captureWarnings(capture=False)
    try:
        yield lines
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
