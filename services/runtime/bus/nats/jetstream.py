"""JetStream's API: make and keep streams, publish into them, read them (shell: asyncio, nats)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg

from services.contract import subjects
from services.runtime.bus.limits import MIB
from services.runtime.bus.nats import stream_configs
from services.runtime.bus.nats.bus_clock import BusClock, written_s
from services.runtime.bus.nats.client import status_of
from services.runtime.bus.nats.connection import Connection
from services.runtime.bus.nats.messaging import Messaging
from services.runtime.bus.nats.reasons import sentence
from services.runtime.bus.port import BusError
from services.runtime.observability.logging import get_logger

_log = get_logger(__name__)

ASK_TIMEOUT_S: Final = 1.0
"""How long a stream may take to confirm a message."""
API_TIMEOUT_S: Final = 2.0
"""How long JetStream may take to answer a request."""
MIN_AUDIO_BYTES: Final = 64 * MIB
"""Least size of AUDIO on a server with little memory."""

STREAM_NOT_FOUND: Final = 10059
STORE_FAILED: Final = 10077
WRONG_LAST_SEQUENCE: Final = 10071
NO_CAPACITY: Final = frozenset({10002, 10023, 10028, 10047, 10122})
"""Resources of the account, the server, memory or storage exceeded; more bytes than the account allows a stream."""
_STREAM_NAME_IN_USE: Final = 10058
_NOT_ENABLED: Final = frozenset({10076, 10039})
"""JetStream is disabled on the server, or for the account."""


class MissingStreamError(BusError):
    """The server has lost a stream."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"stream {stream} is missing; a worker makes it again, try in a second")


class ApiError(BusError):
    """JetStream refused a request.

    Attributes:
        err_code: the number of JetStream's error.
    """

    def __init__(self, operation: str, err_code: int, description: str) -> None:
        self.err_code = err_code
        super().__init__(f"{operation}: {description} ({err_code})")


