"""The bus over NATS and JetStream.

One supervising task owns the connection: it connects, makes the streams, restores the subscriptions, watches, and
begins again with a fresh client when the connection is lost, for ever. There is one path for the first connection and
for every later one, because nats-py's own reconnection gives up for good on several errors that a server may send.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, override
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsPySubscription
from nats.nuid import NUID

from services.contract import subjects
from services.runtime.bus.limits import MIB, BusLimits
from services.runtime.bus.nats_jobs import NatsJobSource, status_of
from services.runtime.bus.port import BusError, BusFullError, JobSource, Message, Subscription
from services.runtime.logging import RepeatLimiter, get_logger
from services.runtime.metrics import BusMetrics
from services.runtime.settings import NatsSettings

_log = get_logger(__name__)

ASK_TIMEOUT_S: Final = 1.0
API_TIMEOUT_S: Final = 2.0
CONNECT_TIMEOUT_S: Final = 2.0
PING_INTERVAL_S: Final = 2.0
"""Two pings without an answer, so 4 to 6 s, and a connection that nobody closed is taken for dead."""
WATCH_INTERVAL_S: Final = 0.25
CHECK_STREAMS_S: Final = 5.0
"""A server that lost its memory behind a connection that held (a cluster, a purge) is found so."""
FIRST_BACKOFF_S: Final = 0.05
MAX_BACKOFF_S: Final = 2.0
CONSUMER_INACTIVE_S: Final = 60.0
"""Consumers of a revision that nobody runs any more vanish."""
MIN_AUDIO_BYTES: Final = 64 * MIB
CONCURRENT_HISTORIES: Final = 4
"""Each is up to 3.5 MB at once; a server cuts off a client to which it owes more than 64 MB."""

_NANO: Final = 1_000_000_000
_STREAM_NOT_FOUND: Final = 10059
_STREAM_NAME_IN_USE: Final = 10058
_STORE_FAILED: Final = 10077
_WRONG_LAST_SEQUENCE: Final = 10071
# account's, server's, memory's and storage's resources exceeded; more bytes than the account allows a stream
_NO_ROOM: Final = frozenset({10002, 10023, 10028, 10047, 10122})
_KEY = re.compile(r"[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*")


class NatsBus:
    """A connection to NATS.

    Args:
        settings: where the bus is and how to sign in.
        name: shown in the server's list of connections: service and instance.
        metrics: where drops, errors and repairs are counted.
        limits: bounds of queues and streams.
    """

    def __init__(
        self, settings: NatsSettings, *, name: str, metrics: BusMetrics | None = None, limits: BusLimits | None = None
    ) -> None:
        self._settings = settings
        self._name = name
        self._metrics = metrics or BusMetrics()
        self._limits = limits or BusLimits()
        self._urls = [url.strip() for url in settings.url.split(",") if url.strip()]
        self._client: _Client | None = None
        self._live = False
        self._closing = False
        self._ready = asyncio.Event()
        self._wake_watch = asyncio.Event()
        self._check_streams = False
        self._connect_error: Exception | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._subscriptions: list[_NatsSubscription] = []
        self._sources: list[NatsJobSource] = []
        self._buckets: dict[str, float] = {}
        self._complaints = RepeatLimiter(10.0)
        self._histories = asyncio.Semaphore(CONCURRENT_HISTORIES)
        self._tokens = NUID()
        self._inboxes = subjects.inboxes(settings.user)
        self._inbox = f"{self._inboxes}.{self._tokens.next().decode()}"
        # token -> who waits for answers to it
        self._waiting: dict[str, Callable[[Msg], None]] = {}
        self._subscriptions.append(_NatsSubscription(self, f"{self._inbox}.*", self._answered))

    def new_inbox(self) -> str:
        """The beginning of subjects that nobody else uses."""
        return f"{self._inboxes}.{self._tokens.next().decode()}"

    @property
    def connected(self) -> bool:
        """Whether messages would arrive now."""
        return self._live and self._client is not None and self._client.is_connected

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each re-connection, when streams exist again."""
        self._callbacks.append(callback)

    # --- connection ------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect and create the streams, trying for ever; idempotent."""
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
        await _uninterrupted(self._end())

    async def _end(self) -> None:
        for source in list(self._sources):
            await source.close()
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
        client, self._client, self._live = self._client, None, False
        self._metrics.connected.set(0)
        if client is not None:
            await _close_client(client)

    async def _supervise(self) -> None:
        attempt = 0
        been_up = False
        loop = asyncio.get_running_loop()
        while True:
            url = self._urls[attempt % len(self._urls)]
            self._connect_error = None
            client = _Client()
            try:
                await self._open(client, url)
            except asyncio.CancelledError:
                await _close_client(client)
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the service lives on and tries again
                delay_s = _backoff_s(attempt)
                attempt += 1
                self._metrics.errors.labels(kind=type(error).__name__).inc()
                if isinstance(error, nats.errors.NoServersError) and self._connect_error is not None:
                    error = self._connect_error
                self._complain("bus away", _explain(url, error), next_attempt_s=round(delay_s, 2))
                await _close_client(client)
                await asyncio.sleep(delay_s)
                continue
            since_s = loop.time()
            self._live = True
            # Those that came while the last of the others were being restored; from here on they attach themselves.
            for subscription in list(self._subscriptions):
                with contextlib.suppress(nats.errors.Error, OSError):
                    await subscription.attach(client)
            self._metrics.connected.set(1)
            self._ready.set()
            _log.info("bus connected", server=_without_credentials(url), version=str(client.connected_server_version))
            for source in self._sources:
                source.restart()
            if been_up:
                self._metrics.reconnects.inc()
                for callback in self._callbacks:
                    self._call(callback)
            been_up = True
            try:
                await self._watch(client)
            finally:
                self._live = False
                self._client = None
                self._metrics.connected.set(0)
                if not self._closing:
                    await _close_client(client)
                else:
                    self._client = client
            # A connection that held is a fresh start; one that flaps backs off.
            attempt = 0 if loop.time() - since_s > MAX_BACKOFF_S else attempt + 1
            _log.warning("bus disconnected", server=_without_credentials(url), detail="connecting again")
            await asyncio.sleep(_backoff_s(attempt))

    async def _open(self, client: _Client, url: str) -> None:
        settings = self._settings
        tls: ssl.SSLContext | None = None
        if settings.tls_ca_file:
            tls = ssl.create_default_context(cafile=settings.tls_ca_file)
        options: dict[str, Any] = {}
        if settings.user:
            options |= {"user": settings.user, "password": settings.password}
        if settings.token:
            options["token"] = settings.token
        if settings.credentials_file:
            options["user_credentials"] = settings.credentials_file
        if tls is not None:
            options["tls"] = tls
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
                inbox_prefix=self._inboxes,
                error_cb=self._on_error,
                closed_cb=self._on_closed,
                **options,
            )
        self._client = client
        for wanted in self._streams():
            await self._ensure_stream(wanted)
        self._buckets.clear()
        for subscription in list(self._subscriptions):
            await subscription.attach(client)
        # What was subscribed is heard from here on, also by those whom `on_reconnect` makes ask.
        await self.fence(client)

    async def _watch(self, client: _Client) -> None:
        """Return when the connection is lost; meanwhile keep the streams there."""
        loop = asyncio.get_running_loop()
        check_s = loop.time() + CHECK_STREAMS_S * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, hides nothing
        while not client.is_closed and client.is_connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake_watch.wait(), WATCH_INTERVAL_S)
            self._wake_watch.clear()
            if client.reader_ended:
                # nats-py's read loop ends on an exception that it does not know, and says so only in a log.
                self._metrics.errors.labels(kind="ReadLoopEnded").inc()
                return
            if loop.time() >= check_s or self._check_streams:
                self._check_streams = False
                check_s = loop.time() + CHECK_STREAMS_S * random.uniform(0.8, 1.2)  # noqa: S311 - as above
                try:
                    for wanted in self._streams():
                        await self._ensure_stream(wanted)
                except BusError as error:
                    self._complain("streams not checked", str(error))

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            self._metrics.dropped.labels(policy="subscription_newest").inc()
            return
        self._metrics.errors.labels(kind=type(error).__name__).inc()
        if self._live:
            # A lost connection is reported once, by the supervisor.
            if not isinstance(error, nats.errors.UnexpectedEOF | nats.errors.StaleConnectionError):
                self._complain("bus error", _sentence(error))
        else:
            # nats-py raises "no servers available" for every failed attempt; this is why.
            self._connect_error = error

    async def _on_closed(self) -> None:
        self._wake_watch.set()

    def _streams_missing(self) -> None:
        """The server lost a stream behind our back: make it again now, not at the next check."""
        self._buckets.clear()
        self._check_streams = True
        self._wake_watch.set()

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:  # noqa: BLE001 - one listener's fault must not take the connection down
            self._metrics.callback_errors.inc()
            _log.exception("reconnect callback failed")

    def _complain(self, event: str, detail: str, **fields: Any) -> None:
        held_back = self._complaints.admit(f"{event} {detail}")
        if held_back is not None:
            _log.warning(event, detail=detail, repeats=held_back, **fields)

    def _require(self) -> _Client:
        client = self._client
        if client is None or not self._live or not client.is_connected:
            raise BusError("the bus is away; try again when it is back")
        return client

    # --- messages --------------------------------------------------------------------------------------------------

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send now or lose it: what the network does not take in time is dropped and counted.

        Raises:
            BusError: disconnected, or the message is larger than the server takes.
        """
        await self._send(self._require(), subject, data, reply)

    async def _send(self, client: _Client, subject: str, data: bytes, reply: str = "") -> None:
        if client.backlog_bytes + len(data) > self._limits.publish_backlog_bytes:
            self._metrics.dropped.labels(policy="publish_backlog").inc()
            self._complain("message dropped", "the network is slower than what is published; late audio is worthless")
            return
        try:
            await client.publish(subject, data, reply=reply)
        except nats.errors.MaxPayloadError as error:
            raise BusError(f"message of {len(data)} bytes; the server takes {client.max_payload}") from error
        except (nats.errors.Error, OSError) as error:
            raise BusError(f"not sent: {_sentence(error)}") from error

    async def subscribe(self, subject: str, callback: Callable[[Message], None]) -> Subscription:
        """Deliver what is published from now on; survives reconnection. Overflow drops the oldest and is counted."""

        def arrived(message: Msg) -> None:
            callback(Message(message.subject, message.data, message.reply))

        subscription = _NatsSubscription(self, subject, arrived, drops_oldest=True)
        await self._add(subscription)
        return subscription

    async def _add(self, subscription: _NatsSubscription) -> None:
        self._subscriptions.append(subscription)
        client = self._client
        if client is None or not client.is_connected or not self._live:
            return  # the supervisor attaches it
        with contextlib.suppress(nats.errors.Error, OSError, BusError):
            await subscription.attach(client)
            await self.fence(client)

    def discard(self, subscription: _NatsSubscription) -> None:
        """Forget a subscription that has closed."""
        with contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)

    async def gather(self, subject: str, data: bytes, *, wait_s: float) -> AsyncIterator[Message]:
        """Ask everybody who listens on `subject`; yields answers as they come, for `wait_s`.

        Raises:
            BusError: disconnected.
        """
        client = self._require()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        answers: asyncio.Queue[Msg] = asyncio.Queue(self._limits.gather_messages)

        def arrived(message: Msg) -> None:
            try:
                answers.put_nowait(message)
            except asyncio.QueueFull:
                self._metrics.dropped.labels(policy="gather_newest").inc()

        with self._reply_subject(arrived) as reply:
            await self._send(client, subject, data, reply)
            while (left_s := deadline_s - loop.time()) > 0:
                try:
                    message = await asyncio.wait_for(answers.get(), left_s)
                except TimeoutError:
                    return
                if status_of(message):
                    return  # 503: nobody listens
                yield Message(message.subject, message.data, message.reply)

    async def fence(self, client: _Client) -> None:
        """Return when the server has done everything sent before, by a message to ourselves.

        nats-py's flush() cannot do that: its ping overtakes what still waits in the client.

        Raises:
            BusError: no answer.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._reply_subject(lambda _: None if done.done() else done.set_result(None)) as subject:
            try:
                await client.publish(subject, b"")
                async with asyncio.timeout(API_TIMEOUT_S):
                    await done
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise BusError(f"no answer from the server ({_sentence(error)})") from error

    @contextlib.contextmanager
    def _reply_subject(self, arrived: Callable[[Msg], None]) -> Any:
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

    # --- RENDER ----------------------------------------------------------------------------------------------------

    async def ask(self, subject: str, data: bytes, *, message_id: str) -> bool:
        """Put a job into RENDER. False: the same `message_id`, or a job on the same subject, is already there.

        Raises:
            BusFullError: the stream is full: the job was not taken.
            BusError: disconnected, or no answer within a second.
        """
        answer = await self._request(subject, data, {"Nats-Msg-Id": message_id}, missing=subjects.RENDER_STREAM)
        error = answer.get("error")
        if error is None:
            return not answer.get("duplicate", False)
        description = error.get("description", "")
        if error.get("err_code") == _STORE_FAILED and "per subject" in description:
            return False
        if error.get("err_code") == _STORE_FAILED or "exceeded" in description or error.get("err_code") in _NO_ROOM:
            raise BusFullError(f"stream {subjects.RENDER_STREAM} is full ({description}); ask again in a second")
        raise BusError(f"stream {subjects.RENDER_STREAM} refused the job: {description}")

    async def jobs(self, durable: str, subject_filter: str, *, ack_wait_s: float = 1.0) -> JobSource:
        """Pull from the part of RENDER that `subject_filter` selects; the consumer is shared by its name."""
        source = NatsJobSource(
            self, durable, subject_filter, ack_wait_s=ack_wait_s, limits=self._limits, metrics=self._metrics
        )
        inbox = _NatsSubscription(self, source.inbox_subject, source.on_message)
        source.inbox = inbox
        self._sources.append(source)
        await self._add(inbox)
        return source

    def discard_source(self, source: NatsJobSource) -> None:
        """Forget a source that has closed."""
        with contextlib.suppress(ValueError):
            self._sources.remove(source)

    async def pull(self, durable: str, request: Mapping[str, Any], reply: str) -> bool:
        """Send a pull request; False while the bus is away."""
        try:
            await self._send(
                self._require(),
                f"$JS.API.CONSUMER.MSG.NEXT.{subjects.RENDER_STREAM}.{durable}",
                json.dumps(request).encode(),
                reply,
            )
        except BusError:
            return False
        return True

    async def ensure_consumer(self, durable: str, subject_filter: str, ack_wait_s: float) -> bool:
        """Make the consumer where there is none; False where it could not be made now."""
        config = {
            "durable_name": durable,
            "name": durable,
            "filter_subject": subject_filter,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": int(ack_wait_s * _NANO),
            # Not bounded: a job is gone after max_age anyway, and a worker drops a spec that fails again and again.
            "max_deliver": -1,
            "max_ack_pending": 10_000,
            "max_waiting": 2_048,
            "inactive_threshold": int(CONSUMER_INACTIVE_S * _NANO),
            "replay_policy": "instant",
            "mem_storage": True,
        }
        stream = subjects.RENDER_STREAM
        try:
            self._require()
            await self._api(
                f"CONSUMER.CREATE.{stream}.{durable}.{subject_filter}", {"stream_name": stream, "config": config}
            )
        except BusError as error:
            self._complain("consumer not made", str(error))
            if isinstance(error, _ApiError) and error.err_code == _STREAM_NOT_FOUND:
                self._streams_missing()
            return False
        self._metrics.repairs.labels(what="consumer").inc()
        return True

    # --- AUDIO -----------------------------------------------------------------------------------------------------

    async def history(self, subject: str, *, max_messages: int = 20) -> Sequence[Message]:
        """What AUDIO keeps of `subject`, oldest first; empty when nothing or when the bus is away."""
        if max_messages <= 0:
            return ()
        try:
            async with self._histories:
                if max_messages == 1:
                    kept = await self._get(subjects.AUDIO_STREAM, {"last_by_subj": subject})
                else:
                    keeps = self._limits.audio_messages_per_subject
                    kept = await self._get(
                        subjects.AUDIO_STREAM, {"batch": keeps, "next_by_subj": subject, "seq": 1}, count=keeps
                    )
        except BusError as error:
            self._complain("history not read", str(error))
            return ()
        return [Message(subject, message.data) for message in kept[-max_messages:]]

    async def _get(self, stream: str, request: Mapping[str, Any], *, count: int = 1) -> list[Msg]:
        """Read kept messages directly, without a consumer."""
        client = self._require()
        messages: list[Msg] = []
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def arrived(message: Msg) -> None:
            status = status_of(message)
            if not status:
                messages.append(message)
            if not done.done() and (status or len(messages) >= count):
                done.set_result(status)

        with self._reply_subject(arrived) as reply:
            await self._send(client, f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply)
            try:
                async with asyncio.timeout(API_TIMEOUT_S):
                    status = await done
            except TimeoutError:
                raise BusError(f"stream {stream}: no answer within {API_TIMEOUT_S:g} s") from None
        if status == "503":
            if stream == subjects.AUDIO_STREAM:  # a bucket that is not there yet has simply counted nothing
                self._streams_missing()
            raise _MissingError(stream)
        # 404: nothing there; 204: the end of a batch.
        return messages

    # --- counters --------------------------------------------------------------------------------------------------

    async def count_failure(self, bucket: str, key: str, *, ttl_s: float) -> int:
        """Add one to a shared counter that is forgotten `ttl_s` after its last change; returns the new count.

        Raises:
            BusError: the bus is away.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"counter key: got {key!r}, expected letters, digits and '-_=/.'")
        if self._buckets.get(bucket) != ttl_s:
            await self._ensure_bucket(bucket, ttl_s)
        for attempt in range(20):
            value, sequence = await self._counter(bucket, key)
            answer = await self._request(
                f"$KV.{bucket}.{key}",
                str(value + 1).encode(),
                {"Nats-Expected-Last-Subject-Sequence": str(sequence)},
                missing=f"KV_{bucket}",
            )
            error = answer.get("error")
            if error is None:
                return value + 1
            if error.get("err_code") != _WRONG_LAST_SEQUENCE:
                raise BusError(f"counter {bucket}/{key}: {error.get('description')}")
            # Somebody else counted in between; as in a queue, wait a little and look again.
            await asyncio.sleep(random.uniform(0, 0.002) * (attempt + 1))  # noqa: S311 - spreads load, hides nothing
        raise BusError(f"counter {bucket}/{key}: changed by others 20 times in a row; count again later")

    async def failures(self, bucket: str, key: str) -> int:
        """The shared counter's value; 0 when there is none or the bus is away."""
        try:
            return (await self._counter(bucket, key))[0]
        except BusError:
            return 0

    async def _counter(self, bucket: str, key: str) -> tuple[int, int]:
        """Value and sequence of a counter; (0, 0) where there is none."""
        found = await self._get(f"KV_{bucket}", {"last_by_subj": f"$KV.{bucket}.{key}"})
        if not found:
            return 0, 0
        headers = found[0].headers or {}
        try:
            return int(found[0].data or b"0"), int(headers.get("Nats-Sequence", "0"))
        except ValueError:
            raise BusError(f"counter {bucket}/{key}: got {found[0].data[:20]!r}, expected a number") from None

    async def _ensure_bucket(self, bucket: str, ttl_s: float) -> None:
        await self._ensure_stream(
            {
                "name": f"KV_{bucket}",
                "subjects": [f"$KV.{bucket}.>"],
                "storage": "memory",
                "retention": "limits",
                "discard": "old",
                "max_msgs_per_subject": 1,
                "max_bytes": MIB,
                "max_age": int(ttl_s * _NANO),
                "duplicate_window": min(int(ttl_s * _NANO), 1 * _NANO),
                "allow_rollup_hdrs": True,
                "allow_direct": True,
                "num_replicas": 1,
            }
        )
        self._buckets[bucket] = ttl_s

    # --- streams ---------------------------------------------------------------------------------------------------

    def _streams(self) -> list[dict[str, Any]]:
        limits = self._limits
        return [
            {
                "name": subjects.RENDER_STREAM,
                "subjects": [subjects.RENDER_SUBJECTS],
                "storage": "memory",
                "retention": "workqueue",
                "discard": "new",
                # One job a block (subjects.render), until it is acked.
                "max_msgs_per_subject": 1,
                "discard_new_per_subject": True,
                "max_bytes": limits.render_max_bytes,
                "max_age": int(limits.render_max_age_s * _NANO),
                "duplicate_window": int(limits.render_max_age_s * _NANO),
                "num_replicas": 1,
            },
            {
                "name": subjects.AUDIO_STREAM,
                "subjects": [subjects.AUDIO_SUBJECTS],
                "storage": "memory",
                "retention": "limits",
                "discard": "old",
                "max_msgs_per_subject": limits.audio_messages_per_subject,
                "max_bytes": limits.audio_max_bytes,
                "max_age": int(limits.audio_max_age_s * _NANO),
                "duplicate_window": _NANO,
                "allow_direct": True,
                "num_replicas": 1,
            },
        ]

    async def _ensure_stream(self, wanted: Mapping[str, Any]) -> None:
        """Make a stream, or change it to what is wanted; several processes may do it at once."""
        name = wanted["name"]
        try:
            info = await self._api(f"STREAM.INFO.{name}", {})
        except _ApiError as error:
            if error.err_code != _STREAM_NOT_FOUND:
                raise
            await self._create_stream(wanted)
            return
        found = info["config"]
        differing = [field for field, value in wanted.items() if found.get(field) != value]
        if not differing:
            return
        if differing == ["max_bytes"] and 0 < found["max_bytes"] < wanted["max_bytes"]:
            return  # made smaller because the server's memory is; asking again would only fail again
        try:
            await self._api(f"STREAM.UPDATE.{name}", {**found, **wanted})
        except _ApiError as error:
            raise BusError(
                f"stream {name} differs in {', '.join(differing)} and cannot be changed ({error}); "
                f"delete it (nats stream rm {name}) and it is made again"
            ) from error
        _log.info("stream changed", stream=name, fields=differing)

    async def _create_stream(self, wanted: Mapping[str, Any]) -> None:
        config = dict(wanted)
        while True:
            try:
                await self._api(f"STREAM.CREATE.{config['name']}", config)
            except _ApiError as error:
                if error.err_code == _STREAM_NAME_IN_USE:
                    return  # another process was quicker, with other values; the next check settles them
                smaller = config["max_bytes"] // 2
                if error.err_code not in _NO_ROOM or smaller < MIN_AUDIO_BYTES:
                    raise
                config["max_bytes"] = smaller
                continue
            break
        self._metrics.repairs.labels(what="stream").inc()
        if config["max_bytes"] < wanted["max_bytes"]:
            _log.warning(
                "stream smaller than wanted",
                stream=config["name"],
                wanted_mb=wanted["max_bytes"] // MIB,
                made_mb=config["max_bytes"] // MIB,
                detail="the server's memory for JetStream is small: late joiners of many streams get less history; "
                "raise jetstream.max_memory_store",
            )
        else:
            _log.info("stream made", stream=config["name"])

    async def _api(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One call of JetStream's API.

        Raises:
            BusError: no answer, or JetStream is not there; _ApiError: it said no.
        """
        client = self._client
        if client is None or not client.is_connected:
            raise BusError("the bus is away; try again when it is back")
        try:
            message = await client.request(f"$JS.API.{operation}", json.dumps(body).encode(), timeout=API_TIMEOUT_S)
        except nats.errors.NoRespondersError as error:
            raise BusError("the server has no JetStream; start it with -js (or jetstream {} in its config)") from error
        except (nats.errors.Error, OSError) as error:
            raise BusError(f"{operation}: {_sentence(error)}") from error
        answer = _object(message.data)
        if "error" in answer:
            error_ = answer["error"]
            raise _ApiError(operation, int(error_.get("err_code", 0)), str(error_.get("description", "")))
        return answer

    async def _request(self, subject: str, data: bytes, headers: dict[str, str], *, missing: str) -> dict[str, Any]:
        """Publish into a stream and read its answer."""
        client = self._require()
        if client.backlog_bytes > self._limits.publish_backlog_bytes:
            self._metrics.dropped.labels(policy="publish_backlog").inc()
            raise BusError("the network is slower than what is published; try again in a second")
        try:
            message = await client.request(subject, data, timeout=ASK_TIMEOUT_S, headers=headers)
        except nats.errors.NoRespondersError as error:
            self._streams_missing()
            raise _MissingError(missing) from error
        except (nats.errors.TimeoutError, TimeoutError) as error:
            raise BusError(f"no answer from stream {missing} within {ASK_TIMEOUT_S:g} s; try again") from error
        except nats.errors.MaxPayloadError as error:
            raise BusError(f"message of {len(data)} bytes; the server takes {client.max_payload}") from error
        except (nats.errors.Error, OSError) as error:
            raise BusError(f"not sent: {_sentence(error)}") from error
        return _object(message.data)


class _MissingError(BusError):
    def __init__(self, stream: str) -> None:
        super().__init__(f"stream {stream} is missing; it is being made again, try in a second")


class _ApiError(BusError):
    def __init__(self, operation: str, err_code: int, description: str) -> None:
        self.err_code = err_code
        super().__init__(f"{operation}: {description} ({err_code})")


class _Client(Client):
    """nats-py's client, and what it leaves undone when it closes."""

    @property
    def reader_ended(self) -> bool:
        """Whether the read loop has ended although nobody closed the connection."""
        return self._reading_task is not None and self._reading_task.done()

    @property
    def backlog_bytes(self) -> int:
        """What waits for the network: in the client and in the socket's transport.

        `pending_data_size` is the first part only, and on Python before 3.12.8 the transport's part has no bound
        (CVE-2024-12254: writelines() never asks anybody to wait).
        """
        writer = getattr(self._transport, "_io_writer", None)
        written = 0 if writer is None else int(writer.transport.get_write_buffer_size())
        return self.pending_data_size + written

    @override
    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # On a broken connection the last flush raises, and everything after it (callbacks, subscriptions' tasks, the
        # socket) is left behind. We flush before we close, so there is nothing to lose.
        self._pending.clear()
        self._pending_data_size = 0
        await super()._close(status, do_cbs)

    async def abandon(self) -> None:
        """End whatever a close that did not come to its end has left: tasks and the socket."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        tasks = {self._reading_task, self._flusher_task, self._ping_interval_task}
        tasks |= {subscription._wait_for_msgs_task for subscription in self._subs.values()}  # noqa: SLF001 - no other way
        left = {task for task in tasks if task is not None and not task.done() and task is not asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1)


class _NatsSubscription:
    """A subscription that outlives connections. Its handler runs to its end for each message, in order.

    Args:
        bus: whose it is.
        subject: what it selects.
        handler: called for each message.
        drops_oldest: hold the limits of a subscription. Answers to what we asked for need none: we asked for so many.
    """

    def __init__(
        self, bus: NatsBus, subject: str, handler: Callable[[Msg], None], *, drops_oldest: bool = False
    ) -> None:
        self.subject = subject
        self._drops_oldest = drops_oldest
        self._bus = bus
        self._handler = handler
        self._limits = bus._limits  # noqa: SLF001 - one module, two halves of one thing
        self._metrics = bus._metrics  # noqa: SLF001 - as above
        self._live: NatsPySubscription | None = None
        self._client: _Client | None = None
        self._closed = False

    async def attach(self, client: _Client) -> None:
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
        self._bus.discard(self)
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await live.unsubscribe()

    async def finish(self) -> None:
        """Stop delivery after the handler has seen what is under way."""
        client, live = self._client, self._live
        if live is not None and client is not None and client.is_connected:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, BusError):
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    await asyncio.shield(asyncio.ensure_future(live.drain()))  # type: ignore[no-untyped-call]  # untyped there
                    await self._bus.fence(client)
        await self.close()


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BusError(f"the server answered {data[:80]!r}, expected JSON") from error
    if not isinstance(value, dict):
        raise BusError(f"the server answered {data[:80]!r}, expected a JSON object")
    return value


async def _close_client(client: _Client) -> None:
    """Flush where that is possible, and close; takes 3 s at most and never raises."""
    await _uninterrupted(_flush_and_close(client))


async def _uninterrupted(ending: Coroutine[Any, Any, None]) -> None:
    """Run to the end; whoever is cancelled meanwhile leaves after it.

    nats-py never ends a close that was cut short, since it counts as closed from its first line on.
    """
    task = asyncio.create_task(ending, name="bus closing")
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _flush_and_close(client: _Client) -> None:
    with contextlib.suppress(Exception):
        if client.is_connected:
            await client.flush(timeout=1)
    with contextlib.suppress(Exception):
        # nats-py waits without end for a transport whose TLS handshake failed.
        async with asyncio.timeout(1):
            await client.close()
    await client.abandon()


def _backoff_s(attempt: int) -> float:
    """Seconds before the next attempt: doubling, half of it random, so that a fleet does not come back at once."""
    full_s: float = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(attempt, 10))
    return full_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing


def _explain(url: str, error: Exception) -> str:
    server = _without_credentials(url)
    text = _sentence(error)
    lower = text.lower()
    if "authorization" in lower or "authentication" in lower:
        return f"{server} refused to let us in ({text}); check NATS_USER, NATS_PASSWORD, NATS_TOKEN, credentials"
    if isinstance(error, ssl.SSLError):
        return f"{server}: TLS failed ({text}); check NATS_TLS_CA_FILE"
    if isinstance(error, nats.errors.NoServersError | OSError | TimeoutError):
        return f"cannot reach {server} ({text}); is a nats-server running there? NATS_URL says where"
    return f"{server}: {text}"


def _sentence(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
