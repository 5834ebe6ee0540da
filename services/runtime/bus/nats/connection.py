"""A connection that comes back: one task connects, watches and starts again (shell: asyncio, nats).

There is one path for the first connection and for every later one, because nats-py's own reconnection gives up for good
on several errors that a server may send.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import nats.errors

from services.contract import subjects
from services.runtime.bus.limits import BusLimits
from services.runtime.bus.nats.client import BusClient, close_client, uninterrupted
from services.runtime.bus.nats.reasons import explain, sentence, without_credentials
from services.runtime.bus.port import BusError
from services.runtime.metrics import BusMetrics
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog
from services.runtime.settings import NatsSettings

_log = get_logger(__name__)

CONNECT_TIMEOUT_S: Final = 2.0
PING_INTERVAL_S: Final = 2.0
"""Two pings without an answer, so 4 to 6 s, and a connection that nobody closed is taken for dead."""
WATCH_INTERVAL_S: Final = 0.25
CHECK_INTERVAL_S: Final = 5.0
"""A server that lost its memory behind a connection that held (a cluster, a purge) is found so."""
FIRST_BACKOFF_S: Final = 0.05
MAX_BACKOFF_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What makes a connection of use, by who keeps it.

    Attributes:
        restore: makes streams and subscriptions on a fresh client, before anybody hears that the bus is back.
        settle: takes up what came meanwhile; from then on newcomers see that the bus is there.
        check: looks whether the server still holds the streams, and makes them again. May raise BusError.
        take_leave: gives back what is held, before the connection is closed.
    """

    restore: Callable[[BusClient], Awaitable[None]]
    settle: Callable[[BusClient], Awaitable[None]]
    check: Callable[[], Awaitable[None]]
    take_leave: Callable[[], Awaitable[None]]