class JetStream:
    """The streams on the server of one connection.

    Args:
        connection: carries the requests.
        messaging: receives the answers.
        keeps_streams: whether this process may make, change and delete streams.

    Attributes:
        faults: stream -> what is wrong with it, as a sentence, at the last check.
        clock: the server's, from its answers.
    """

    def __init__(self, connection: Connection, messaging: Messaging, *, keeps_streams: bool) -> None:
        self.faults: dict[str, str] = {}
        self._keeps_streams = keeps_streams
        self._connection = connection
        self._messaging = messaging
        self._metrics = messaging.metrics
        self._limits = messaging.limits
        self.clock = BusClock()
        # Name of a bucket that is known to exist -> seconds after which its entries expire.
        self._buckets: dict[str, float] = {}

    # --- keeping streams in place ------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """See to the streams on a server of unknown state."""
        await self.check()
        self._buckets.clear()

    async def check(self) -> None:
        """Make the streams that are missing, and change those that differ; without the rights for that, report them.

        Raises:
            BusError: they cannot be looked at, made or changed; the message says why and what to do.
        """
        for wanted in (stream_configs.render_stream(self._limits), stream_configs.audio_stream(self._limits)):
            await self._ensure_stream(wanted)

    def streams_missing(self) -> None:
        """The server has lost a stream: see to it now and not at the next check."""
        self._buckets.clear()
        self._connection.check_now()

    async def ensure_bucket(self, name: str, *, ttl_s: float) -> None:
        """Make a key-value bucket, unless it is known to exist."""
        if self._buckets.get(name) != ttl_s:
            await self._ensure_stream(stream_configs.bucket(name, ttl_s=ttl_s))
            self._buckets[name] = ttl_s

    async def _ensure_stream(self, wanted: Mapping[str, Any]) -> None:
        """See to one stream; several processes may do so together."""
        name = wanted["name"]
        try:
            found = (await self.api(f"STREAM.INFO.{name}", {}))["config"]
        except ApiError as error:
            if error.err_code != STREAM_NOT_FOUND:
                raise
            if self._keeps_streams:
                await self._create_stream(wanted)
            self._report(name, "" if self._keeps_streams else f"stream {name} is missing; a worker makes it")
            return
        differing = stream_configs.differing_fields(found, wanted)
        if differing == ["max_bytes"] and 0 < found["max_bytes"] < wanted["max_bytes"]:
            differing = []  # a small server got a small stream; asking again would fail again
        if not differing:
            self._report(name, "")
            return
        self._report(name, f"stream {name} differs in {', '.join(differing)}; a worker changes it back", differs=True)
        if self._keeps_streams:
            await self._mend(wanted, found, differing)
            self._report(name, "")

    def _report(self, name: str, fault: str, *, differs: bool = False) -> None:
        self._metrics.stream_differs.labels(stream=name).set(differs)
        if fault:
            self.faults[name] = fault
        else:
            self.faults.pop(name, None)

    async def _mend(self, wanted: Mapping[str, Any], found: Mapping[str, Any], differing: Sequence[str]) -> None:
        """Give a stream its configuration back.

        Raises:
            BusError: that is not possible; the message says what to do.
        """
        name = wanted["name"]
        foreign = [field for field in differing if field not in wanted]
        kept = {field: value for field, value in found.items() if field not in foreign}
        try:
            await self.api(f"STREAM.UPDATE.{name}", {**kept, **wanted})
        except ApiError as error:
            # A stream stays sealed, or a mirror, for ever; what it holds is of no use a minute later. A wanted field
            # that cannot be changed is another matter: two builds would delete each other's streams.
            if not foreign:
                self.faults[name] = fault = (
                    f"stream {name} differs in {', '.join(differing)} and cannot be changed ({error}); "
                    f"delete it (nats stream rm {name}) and it is made again"
                )
                raise BusError(fault) from error
            await self.api(f"STREAM.DELETE.{name}", {})
            await self._create_stream(wanted)
        self._metrics.streams_mended.inc()
        _log.warning("stream changed back", stream=name, fields=differing)

    async def _create_stream(self, wanted: Mapping[str, Any]) -> None:
        config = dict(wanted)
        while True:
            try:
                await self.api(f"STREAM.CREATE.{config['name']}", config)
            except ApiError as error:
                if error.err_code == _STREAM_NAME_IN_USE:
                    return  # another process was quicker, with other values; the next check settles them
                smaller = config["max_bytes"] // 2
                if error.err_code not in NO_CAPACITY or smaller < MIN_AUDIO_BYTES:
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

    # --- calls -----------------------------------------------------------------------------------------------------

    async def api(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One call of JetStream's API. Works as soon as there is a client, before the bus counts as connected.

        Raises:
            ApiError: it said no.
            BusError: no answer, or JetStream is not there.
        """
        client = self._connection.client
        if client is None or not client.is_connected:
            raise BusError("the bus is away; try again when it is back")
        asked_s = asyncio.get_running_loop().time()
        try:
            message = await client.request(f"$JS.API.{operation}", json.dumps(body).encode(), timeout=API_TIMEOUT_S)
        except nats.errors.NoRespondersError as error:
            raise BusError("the server has no JetStream; start it with -js (or jetstream {} in its config)") from error
        except (nats.errors.Error, OSError) as error:
            raise BusError(f"{operation}: {sentence(error)}") from error
        answer = _object(message.data)
        server_s = written_s(answer.get("ts"))
        if server_s is not None:
            self.clock.answered(server_s, asked_s, asyncio.get_running_loop().time())
        if "error" in answer:
            refusal = answer["error"]
            err_code, description = int(refusal.get("err_code", 0)), str(refusal.get("description", ""))
            if err_code in _NOT_ENABLED:
                raise BusError(f"{description}; our account on the server needs `jetstream: enabled` in its config")
            raise ApiError(operation, err_code, description)
        return answer

    async def put(self, stream: str, subject: str, data: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """Publish into `stream`; returns its answer, which may hold an `error`.

        Raises:
            BusError: disconnected, the stream is missing, no answer within a second, or too large for the server.
        """
        client = self._connection.require()
        if client.backlog_bytes > self._limits.publish_backlog_bytes:
            self._metrics.dropped.labels(policy="publish_backlog").inc()
            raise BusError("the network is slower than what is published; try again in a second")
        try:
            message = await client.request(subject, data, timeout=ASK_TIMEOUT_S, headers=headers)
        except nats.errors.NoRespondersError as error:
            self.streams_missing()
            raise MissingStreamError(stream) from error
        except (nats.errors.TimeoutError, TimeoutError) as error:
            raise BusError(f"no answer from stream {stream} within {ASK_TIMEOUT_S:g} s; try again") from error
        except nats.errors.MaxPayloadError as error:
            raise BusError(f"message of {len(data)} bytes; the server accepts {client.max_payload}") from error
        except (nats.errors.Error, OSError) as error:
            raise BusError(f"not sent: {sentence(error)}") from error
        return _object(message.data)

    async def get(self, stream: str, request: Mapping[str, Any], *, count: int = 1) -> list[Msg]:
        """Read up to `count` messages of a stream directly, without a consumer; none where none match.

        Raises:
            BusError: disconnected, the stream is missing, or no answer in time.
        """
        client = self._connection.require()
        messages: list[Msg] = []
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def arrived(message: Msg) -> None:
            status = status_of(message)
            if not status:
                messages.append(message)
            if not done.done() and (status or len(messages) >= count):
                done.set_result(status)

        with self._messaging.reply_subject(arrived) as reply:
            await self._messaging.send(client, f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply)
            try:
                async with asyncio.timeout(API_TIMEOUT_S):
                    status = await done
            except TimeoutError:
                raise BusError(f"stream {stream}: no answer within {API_TIMEOUT_S:g} s") from None
        if status == "503":
            if stream == subjects.AUDIO_STREAM:  # a missing bucket just means that nothing was counted
                self.streams_missing()
            raise MissingStreamError(stream)
        # 404: nothing there; 204: the end of a batch.
        return messages


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BusError(f"the server answered {data[:80]!r}, expected JSON") from error
    if not isinstance(value, dict):
        raise BusError(f"the server answered {data[:80]!r}, expected a JSON object")
    return value
