"""The work queue RENDER: publishing asks, and the consumers that workers pull from (shell: the connection)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from services.contract import subjects
from services.contract.job import WAIT_HEADER
from services.runtime.bus.nats import stream_configs
from services.runtime.bus.nats.bus_clock import BusClock
from services.runtime.bus.nats.connection import Connection
from services.runtime.bus.nats.jetstream import NO_CAPACITY, STORE_FAILED, STREAM_NOT_FOUND, ApiError, JetStream
from services.runtime.bus.nats.job_source import NatsJobSource
from services.runtime.bus.nats.messaging import Messaging, NatsSubscription
from services.runtime.bus.port import BusError, BusFullError


class RenderQueue:
    """RENDER over a connection, across its changes of client.

    Args:
        connection: carries the requests.
        messaging: receives the jobs.
        jetstream: keeps the stream in place.
    """

    def __init__(self, connection: Connection, messaging: Messaging, jetstream: JetStream) -> None:
        self._connection = connection
        self._messaging = messaging
        self._jetstream = jetstream
        self._sources: list[NatsJobSource] = []

    async def ask(self, subject: str, data: bytes, *, message_id: str, wait_s: float | None = None) -> bool:
        """Put a job into RENDER. False: the same `message_id`, or a job on the same subject, is already there.

        Args:
            subject, data: the message.
            message_id: by which repetitions are dropped.
            wait_s: how long the asker can wait for the answer; None: it does not say.

        Raises:
            BusFullError: the stream is full: the job was not taken.
            BusError: disconnected, or no answer within a second.
        """
        headers = {"Nats-Msg-Id": message_id}
        if wait_s is not None:
            headers[WAIT_HEADER] = str(max(0, round(wait_s * 1000)))
        answer = await self._jetstream.put(subjects.RENDER_STREAM, subject, data, headers)
        error = answer.get("error")
        if error is None:
            return not answer.get("duplicate", False)
        description = error.get("description", "")
        if error.get("err_code") == STORE_FAILED and "per subject" in description:
            return False
        if error.get("err_code") == STORE_FAILED or "exceeded" in description or error.get("err_code") in NO_CAPACITY:
            raise BusFullError(f"stream {subjects.RENDER_STREAM} is full ({description}); ask again in a second")
        raise BusError(f"stream {subjects.RENDER_STREAM} refused the job: {description}")

    async def jobs(self, durable: str, subject_filter: str, *, ack_wait_s: float) -> NatsJobSource:
        """Pull from the part of RENDER that `subject_filter` selects; the consumer is shared by its name."""
        source = NatsJobSource(
            self,
            durable,
            subject_filter,
            ack_wait_s=ack_wait_s,
            limits=self._messaging.limits,
            metrics=self._messaging.metrics,
        )
        inbox = NatsSubscription(self._messaging, source.inbox_subject, source.on_message)
        source.inbox = inbox
        self._sources.append(source)
        await self._messaging.add(inbox)
        return source

    def restart(self) -> None:
        """The connection is new: requests on the old one are void."""
        for source in self._sources:
            source.restart()

    async def close(self) -> None:
        """Give back the jobs that were not fetched."""
        for source in list(self._sources):
            await source.close()

    # --- for its sources -------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether a request would be answered now."""
        return self._connection.connected

    @property
    def clock(self) -> BusClock:
        """The server's clock."""
        return self._jetstream.clock

    def new_inbox(self) -> str:
        """A prefix of subjects that is not in use."""
        return self._messaging.new_inbox()

    async def publish(self, subject: str, data: bytes) -> None:
        """Send a message; raises BusError while disconnected."""
        await self._messaging.send(self._connection.require(), subject, data)

    async def pull(self, durable: str, request: Mapping[str, Any], reply: str) -> bool:
        """Send a pull request; False while the bus is away."""
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.RENDER_STREAM}.{durable}"
        try:
            await self._messaging.send(self._connection.require(), subject, json.dumps(request).encode(), reply)
        except BusError:
            return False
        return True

    async def ensure_consumer(self, durable: str, subject_filter: str, ack_wait_s: float) -> bool:
        """Make the consumer if it is missing; False: it cannot be made now."""
        stream = subjects.RENDER_STREAM
        config = stream_configs.consumer(durable, subject_filter, ack_wait_s=ack_wait_s)
        try:
            self._connection.require()
            await self._jetstream.api(
                f"CONSUMER.CREATE.{stream}.{durable}.{subject_filter}", {"stream_name": stream, "config": config}
            )
        except BusError as error:
            self._connection.warn("consumer not made", str(error))
            if isinstance(error, ApiError) and error.err_code == STREAM_NOT_FOUND:
                self._jetstream.streams_missing()
            return False
        self._messaging.metrics.repairs.labels(what="consumer").inc()
        return True

    def discard_source(self, source: NatsJobSource) -> None:
        """Forget a source that has closed."""
        with contextlib.suppress(ValueError):
            self._sources.remove(source)
