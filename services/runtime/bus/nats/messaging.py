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

ROOM_WAIT_S: Final = 0.25
"""How long a message waits for the network; once one has waited in vain, the next ones do not wait at all."""
_ROOM_POLL_S: Final = 0.002
FENCE_TIMEOUT_S: Final = 2.0
FINISH_TIMEOUT_S: Final = 1.0


class Messaging:
    """Messages over one connection, whichever client it has at the time.

    Args:
        connection: over which.
        inboxes: the beginning of all subjects for answers that this user may listen on.
        metrics: where drops are counted.
        limits: bounds of what waits.
    """

    def __init__(self, connection: Connection, *, inboxes: str, metrics: BusMetrics, limits: BusLimits) -> None:
        self.metrics = metrics
        self.limits = limits
        self._connection = connection
        self._subscriptions: list[NatsSubscription] = []
        self._stalled = False
        self._tokens = NUID()
        self._inboxes = inboxes
        self._inbox = self.new_inbox()
        # token -> who waits for answers to it
        self._waiting: dict[str, Callable[[Msg], None]] = {}
        self._subscriptions.append(NatsSubscription(self, f"{self._inbox}.*", self._answered))

    def new_inbox(self) -> str:
        """The beginning of subjects that nobody else uses."""
        return f"{self._inboxes}.{self._tokens.next().decode()}"

    async def send(self, client: BusClient, subject: str, data: bytes, reply: str = "") -> None:
        """Send now or lose it: what the network does not take in time is dropped and counted.

        Raises:
            BusError: disconnected, or the message is larger than the server takes.
        """
        if not await self._has_room(client, len(data)):
            self.metrics.dropped.labels(policy="publish_backlog").inc()
            self._connection.warn(
                "message dropped", "the network is slower than what is published; late audio is worthless"
            )
            return
        try:
            await client.publish(subject, data, reply=reply)
        except nats.errors.MaxPayloadError as error:
            raise BusError(f"message of {len(data)} bytes; the server takes {client.max_payload}") from error
        except (nats.errors.Error, OSError) as error:
            raise BusError(f"not sent: {sentence(error)}") from error

    async def _has_room(self, client: BusClient, size_bytes: int) -> bool:
        """Whether so much may be written, after a moment for what was written before.

        Whoever publishes a large batch in one go never lets go of the loop, and nothing is sent before somebody does:
        without a pause the network would look too slow however fast it is.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + (0.0 if self._stalled else ROOM_WAIT_S)
        while client.backlog_bytes + size_bytes > self.limits.publish_backlog_bytes:
            if loop.time() >= until_s:
                self._stalled = True
                return False
            await asyncio.sleep(_ROOM_POLL_S)
        self._stalled = False
        return True

    # --- subscriptions ---------------------------------------------------------------------------------------------

    async def add(self, subscription: NatsSubscription) -> None:
        """Make a subscription, over this connection and all later ones; what is sent from now on is heard."""
        self._subscriptions.append(subscription)
        if not self._connection.connected:
            return  # whoever brings the connection back attaches it
        client = self._connection.require()
        with contextlib.suppress(nats.errors.Error, OSError, BusError):
            await subscription.attach(client)
            await self.fence(client)

    def discard(self, subscription: NatsSubscription) -> None:
        """Forget a subscription that has closed."""
        with contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)

    async def attach(self, client: BusClient) -> None:
        """Make all subscriptions on a fresh client; what was published before this returns may be missed."""
        for subscription in list(self._subscriptions):
            await subscription.attach(client)
        # What was subscribed is heard from here on, also by those whom `on_reconnect` makes ask.
        await self.fence(client)

    async def attach_latecomers(self, client: BusClient) -> None:
        """Make the subscriptions that came while the last of the others were being made."""
        for subscription in list(self._subscriptions):
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.attach(client)

    # --- answers ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reply_subject(self, arrived: Callable[[Msg], None]) -> Iterator[str]:
        """A subject whose messages go to `arrived`, for as long as the context lasts."""
        token = self._tokens.next().decode()
        self._waiting[token] = arrived
        try:
            yield f"{self._inbox}.{token}"
        finally:
            del self._waiting[token]

    def _answered(self, message: Msg) -> None:
        arrived = self._waiting.get(message.subject.rpartition(".")[2])
        if arrived is not None:
            arrived(message)

    async def gather(self, subject: str, data: bytes, *, wait_s: float) -> AsyncIterator[Message]:
        """Ask everybody who listens on `subject`; yields answers as they come, for `wait_s`.

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

        with self.reply_subject(arrived) as reply:
            await self.send(client, subject, data, reply)
            while (left_s := deadline_s - loop.time()) > 0:
                try:
                    message = await asyncio.wait_for(answers.get(), left_s)
                except TimeoutError:
                    return
                if status_of(message):
                    return  # 503: nobody listens
                yield Message(message.subject, message.data, message.reply)

    async def fence(self, client: BusClient) -> None:
        """Return when the server has done everything sent before, by a message to ourselves.

        nats-py's flush() cannot do that: its ping overtakes what still waits in the client.

        Raises:
            BusError: no answer.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self.reply_subject(lambda _: None if done.done() else done.set_result(None)) as subject:
            try:
                await client.publish(subject, b"")
                async with asyncio.timeout(FENCE_TIMEOUT_S):
                    await done
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise BusError(f"no answer from the server ({sentence(error)})") from error


class NatsSubscription:
    """A subscription that outlives connections. Its handler runs to its end for each message, in order.

    Args:
        messaging: whose it is.
        subject: what it selects.
        handler: called for each message.
        drops_oldest: hold the limits of a subscription. Answers to what we asked for need none: we asked for so many.
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
            # Ours are lower and drop the oldest (see _arrived); nats-py's drop the newest. It queues what one read of
            # the socket holds, at most about 1500 small messages, before a handler runs, so its own are never reached.
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
        """Stop delivery after the handler has seen what is under way."""
        client, live = self._client, self._live
        if live is not None and client is not None and client.is_connected:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, BusError):
                async with asyncio.timeout(FINISH_TIMEOUT_S):
                    await asyncio.shield(asyncio.ensure_future(live.drain()))  # type: ignore[no-untyped-call]  # untyped there
                    await self._messaging.fence(client)
        await self.close()
