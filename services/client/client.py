"""`Client`: connects to an edge, reconnects, and yields sound (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from services.client.backoff import DEFAULT_BACKOFF, Backoff
from services.client.errors import ClientError, RefusedError
from services.client.playout import Player
from services.client.session import (
    MAX_MESSAGE_BYTES,
    Chunk,
    Event,
    Format,
    Hello,
    ServerError,
    Session,
    Splice,
    Status,
)
from services.client.statistics import Arrivals
from services.client.timeline import Timeline
from services.contract.errors import ContractError
from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_FRAMES, TICK_S
from services.contract.websocket import CloseCode

_FINAL_CODES: Final = frozenset(
    {CloseCode.POLICY, CloseCode.TOO_BIG, CloseCode.BAD_MESSAGE, CloseCode.UNAUTHORIZED, CloseCode.RATE}
)
"""Close codes after which connecting again would fail for the same reason."""
_BEHIND_S: Final = 1.0
"""A consumer of `playout` that is later than this is not sent what it missed."""
CLOSE_TIMEOUT_S: Final = 0.5
"""How long the edge may take to answer a close."""
OPEN_TIMEOUT_S: Final = 10
"""How long connecting may take."""


class Client:
    """A listener's connection to an edge, an async context manager.

    Iterate over the client for chunks as they arrive, in order and each once. Or iterate over `playout()` for sound at
    the pace of this machine's clock, where a change of the stream is heard within 300 ms. Use one of the two at a time.

    Args:
        url: `ws://host:port/ws` or `wss://host:port/ws`.
        spec: the stream; None: the default stream.
        format: "pcm" (binary), "opus" (a tenth of its size; needs the package `av`) or "json".
        events: ask for `hello`, `status` and `splice`; resuming and reporting need them.
        headers: further HTTP headers of the upgrade, such as Authorization.
        reconnect: how to reconnect; None: a broken connection is an error.
        report_every_s: seconds between two reports of the buffer to the edge; 0: none.
        on_event: called with each event as it arrives, chunks included.

    Attributes:
        url: as given.
        session: the protocol's state, with the stream and the resume token.
        arrivals: statistics of the chunks that arrived.
        player: the buffer of `playout()`; None while it does not run.
        bad_messages: messages that could not be read; they are counted and skipped.
    """

    def __init__(
        self,
        url: str,
        spec: StreamSpec | None = None,
        *,
        format: Format = "pcm",  # noqa: A002 - the word for it
        events: bool = True,
        headers: Mapping[str, str] | None = None,
        reconnect: Backoff | None = DEFAULT_BACKOFF,
        report_every_s: float = 1.0,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.url = url
        self.session = Session(spec or StreamSpec(), format=format, events=events)
        self.arrivals = Arrivals()
        self.player: Player | None = None
        self.bad_messages = 0
        self._timeline = Timeline()
        # By how much larger the ids of chunks would be without the jumps of the edge's clock.
        self._moved = 0
        self._headers = dict(headers or {})
        self._backoff = reconnect
        self._report_every_s = report_every_s if self.session.events else 0.0
        self._reported_s = 0.0
        self._on_event = on_event
        self._connection: ClientConnection | None = None
        self._last_error = ""
        self._resume_answered = True

    @property
    def spec(self) -> StreamSpec:
        """The stream that was requested last."""
        return self.session.spec

    async def __aenter__(self) -> Self:
        """Connect and start the stream.

        Raises:
            RefusedError: the edge is full or requires credentials.
            ClientError: no edge answers at `url`.
        """
        self.arrivals.connecting(time.monotonic())
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the stream and close the connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(websockets.ConnectionClosed, OSError):
            await connection.send(self.session.stop_message())
        # The edge answers a stop by closing, but its close frame may wait behind audio that is no longer read.
        try:
            await asyncio.wait_for(connection.close(), CLOSE_TIMEOUT_S)
        except TimeoutError:
            connection.transport.abort()
            await connection.wait_closed()

    async def update(self, **params: Any) -> None:
        """Change some values of the stream; the others stay.

        Args:
            params: by the names of `SPEC_FIELDS`: `bpm=60`, `brightness=0.7`, `levels={"pad": 0.5}`. Layers that
                `levels` does not name keep their level.

        Raises:
            FieldError: a value is not valid; nothing was sent.
        """
        message = self.session.update_message(params)
        if self._connection is not None:
            # If the connection has just broken, the next one starts with the new stream.
            with contextlib.suppress(websockets.ConnectionClosed):
                await self._connection.send(message)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        """Chunks as they arrive, in order and each once."""
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk.

        A splice at a chunk that was returned already is crossfaded into at the next chunk.

        Raises:
            StopAsyncIteration: the edge has ended the stream.
            ClientError: see `__aenter__`; also where reconnecting failed.
        """
        while True:
            event = await self._receive()
            if event is None:
                raise StopAsyncIteration
            if isinstance(event, Splice):
                self._timeline.splice(event.chunk_id + self._moved)
            elif isinstance(event, Chunk):
                self._timeline.add(event.chunk_id + self._moved, event.pcm)
                taken = self._timeline.take()
                if taken is not None:
                    return event if taken[1] is event.pcm else replace(event, pcm=taken[1])

    async def playout(self, *, start_chunks: int = 2, frames: int = CHUNK_FRAMES) -> AsyncIterator[bytes]:
        """Sound at the pace of this machine's clock, as a sound card reads it.

        Yields s16le stereo at 44.1 kHz, silence while the buffer is empty. Drift against the edge's clock is corrected
        within +-0.2 %.

        Args:
            start_chunks: chunks that must have arrived before it starts.
            frames: frames of each piece; one piece is yielded every `frames` / 44,100 s.

        Raises:
            ClientError: see `__anext__`.
        """
        player = self.player = Player(start_chunks=start_chunks)
        arrived = asyncio.Event()
        feeding = asyncio.create_task(self._feed(player, arrived))
        try:
            while len(player.timeline) < start_chunks and not feeding.done():
                arrived.clear()
                waiting = asyncio.create_task(arrived.wait())
                await asyncio.wait({waiting, feeding}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
            period_s = frames / CHUNK_FRAMES * TICK_S
            due_s = time.monotonic()
            while not (feeding.done() and player.level_s < period_s):
                yield player.pull(frames).tobytes()
                due_s += period_s
                now_s = time.monotonic()
                if now_s - due_s > _BEHIND_S:
                    # The consumer stood still: it goes on from now, and does not catch up.
                    due_s = now_s
                await asyncio.sleep(max(0.0, due_s - now_s))
            feeding.result()
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError, ClientError):
                await feeding
            self.player = None

    async def _feed(self, player: Player, arrived: asyncio.Event) -> None:
        while (event := await self._receive()) is not None:
            if isinstance(event, Splice):
                player.splice(event.chunk_id + self._moved)
            elif isinstance(event, Chunk):
                player.push(
                    event.chunk_id + self._moved,
                    event.pcm,
                    buffer_depth=event.buffer_depth,
                    tier=event.tier,
                    now_s=event.received_s,
                )
                arrived.set()

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _receive(self) -> Event | None:
        """The next event, across reconnections; None when the edge has ended the stream."""
        while True:
            connection = self._connection
            if connection is None:
                return None
            try:
                data = await connection.recv()
            except websockets.ConnectionClosed as error:
                close = error.rcvd
                if not await self._closed(close.code if close else None, close.reason if close else ""):
                    return None
                continue
            now_s = time.monotonic()
            try:
                event = self.session.receive(data, now_s=now_s, now_unix_s=time.time())
            except ContractError:
                self.bad_messages += 1
                continue
            if event is None:
                continue
            self._note(event)
            await self._report(now_s)
            return event

    def _note(self, event: Event) -> None:
        match event:
            case Chunk():
                if not self._resume_answered:
                    # Without events the edge does not say whether the stream was resumed.
                    self._note_reconnection(recovered=None)
                self.arrivals.add(
                    event.chunk_id + self._moved,
                    tier=event.tier,
                    received_s=event.received_s,
                    latency_s=event.received_unix_s - event.sent_unix_s,
                )
            case Hello():
                if event.recovered is not None and not self._resume_answered:
                    self._note_reconnection(recovered=event.recovered)
                    if not event.recovered and self._next_id is not None:
                        # The clock of this edge may be behind that of the one before.
                        self._moved += max(0, self._next_id - event.chunk_id)
            case Status():
                self._moved -= event.moved
            case Splice():
                self.arrivals.splice(event.chunk_id + self._moved)
            case ServerError():
                self._last_error = event.message
            case _:
                pass
        if self._on_event is not None:
            self._on_event(event)

    @property
    def _next_id(self) -> int | None:
        """The id after the last chunk that arrived, as the edge counts."""
        next_id = self.arrivals.next_id
        return None if next_id is None else next_id - self._moved

    def _note_reconnection(self, *, recovered: bool | None) -> None:
        self._resume_answered = True
        self.arrivals.reconnected(recovered=recovered)

    async def _report(self, now_s: float) -> None:
        chunk_id = self._next_id
        if not self._report_every_s or chunk_id is None or now_s - self._reported_s < self._report_every_s:
            return
        self._reported_s = now_s
        player = self.player
        buffer_s = self.arrivals.buffer_s(now_s) if player is None else player.level_s
        playing_id = chunk_id - 1 - int(buffer_s / TICK_S)
        if player is not None:
            playing_id = (player.playing_id or 0) - self._moved
        if self._connection is None or (player is not None and player.playing_id is None):
            return
        message = self.session.report_message(
            chunk_id=max(0, playing_id),
            buffer_ms=buffer_s * 1000,
            underruns=self.arrivals.underruns if player is None else player.underruns,
            jitter_ms=self.arrivals.jitter_ms,
        )
        with contextlib.suppress(websockets.ConnectionClosed):
            await self._connection.send(message)

    async def _connect(self) -> None:
        try:
            connection = await connect(
                self.url,
                subprotocols=[Subprotocol(name) for name in self.session.subprotocols] or None,
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                additional_headers=self._headers,
                open_timeout=OPEN_TIMEOUT_S,
                user_agent_header="auralis",
            )
        except websockets.InvalidStatus as error:
            raise _refusal(error) from error
        except websockets.InvalidURI as error:
            raise ClientError(f"{self.url!r}: expected a WebSocket address such as ws://host:port/ws.") from error
        except TimeoutError as error:
            raise ClientError(f"{self.url} did not answer within {OPEN_TIMEOUT_S} s; is the address right?") from error
        except (OSError, websockets.InvalidHandshake) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ClientError(f"No edge answers at {self.url} ({reason}); is it running (`auralis up`)?") from error
        self._connection = connection
        with contextlib.suppress(websockets.ConnectionClosed):
            await connection.send(self.session.start_message(self._next_id))

    async def _closed(self, code: int | None, reason: str) -> bool:
        """Reconnect after a connection has ended; False when the stream is over."""
        self.session.closed(code, reason)
        self._connection = None
        if code == CloseCode.STOPPED:
            return False
        cause = reason or self._last_error or "no reason given"
        if code in _FINAL_CODES or (code == CloseCode.TRY_LATER and self.arrivals.chunks == 0):
            assert code is not None  # noqa: S101 - for the type checker: None is in neither
            raise RefusedError(f"The edge closed the connection ({code}): {cause}.", code=code)
        if self._backoff is None:
            raise ClientError(f"The connection broke ({code or 'no close frame'}): {cause}.")
        self._resume_answered = False
        await self._connect_again(self._backoff, wait_first=code not in (None, CloseCode.RESTART))
        return True

    async def _connect_again(self, backoff: Backoff, *, wait_first: bool) -> None:
        lost_s = time.monotonic()
        attempt = 0
        while True:
            if attempt or wait_first:
                await asyncio.sleep(backoff.wait_s(attempt, random.random()))  # noqa: S311 - spreads clients, no secret
            attempt += 1
            try:
                await self._connect()
            except ClientError as error:
                without_s = time.monotonic() - lost_s
                if isinstance(error, RefusedError) and error.retry_after_s is None and error.code != 503:
                    raise
                if without_s > backoff.give_up_after_s:
                    raise ClientError(f"No connection for {without_s:.0f} s. {error}") from error
                if isinstance(error, RefusedError) and error.retry_after_s is not None:
                    await asyncio.sleep(min(error.retry_after_s, backoff.max_s))
            else:
                return


def _refusal(error: websockets.InvalidStatus) -> RefusedError:
    status = error.response.status_code
    try:
        retry_after_s: float | None = float(error.response.headers.get("Retry-After", ""))
    except ValueError:
        retry_after_s = None
    body = error.response.body
    text = bytes(body).decode("utf-8", "replace").strip()[:300] if body else ""
    meanings = {
        401: "it requires credentials",
        403: "it does not admit this client",
        404: "there is no stream at this path",
        503: "it is full or not ready",
    }
    meaning = meanings.get(status, "it refused the connection")
    again = f"; it asks to try again in {retry_after_s:g} s" if retry_after_s is not None else ""
    detail = f" ({text})" if text else ""
    return RefusedError(
        f"The edge answered {status}: {meaning}{detail}{again}.", code=status, retry_after_s=retry_after_s
    )
