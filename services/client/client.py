"""The connection: `Client` connects, comes back, and hands out sound (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

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
"""Closed for a reason that connecting again would meet again."""
_BEHIND_S: Final = 1.0
CLOSE_TIMEOUT_S: Final = 0.5


class ClientError(Exception):
    """The music cannot be had; the message says why and what to do."""


class RefusedError(ClientError):
    """The edge said no.

    Attributes:
        code: WebSocket close code, or the HTTP status of a refused upgrade.
        retry_after_s: when the edge asks to try again; None if it does not.
    """

    def __init__(self, message: str, *, code: int, retry_after_s: float | None = None) -> None:
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before connecting again.

    Attributes:
        first_s, max_s: the wait doubles from the one to the other.
        give_up_after_s: without a connection for so long, the client raises.
    """

    first_s: float = 0.1
    max_s: float = 5.0
    give_up_after_s: float = 60.0

    def wait_s(self, attempt: int, chance: float) -> float:
        """Seconds before attempt number `attempt` (from 0 on); `chance`, 0 to 1, spreads clients apart."""
        return min(self.max_s, self.first_s * 2.0 ** min(attempt, 30)) * (0.5 + chance / 2)


class Client:
    """A listener.

    Iterate over it for chunks in order, each once, as they arrive; or over `playout()` for sound at the pace of this
    machine's clock, where a change of the stream is heard within 300 ms. One of the two at a time.

    Args:
        url: `ws://host:port/ws` (or `wss://`).
        spec: the stream; None: the default one, shared with everybody who names nothing.
        format: "pcm" (binary), "opus" (a tenth of its size; needs the package `av`) or "json".
        events: ask for `hello`, `status` and `splice`: needed to resume and to report.
        headers: more HTTP headers for the upgrade, for example Authorization.
        reconnect: None: a broken connection is an error.
        report_every_s: how often the edge is told how the buffer stands; 0: never.
        on_event: is called with everything that the edge says, audio included, as it arrives.
    """

    def __init__(
        self,
        url: str,
        spec: StreamSpec | None = None,
        *,
        format: Format = "pcm",  # noqa: A002 - the word for it
        events: bool = True,
        headers: Mapping[str, str] | None = None,
        reconnect: Backoff | None = Backoff(),
        report_every_s: float = 1.0,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.url = url
        self.session = Session(spec or StreamSpec(), format=format, events=events)
        self.arrivals = Arrivals()
        self.player: Player | None = None
        """What `playout()` plays from."""
        self.bad_messages = 0
        """Messages that could not be read: counted and skipped."""
        self._timeline = Timeline()
        self._headers = dict(headers or {})
        self._backoff = reconnect
        self._report_every_s = report_every_s if self.session.events else 0.0
        self._reported_s = 0.0
        self._on_event = on_event
        self._connection: ClientConnection | None = None
        self._last_error = ""
        self._welcomed = True

    @property
    def spec(self) -> StreamSpec:
        """The stream that was asked for last."""
        return self.session.spec

    async def __aenter__(self) -> Self:
        """Connect and ask for the stream.

        Raises:
            RefusedError: the edge is full, or wants credentials.
            ClientError: nothing answers at `url`.
        """
        self.arrivals.connecting(time.monotonic())
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say stop and hang up."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(websockets.ConnectionClosed, OSError):
            await connection.send(self.session.stop_message())
        # The edge answers a stop by closing, but its closing frame may wait behind audio that nobody reads any more.
        try:
            await asyncio.wait_for(connection.close(), CLOSE_TIMEOUT_S)
        except TimeoutError:
            connection.transport.abort()
            await connection.wait_closed()

    async def update(self, **params: Any) -> None:
        """Change some of key, mode, bpm, intensity, preset, seed; the others stay.

        Raises:
            FieldError: a value cannot be used; nothing was sent.
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

        A splice that comes too late for what was handed out already is crossfaded into at the next chunk.

        Raises:
            ClientError: see `__aenter__`; also when the connection cannot be had again.
        """
        while True:
            event = await self._receive()
            if event is None:
                raise StopAsyncIteration
            if isinstance(event, Splice):
                self._timeline.splice(event.chunk_id)
            elif isinstance(event, Chunk):
                self._timeline.add(event.chunk_id, event.pcm)
                taken = self._timeline.take()
                if taken is not None:
                    return event if taken[1] is event.pcm else replace(event, pcm=taken[1])

    async def playout(self, *, start_chunks: int = 2, frames: int = CHUNK_FRAMES) -> AsyncIterator[bytes]:
        """Sound at the pace of this machine's clock, as a sound card would draw it.

        Yields s16le stereo of `frames` frames for every `frames` / 44,100 s, silence after the buffer has run dry.
        Drift against the edge's clock is corrected within +-0.2 %.

        Args:
            start_chunks: how many must be there before it starts.
            frames: frames at a time.
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
                    # The consumer stood still: it is not played all that it missed at once.
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
                player.splice(event.chunk_id)
            elif isinstance(event, Chunk):
                player.push(
                    event.chunk_id,
                    event.pcm,
                    buffer_depth=event.buffer_depth,
                    tier=event.tier,
                    now_s=event.received_s,
                )
                arrived.set()

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _receive(self) -> Event | None:
        """What the edge says next, over reconnections; None when it has ended the music."""
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
                if not self._welcomed:
                    # A plain connection is never told whether it was resumed.
                    self._welcome(recovered=None)
                self.arrivals.add(
                    event.chunk_id,
                    tier=event.tier,
                    received_s=event.received_s,
                    latency_s=event.received_unix_s - event.sent_unix_s,
                )
            case Hello():
                if event.recovered is not None and not self._welcomed:
                    self._welcome(recovered=event.recovered)
            case Splice():
                self.arrivals.splice(event.chunk_id)
            case ServerError():
                self._last_error = event.message
            case _:
                pass
        if self._on_event is not None:
            self._on_event(event)

    def _welcome(self, *, recovered: bool | None) -> None:
        self._welcomed = True
        self.arrivals.reconnected(recovered=recovered)

    async def _report(self, now_s: float) -> None:
        chunk_id = self.arrivals.next_id
        if not self._report_every_s or chunk_id is None or now_s - self._reported_s < self._report_every_s:
            return
        self._reported_s = now_s
        player = self.player
        buffer_s = self.arrivals.buffer_s(now_s) if player is None else player.level_s
        playing_id = max(0, chunk_id - 1 - int(buffer_s / TICK_S)) if player is None else player.playing_id
        if self._connection is None or playing_id is None:
            return
        message = self.session.report_message(
            chunk_id=playing_id,
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
                open_timeout=10,
                user_agent_header="auralis",
            )
        except websockets.InvalidStatus as error:
            raise _refusal(error) from error
        except websockets.InvalidURI as error:
            raise ClientError(f"{self.url!r} is no WebSocket address; give ws://host:port/ws.") from error
        except TimeoutError as error:
            raise ClientError(f"{self.url} did not answer within 10 s; is the address right?") from error
        except (OSError, websockets.InvalidHandshake) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ClientError(
                f"Nothing that plays answers at {self.url} ({reason}); is it running (`auralis up`)?"
            ) from error
        self._connection = connection
        with contextlib.suppress(websockets.ConnectionClosed):
            await connection.send(self.session.start_message(self.arrivals.next_id))

    async def _closed(self, code: int | None, reason: str) -> bool:
        """The connection has ended: get another. False when the music is over."""
        self.session.closed(code, reason)
        self._connection = None
        if code == CloseCode.STOPPED:
            return False
        said = reason or self._last_error or "no reason given"
        if code in _FINAL_CODES or (code == CloseCode.TRY_LATER and self.arrivals.chunks == 0):
            assert code is not None  # noqa: S101 - for the type checker: None is in neither
            raise RefusedError(f"The edge closed the connection ({code}): {said}.", code=code)
        if self._backoff is None:
            raise ClientError(f"The connection broke ({code or 'no close frame'}): {said}.")
        self._welcomed = False
        await self._connect_again(self._backoff, wait_first=code not in (None, CloseCode.RESTART))
        return True

    async def _connect_again(self, backoff: Backoff, *, wait_first: bool) -> None:
        began_s = time.monotonic()
        attempt = 0
        while True:
            if attempt or wait_first:
                await asyncio.sleep(backoff.wait_s(attempt, random.random()))  # noqa: S311 - spreads clients, no secret
            attempt += 1
            try:
                await self._connect()
            except ClientError as error:
                gone_s = time.monotonic() - began_s
                if isinstance(error, RefusedError) and error.retry_after_s is None and error.code != 503:
                    raise
                if gone_s > backoff.give_up_after_s:
                    raise ClientError(f"No connection for {gone_s:.0f} s. {error}") from error
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
    meanings = {401: "it wants credentials", 403: "it does not let this client in", 404: "there is no stream there"}
    meaning = meanings.get(status, "it is full or not ready" if status == 503 else "it refused")
    again = f"; it asks to try again in {retry_after_s:g} s" if retry_after_s is not None else ""
    detail = f" ({text})" if text else ""
    return RefusedError(
        f"The edge answered {status}: {meaning}{detail}{again}.", code=status, retry_after_s=retry_after_s
    )
