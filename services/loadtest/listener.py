"""One listener: it connects, measures, and connects again when the connection ends (shell)."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.frames import Close
from websockets.frames import CloseCode as StandardCloseCode

from services.contract.spec import StreamSpec
from services.contract.websocket import CloseCode
from services.loadtest import messages
from services.loadtest.connection import Connection, Refused
from services.loadtest.frames import FrameError
from services.loadtest.tally import Position, Tally

CONNECT_TIMEOUT_S: Final = 10.0
"""How long connecting and the upgrade may take together."""
FIRST_WAIT_S: Final = 0.1
"""Pause after a first attempt that failed; it doubles with each further one."""
MAX_WAIT_S: Final = 5.0
"""Longest pause between two attempts."""
GIVE_UP_S: Final = 60.0
"""How long a listener tries to connect before it counts as failed."""
GOODBYE_S: Final = 0.5
"""How long a stopped connection stays open, so that its stop message is sent."""

_FINAL_CODES: Final = frozenset({CloseCode.STOPPED, CloseCode.BAD_MESSAGE, CloseCode.UNAUTHORIZED, CloseCode.POLICY})
"""Close codes after which connecting again is of no use."""


@dataclass(frozen=True)
class ListenerOptions:
    """What the listeners of one process do.

    Attributes:
        url: ws://HOST:PORT/ws.
        listeners: number of listeners in this process.
        seconds: how long all of them listen, after the ramp.
        ramp_s: seconds over which they start.
        streams: different streams that the listeners of all processes are spread over.
        seed: of the first stream.
        first: number of this process's first listener, among all processes.
        wire: format of the messages.
        token: a JWT; None without one.
    """

    url: str
    listeners: int
    seconds: float
    ramp_s: float = 10.0
    streams: int = 8
    seed: int = 1
    first: int = 0
    wire: messages.Wire = "pcm"
    token: str | None = None


class Listener:
    """One listener, over any number of connections.

    Args:
        options: of its process.
        number: among the listeners of all processes; decides about its stream.
        tally: counts what arrives.
    """

    def __init__(self, options: ListenerOptions, number: int, tally: Tally) -> None:
        self._options = options
        self._tally = tally
        self._spec = StreamSpec.from_params({"seed": options.seed + number % options.streams})
        self._position = Position(time.monotonic())
        self._resume_token: str | None = None
        self._reconnecting = False

    def receive(self, message: messages.Audio | dict[str, Any]) -> None:
        """Count a message."""
        if isinstance(message, messages.Audio):
            self._tally.chunk(self._position, message.chunk_id, message.tier, time.monotonic())
            if self._reconnecting:
                # JSON without events: the edge does not say whether the stream was resumed.
                self._reconnected(recovered=None)
            return
        token = message.get("resume")
        if isinstance(token, str) and token:
            self._resume_token = token
        match message.get("type"):
            case "hello":
                if self._reconnecting and isinstance(message.get("recovered"), bool):
                    self._reconnected(recovered=message["recovered"])
            case "splice":
                self._tally.splice(self._position, int(message["chunk_id"]))
            case "status":
                self._tally.skips += message.get("state") == "skipped"
            case _:
                pass

    def _reconnected(self, *, recovered: bool | None) -> None:
        self._reconnecting = False
        self._tally.reconnected(self._position, recovered=recovered)

    async def listen(self) -> None:
        """Listen until cancelled, or until connecting again is of no use."""
        self._tally.listeners += 1
        self._position.began_s = time.monotonic()
        wait_s = 0.0
        lost_s = time.monotonic()
        while True:
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads listeners, no secret
            try:
                close = await self._one_connection()
            except Refused as error:
                self._tally.refused += 1
                problem = str(error)
                wait_s = min(error.retry_after_s or max(FIRST_WAIT_S, 2 * wait_s), MAX_WAIT_S)
            except (OSError, TimeoutError, FrameError) as error:
                problem = str(error) or type(error).__name__
                wait_s = min(max(FIRST_WAIT_S, 2 * wait_s), MAX_WAIT_S)
            else:
                if close.code in _FINAL_CODES:
                    self._tally.failed(f"the edge closed with {close.code} {close.reason}".strip())
                    return
                if close.code == CloseCode.RESTART and close.reason:
                    self._resume_token = close.reason
                problem = f"the edge closed with {close.code}"
                self._reconnecting = self._position.last_id is not None
                wait_s = 0.0 if close.code in {CloseCode.RESTART, StandardCloseCode.ABNORMAL_CLOSURE} else FIRST_WAIT_S
                lost_s = time.monotonic()
            if time.monotonic() - lost_s > GIVE_UP_S:
                self._tally.failed(problem)
                return

    async def _one_connection(self) -> Close:
        """Connect and listen until the connection ends; returns its close frame."""
        options = self._options
        address = urlsplit(options.url)
        secure = address.scheme == "wss"
        loop = asyncio.get_running_loop()
        connection = Connection(options.url, options.wire, options.token, self._tally, self)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.create_connection(
                lambda: connection, address.hostname or "", address.port or (443 if secure else 80), ssl=secure or None
            )
            try:
                await connection.opened
            except BaseException:
                connection.abort()
                raise
        self._tally.listening += 1
        try:
            connection.send(messages.start(self._spec, resume=self._resume_token, next_id=self._position.next_id))
            return await connection.closed
        except asyncio.CancelledError:
            connection.send(messages.stop())
            raise
        finally:
            self._tally.listening -= 1
            if not connection.closed.done():
                loop.call_later(GOODBYE_S, connection.abort)