class Connection:
    """A connection to NATS that comes back.

    Args:
        settings: where the bus is and how to sign in.
        upkeep: what is to be done when it comes, while it holds and before it goes.
        name: shown in the server's list of connections: service and instance.
        metrics: where errors and reconnections are counted.
        limits: how much may wait for the network.

    Attributes:
        client: the one in use; None while there is none. While it is being set up it is there, but not `live`.
    """

    def __init__(
        self, settings: NatsSettings, upkeep: Upkeep, *, name: str, metrics: BusMetrics, limits: BusLimits
    ) -> None:
        self.client: BusClient | None = None
        self._settings = settings
        self._upkeep = upkeep
        self._name = name
        self._metrics = metrics
        self._limits = limits
        self._urls = [url.strip() for url in settings.url.split(",") if url.strip()]
        self._live = False
        self._closing = False
        self._ready = asyncio.Event()
        self._wake_watch = asyncio.Event()
        self._check_due = False
        self._connect_error: Exception | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._rare_log = RateLimitedLog(_log)

    @property
    def connected(self) -> bool:
        """Whether messages would arrive now."""
        return self._live and self.client is not None and self.client.is_connected

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each re-connection, when streams exist again."""
        self._callbacks.append(callback)

    def require(self) -> BusClient:
        """The client, if messages would arrive now.

        Raises:
            BusError: the bus is away.
        """
        client = self.client
        if client is None or not self._live or not client.is_connected:
            raise BusError("the bus is away; try again when it is back")
        return client

    def check_now(self) -> None:
        """Look after the streams at once, not at the next check: the server lost one behind our back."""
        self._check_due = True
        self._wake_watch.set()

    def warn(self, event: str, detail: str, **fields: Any) -> None:
        """Log a warning; repeats with the same detail are held back and counted."""
        self._rare_log.warning(event, key=f"{event} {detail}", detail=detail, **fields)

    async def connect(self) -> None:
        """Return when the bus is there, trying for ever; idempotent.

        Raises:
            BusError: it was closed before.
        """
        if self._closing:
            raise BusError("this bus is closed; make a new one")
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name="bus")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._supervisor}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._ready.is_set():
            raise BusError("the bus was closed before it was connected")

    async def close(self) -> None:
        """Take leave, flush and disconnect; idempotent."""
        if self._closing:
            return
        self._closing = True
        await uninterrupted(self._end())

    async def _end(self) -> None:
        await self._upkeep.take_leave()
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
        client, self.client, self._live = self.client, None, False
        self._metrics.connected.set(0)
        if client is not None:
            await close_client(client)

    async def _supervise(self) -> None:
        attempt = 0
        been_up = False
        loop = asyncio.get_running_loop()
        while True:
            url = self._urls[attempt % len(self._urls)]
            self._connect_error = None
            client = BusClient()
            try:
                await self._open(client, url)
            except asyncio.CancelledError:
                await close_client(client)
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the service lives on and tries again
                delay_s = _backoff_s(attempt)
                attempt += 1
                self._metrics.errors.labels(kind=type(error).__name__).inc()
                if isinstance(error, nats.errors.NoServersError) and self._connect_error is not None:
                    error = self._connect_error
                self.warn("bus away", explain(url, error), next_attempt_s=round(delay_s, 2))
                await close_client(client)
                await asyncio.sleep(delay_s)
                continue
            since_s = loop.time()
            self._live = True
            await self._upkeep.settle(client)
            self._metrics.connected.set(1)
            self._ready.set()
            _log.info("bus connected", server=without_credentials(url), version=str(client.connected_server_version))
            if been_up:
                self._metrics.reconnects.inc()
                for callback in self._callbacks:
                    self._call(callback)
            been_up = True
            try:
                await self._watch(client)
            finally:
                self._live = False
                self.client = None
                self._metrics.connected.set(0)
                if not self._closing:
                    await close_client(client)
                else:
                    self.client = client
            # A connection that held is a fresh start; one that flaps backs off.
            attempt = 0 if loop.time() - since_s > MAX_BACKOFF_S else attempt + 1
            _log.warning("bus disconnected", server=without_credentials(url), detail="connecting again")
            await asyncio.sleep(_backoff_s(attempt))

    async def _open(self, client: BusClient, url: str) -> None:
        async with asyncio.timeout(3 * CONNECT_TIMEOUT_S):
            await client.connect(
                [url],
                name=self._name,
                allow_reconnect=False,
                # nats-py tries for ever at 0.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]  # it takes any number of seconds
                ping_interval=PING_INTERVAL_S,  # type: ignore[arg-type]  # as above
                max_outstanding_pings=2,
                # Ours is smaller: at theirs, publish() blocks.
                pending_size=4 * self._limits.publish_backlog_bytes,
                inbox_prefix=subjects.inboxes(self._settings.user),
                error_cb=self._on_error,
                closed_cb=self._on_closed,
                **_sign_in(self._settings),
            )
        self.client = client
        await self._upkeep.restore(client)

    async def _watch(self, client: BusClient) -> None:
        """Return when the connection is lost; meanwhile keep the streams there."""
        loop = asyncio.get_running_loop()
        check_s = loop.time() + _check_interval_s()
        while not client.is_closed and client.is_connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake_watch.wait(), WATCH_INTERVAL_S)
            self._wake_watch.clear()
            if client.reader_ended:
                # nats-py's read loop ends on an exception that it does not know, and says so only in a log.
                self._metrics.errors.labels(kind="ReadLoopEnded").inc()
                return
            if loop.time() >= check_s or self._check_due:
                self._check_due = False
                check_s = loop.time() + _check_interval_s()
                try:
                    await self._upkeep.check()
                except BusError as error:
                    self.warn("streams not checked", str(error))

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            self._metrics.dropped.labels(policy="subscription_newest").inc()
            return
        self._metrics.errors.labels(kind=type(error).__name__).inc()
        if self._live:
            # A lost connection is reported once, by the supervisor.
            if not isinstance(error, nats.errors.UnexpectedEOF | nats.errors.StaleConnectionError):
                self.warn("bus error", sentence(error))
        else:
            # nats-py raises "no servers available" for every failed attempt; this is why.
            self._connect_error = error

    async def _on_closed(self) -> None:
        self._wake_watch.set()

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:  # noqa: BLE001 - one listener's fault must not take the connection down
            self._metrics.callback_errors.inc()
            _log.exception("reconnect callback failed")


def _sign_in(settings: NatsSettings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.user:
        options |= {"user": settings.user, "password": settings.password}
    if settings.token:
        options["token"] = settings.token
    if settings.credentials_file:
        options["user_credentials"] = settings.credentials_file
    if settings.tls_ca_file:
        options["tls"] = ssl.create_default_context(cafile=settings.tls_ca_file)
    return options


def _check_interval_s() -> float:
    return CHECK_INTERVAL_S * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, hides nothing


def _backoff_s(attempt: int) -> float:
    """Seconds before the next attempt: doubling, half of it random, so that a fleet does not come back at once."""
    full_s: float = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(attempt, 10))
    return full_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
