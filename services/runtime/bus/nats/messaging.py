"""Core messages: bounded publishing, lasting subscriptions, requests with many answers (shell: asyncio, nats)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsPySubscription
from nats.nuid import NUID

from services.runtime.bus.limits import MIB, BusLimits
from services.runtime.bus.nats.client import BusClient, status_of
from services.runtime.bus.nats.connection import Connection
from services.runtime.bus.nats.reasons import sentence
from services.runtime.bus.port import BusError, Message
from services.runtime.metrics import BusMetrics
from services.runtime.observability.logging import get_logger

_log = get_logger(__name__)

CAPACITY_WAIT_S: Final = 0.25
"""How long a message waits for the network; after one that waited in vain, the next ones do not wait."""
_CAPACITY_POLL_S: Final = 0.002
FENCE_TIMEOUT_S: Final = 2.0
"""How long the server may take to answer a fence."""
FINISH_TIMEOUT_S: Final = 1.0
"""How long a subscription may take to handle its last messages."""


class Messaging:
    """Messages over a connection, across its changes of client.

    Args:
        connection: carries them.
        inboxes: prefix of the subjects on which this instance receives answers of the server.
        answers: prefix of the subjects on which services answer this user.
        metrics: where drops are counted.
        limits: bounds of the messages that wait.
    """

    def __init__(
        self, connection: Connection, *, inboxes: str, answers: str, metrics: BusMetrics, limits: BusLimits
    ) -> None:
        self.metrics = metrics
        self.limits = limits
        self._connection = connection
        self._subscriptions: list[NatsSubscription] = []
        self._stalled = False
        self._tokens = NUID()
        self._inboxes = inboxes
        self._inbox = self.new_inbox()
        # Subject for a reply -> receiver of its answers.
        self._waiting: dict[str, Callable[[Msg], None]] = {}
        self._subscriptions.append(NatsSubscription(self, f"{self._inbox}.*", self._answered))
        self._answers = f"{answers}.{self._tokens.next().decode()}"
        self._gathering: NatsSubscription | None = None

    def new_inbox(self) -> str:
        """A prefix of subjects that is not in use."""
        return f"{self._inboxes}.{self._tokens.next().decode()}"

    async def send(self, client: BusClient, subject: str, data: bytes, reply: str = "") -> None:
        """Send a message now; if the network does not take it in time, it is dropped and counted.

        Raises:
            BusError: disconnected, or the message is larger than the server accepts.
        """
        if not await self._has_capacity(client, len(data)):
            self.metrics.dropped.labels(policy="publish_backlog").inc()
            self._connection.warn(
                "message dropped", "the network is slower than what is published; late audio is worthless"
            )
            return
        try:
            await client.publish(subject, data, reply=reply)
        except nats.errors.MaxPayloadError as error:
            raise BusError(f"message of {len(data)} bytes; the server accepts {client.max_payload}") from error
        except (nats.errors.Error, OSError) as error:
            raise BusError(f"not sent: {sentence(error)}") from error

    async def _has_capacity(self, client: BusClient, size_bytes: int) -> bool:
        """Whether the backlog has capacity for `size_bytes`; waits a moment for it.

        A publisher of a large batch does not yield to the loop, and nothing is sent until it does. So without a pause
        any network would seem too slow.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + (0.0 if self._stalled else CAPACITY_WAIT_S)
        while client.backlog_bytes + size_bytes > self.limits.publish_backlog_bytes:
            if loop.time() >= until_s:
                self._stalled = True
                return False
            await asyncio.sleep(_CAPACITY_POLL_S)
        self._stalled = False
        return True

    # --- subscriptions ---------------------------------------------------------------------------------------------

    async def add(self, subscription: NatsSubscription) -> None:
        """Subscribe, on this connection and all later ones; messages sent after this returns are received."""
        self._subscriptions.append(subscription)
        if not self._connection.connected:
            return  # attached after the reconnection
        client = self._connection.require()
        with contextlib.suppress(nats.errors.Error, OSError, BusError):
            await subscription.attach(client)
            await self.fence(client)

    def discard(self, subscription: NatsSubscription) -> None:
        """Forget a subscription that has closed."""
        with contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)

    async def attach(self, client: BusClient) -> None:
        """Make all subscriptions on a fresh client; messages sent before this returns may be missed."""
        for subscription in list(self._subscriptions):
            await subscription.attach(client)
        # From here on all subscriptions receive, so callbacks of `on_reconnect` may send requests.
        await self.fence(client)

    async def attach_latecomers(self, client: BusClient) -> None:
        """Make the subscriptions that were added during `attach`."""
        for subscription in list(self._subscriptions):
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.attach(client)

    # --- answers ---------------------------------------------------------------------------------------------------

    def reply_subject(self, arrived: Callable[[Msg], None]) -> contextlib.AbstractContextManager[str]:
        """A subject for the server's answers, which go to `arrived` while the context lasts."""
        return self._awaited(self._inbox, arrived)

    @contextlib.contextmanager
    def _awaited(self, inbox: str, arrived: Callable[[Msg], None]) -> Iterator[str]:
        subject = f"{inbox}.{self._tokens.next().decode()}"
        self._waiting[subject] = arrived
        try:
            yield subject
        finally:
            del self._waiting[subject]

    def _answered(self, message: Msg) -> None:
        arrived = self._waiting.get(message.subject)
        if arrived is not None:
            arrived(message)

    async def gather(self, subject: str, data: bytes, *, wait_s: float) -> AsyncIterator[Message]:
        """Ask all subscribers of `subject`; yields answers as they arrive, for `wait_s`.

        Raises:
            BusError: disconnected.
        """
        client = self._connection.require()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        answers: asyncio.Queue[Msg] = asyncio.Queue(self.limits.gather_messages)

        def arrived(message: Msg) -> None:
            try:
                answers.put_nowait(message)
            except asyncio.QueueFull:
                self.metrics.dropped.labels(policy="gather_newest").inc()

        if self._gathering is None:
            self._gathering = NatsSubscription(self, f"{self._answers}.*", self._answered)
            await self.add(self._gathering)
        with self._awaited(self._answers, arrived) as reply:
            await self.send(client, subject, data, reply)
            while (left_s := deadline_s - loop.time()) > 0:
                try:
                    message = await asyncio.wait_for(answers.get(), left_s)
                except TimeoutError:
                    return
                if status_of(message):
                    return  # 503: there is no subscriber
                yield Message(message.subject, message.data, message.reply)

    async def fence(self, client: BusClient) -> None:
        """Return when the server has handled everything sent before.

        Raises:
            BusError: no answer.
        """
        try:
            await client.answered(FENCE_TIMEOUT_S)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise BusError(f"no answer from the server ({sentence(error)})") from error


