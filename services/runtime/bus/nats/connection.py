"""A connection that comes back: one task connects, watches and starts again (shell: asyncio, nats).

The first connection and all later ones take the same path, because nats-py's own reconnection gives up for good on
several errors of a server.
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
"""How long a server may take to accept a connection."""
PING_INTERVAL_S: Final = 2.0
"""A connection counts as lost after two pings without an answer: 4 to 6 s."""
WATCH_INTERVAL_S: Final = 0.25
"""Seconds between two looks at whether the connection holds."""
CHECK_INTERVAL_S: Final = 5.0
"""Seconds between two checks of the streams: a server may lose them while the connection holds (cluster, purge)."""
FIRST_BACKOFF_S: Final = 0.05
MAX_BACKOFF_S: Final = 2.0
"""Wait before the next attempt: doubled each time up to `MAX_BACKOFF_S`, half of it random."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Steps of a connection's life that its owner provides.

    Attributes:
        restore: makes streams and subscriptions on a fresh client, before the bus counts as connected.
        settle: makes the subscriptions that were added meanwhile; the bus counts as connected by now.
        check: makes the streams again that the server has lost; may raise BusError.
        release: gives back jobs in hand, before the connection is closed.
    """

    restore: Callable[[BusClient], Awaitable[None]]
    settle: Callable[[BusClient], Awaitable[None]]
    check: Callable[[], Awaitable[None]]
    release: Callable[[], Awaitable[None]]


class Connection:
    """A connection to NATS that reconnects by itself.

    Args:
        settings: where the bus is and how to sign in.
        upkeep: steps after it is made, while it holds and before it is closed.
        name: shown in the server's list of connections: service and instance.
        metrics: where errors and reconnections are counted.
        limits: bounds of the bytes that wait for the network.

    Attributes:
        client: the client in use; None while there is none. While it is being set up, `connected` is False.
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
        """Call `callback` after each reconnection, when the streams exist again."""
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
        """Check the streams now and not at the next interval: the server has lost one."""
        self._check_due = True
        self._wake_watch.set()

    def warn(self, event: str, detail: str, **fields: Any) -> None:
        """Log a warning; repeats with the same detail are held back and counted."""
        self._rare_log.warning(event, key=f"{event} {detail}", detail=detail, **fields)

    async def connect(self) -> None:
        """Return when the bus is connected, trying for ever; idempotent.

        Raises:
            BusError: it has been closed.
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
        """Give jobs back, flush and disconnect; idempotent."""
        if self._closing:
            return
        self._closing = True
        await uninterrupted(self._end())

    async def _end(self) -> None:
        await self._upkeep.release()
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
            except Exception as error:  # noqa: BLE001 - the service lives on and tries again after any error
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
            # A connection that held resets the backoff; one that flaps does not.
            attempt = 0 if loop.time() - since_s > MAX_BACKOFF_S else attempt + 1
            _log.warning("bus disconnected", server=without_credentials(url), detail="connecting again")
            await asyncio.sleep(_backoff_s(attempt))

    async def _open(self, client: BusClient, url: str) -> None:
        async with asyncio.timeout(3 * CONNECT_TIMEOUT_S):
            await client.connect(
                [url],
                name=self._name,
                allow_reconnect=False,
                # At 0, nats-py tries for ever.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]  # it takes any number of seconds
                ping_interval=PING_INTERVAL_S,  # type: ignore[arg-type]  # as above
                max_outstanding_pings=2,
                # Larger than our own bound, because publish() blocks at this one.
                pending_size=4 * self._limits.publish_backlog_bytes,
                inbox_prefix=subjects.inboxes(self._settings.user, self._name),
                error_cb=self._on_error,
                closed_cb=self._on_closed,
                **_sign_in(self._settings),
            )
        self.client = client
        await self._upkeep.restore(client)

    async def _watch(self, client: BusClient) -> None:
        """Return when the connection is lost; until then, keep the streams in place."""
        loop = asyncio.get_running_loop()
        check_s = loop.time() + _check_interval_s()
        while not client.is_closed and client.is_connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake_watch.wait(), WATCH_INTERVAL_S)
            self._wake_watch.clear()
            if client.reader_ended:
                # nats-py's read loop ends on an unknown exception, which it only logs.
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
            # The supervisor reports a lost connection, once.
            if not isinstance(error, nats.errors.UnexpectedEOF | nats.errors.StaleConnectionError):
                self.warn("bus error", sentence(error))
        else:
            # nats-py raises "no servers available" for each failed attempt; this is the cause.
            self._connect_error = error

    async def _on_closed(self) -> None:
        self._wake_watch.set()

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:  # noqa: BLE001 - a failed callback must not end the connection
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
    """Seconds before the next attempt: doubled each time, half of it random, so that a fleet spreads out."""
    full_s: float = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(attempt, 10))
    return full_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