class NatsSubscription:
    """A subscription that outlives connections; its handler is called for each message, in order.

    Args:
        messaging: its owner.
        subject: a subject or a filter.
        handler: called for each message.
        drops_oldest: keep the limits of a subscription. Answers to requests need no limits: the request bounds them.
    """

    def __init__(
        self, messaging: Messaging, subject: str, handler: Callable[[Msg], None], *, drops_oldest: bool = False
    ) -> None:
        self.subject = subject
        self._drops_oldest = drops_oldest
        self._messaging = messaging
        self._handler = handler
        self._limits = messaging.limits
        self._metrics = messaging.metrics
        self._live: NatsPySubscription | None = None
        self._client: BusClient | None = None
        self._closed = False

    async def attach(self, client: BusClient) -> None:
        """Subscribe on `client`; a second call for the same one does nothing."""
        if self._closed or self._client is client:
            return
        self._client = client
        self._live = await client.subscribe(
            self.subject,
            cb=self._arrived,
            # nats-py's limits drop the newest. They are never reached: ours are lower and drop the oldest (see
            # _arrived), and one read of the socket brings at most about 1,500 small messages before a handler runs.
            pending_msgs_limit=8 * self._limits.subscription_messages + 8192,
            pending_bytes_limit=8 * self._limits.subscription_bytes + MIB,
        )

    async def _arrived(self, message: Msg) -> None:
        live = self._live
        if (
            live is not None
            and self._drops_oldest
            and (
                live.pending_msgs > self._limits.subscription_messages
                or live.pending_bytes > self._limits.subscription_bytes
            )
        ):
            self._metrics.dropped.labels(policy="subscription_oldest").inc()
            return
        if self._closed:
            return
        try:
            self._handler(message)
        except Exception:  # noqa: BLE001 - one bad message must not end the subscription
            self._metrics.callback_errors.inc()
            _log.exception("subscription callback failed", subject=message.subject)

    async def close(self) -> None:
        """Stop delivery; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._messaging.discard(self)
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await live.unsubscribe()

    async def finish(self) -> None:
        """Stop delivery after the handler has seen the messages under way."""
        client, live = self._client, self._live
        if live is not None and client is not None and client.is_connected:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, BusError):
                async with asyncio.timeout(FINISH_TIMEOUT_S):
                    await asyncio.shield(asyncio.ensure_future(live.drain()))  # type: ignore[no-untyped-call]  # untyped there
                    await self._messaging.fence(client)
        await self.close()
