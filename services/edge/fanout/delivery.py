"""The delivery (shell) carries out listeners' actions: send, join, leave, close."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from services.contract.spec import StreamSpec
from services.contract.websocket import CloseCode
from services.edge.access.auth import FORBIDDEN
from services.edge.fanout.connection import Connection
from services.edge.fanout.streams import Obstacle, Streams
from services.edge.listener.actions import Action, Close, Join, Leave, SendChunk, SendEvent
from services.edge.listener.payloads import Payload, PayloadCache, event_payload
from services.edge.metrics import EdgeMetrics
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog

CLOSE_REASON_BYTES: Final = 120
"""Longest reason that is sent in a close frame, which has space for 123 bytes (RFC 6455, section 5.5)."""
INTERNAL_ERROR: Final = 1011
"""The WebSocket protocol's own close code for a fault of the server."""

_REFUSALS: Final[Mapping[Obstacle, tuple[str, CloseCode]]] = {
    Obstacle.UNRENDERABLE: ("this stream cannot be rendered; choose another", CloseCode.POLICY),
    Obstacle.OVERLOAD: (
        "all renderers are busy; choose a stream that is playing, or try later",
        CloseCode.TRY_LATER,
    ),
    Obstacle.STREAMS: (
        "{max_streams} streams are playing already; choose one of them, or try later",
        CloseCode.TRY_LATER,
    ),
}

_rare_log = RateLimitedLog(get_logger(__name__))


class Delivery:
    """Carries out the actions of listeners and counts them.

    Args:
        streams: are joined and left.
        payloads: builds the messages.
        metrics: counts what is sent, refused and closed.
        max_streams: for the text of a refusal.
    """

    def __init__(
        self, *, streams: Streams[Connection], payloads: PayloadCache, metrics: EdgeMetrics, max_streams: int
    ) -> None:
        self._streams = streams
        self._payloads = payloads
        self._metrics = metrics
        self._max_streams = max_streams

    def carry_out(self, connection: Connection, actions: Iterable[Action], now_s: float) -> None:
        """Do what the listener's state machine has decided, in order.

        Args:
            connection: the listener.
            actions: from its state machine.
            now_s: unix seconds.
        """
        payloads: list[Payload] = []
        for action in actions:
            match action:
                case SendChunk():
                    payloads.append(
                        self._payloads.audio(
                            action.chunk, connection.format, action.tier, action.depth, fresh=action.fresh
                        )
                    )
                case SendEvent():
                    self._count_event(action)
                    payloads.append(event_payload(action.body))
                case Join():
                    refusal = self._join(connection, action.spec, action.tick, now_s)
                    if refusal:
                        self._send_all(connection, payloads, now_s)
                        payloads = []
                        self.carry_out(connection, refusal, now_s)
                case Leave():
                    self._streams.leave(connection, action.stream_id)
                case Close():
                    self._send_all(connection, payloads, now_s)
                    payloads = []
                    self._close(connection, action.code, action.reason)
        self._send_all(connection, payloads, now_s)

    def refuse(self, connection: Connection, stream_id: str, obstacle: Obstacle, now_s: float) -> None:
        """A stream that the listener has joined cannot be rendered after all."""
        refusal = self._refuse(connection, stream_id, obstacle)
        self._streams.leave(connection, stream_id)
        self.carry_out(connection, refusal, now_s)

    def count(self, connection: Connection) -> None:
        """Bring the metrics up to date with what has happened to a listener."""
        counts, before = connection.listener.counts, connection.counted
        if counts == before:
            return
        metrics = self._metrics
        metrics.skips.inc(counts.skips - before.skips)
        metrics.skipped_chunks.inc(counts.skipped_chunks - before.skipped_chunks)
        metrics.splices.inc(counts.splices - before.splices)
        underruns = counts.underruns - before.underruns
        if underruns:
            metrics.underruns.inc(underruns)
            if connection.number is not None:
                metrics.client_numbers.count_underruns(connection.number, underruns)
        connection.counted = replace(counts)

    # --- the end of a connection -------------------------------------------------------------------------------------

    def end(self, connection: Connection) -> None:
        """Stop sending to the listener and leave its streams; idempotent."""
        connection.closed = True
        connection.listener.closed = True
        if connection.alarm is not None:
            connection.alarm.cancel()
            connection.alarm = None
        for stream_id in connection.listener.stream_ids:
            self._streams.leave(connection, stream_id)

    def write_failed(self, connection: Connection, error: Exception) -> None:
        """The connection could not be written to."""
        _rare_log.warning("write failed", address=connection.address, detail=repr(error))
        self._metrics.send_errors.labels(error_type="closed").inc()
        self.end(connection)

    def give_up(self, connection: Connection) -> None:
        """The listener's state machine has failed; called while its exception is handled."""
        _rare_log.exception("listener failed", address=connection.address)
        self._metrics.send_errors.labels(error_type="exception").inc()
        self._close(connection, INTERNAL_ERROR, "internal error")

    def _close(self, connection: Connection, code: int, reason: str) -> None:
        if connection.transport is not None:
            connection.transport.close(code, reason.encode()[:CLOSE_REASON_BYTES].decode(errors="ignore"))
        self._metrics.closes.labels(code=str(int(code))).inc()
        self.end(connection)

    # --- joining -----------------------------------------------------------------------------------------------------

    def _join(self, connection: Connection, spec: StreamSpec, tick: int, now_s: float) -> list[Action]:
        """Give a listener a stream; returns what to do if that is not possible."""
        if not connection.permit.allows(spec.stream_id):
            self._metrics.refusals.labels(reason="token").inc()
            return connection.listener.refused(spec.stream_id, FORBIDDEN, code=CloseCode.UNAUTHORIZED)
        joined = self._streams.join(connection, spec, tick=tick, now_s=now_s)
        return self._refuse(connection, spec.stream_id, joined) if isinstance(joined, Obstacle) else []

    def _refuse(self, connection: Connection, stream_id: str, obstacle: Obstacle) -> list[Action]:
        self._metrics.refusals.labels(reason=obstacle).inc()
        text, code = _REFUSALS[obstacle]
        return connection.listener.refused(stream_id, text.format(max_streams=self._max_streams), code=code)

    # --- sending -----------------------------------------------------------------------------------------------------

    def _send_all(self, connection: Connection, payloads: list[Payload], now_s: float) -> None:
        if not payloads:
            return
        connection.send_all(payloads)
        sizes = [len(payload.wire) for payload in payloads if payload.chunk_id >= 0]
        if sizes:
            self._metrics.sent.inc(len(sizes))
            self._metrics.sent_bytes.inc(sum(sizes))
            self._count_first(connection, now_s)

    def _count_first(self, connection: Connection, now_s: float) -> None:
        if not connection.heard:
            connection.heard = True
            if connection.started_s is not None:
                self._metrics.first_audio.observe(max(0.0, now_s - connection.started_s))

    def _count_event(self, event: SendEvent) -> None:
        body = event.body
        if body["type"] == "hello" and body["recovered"] is not None:
            self._metrics.resumes.labels(recovered="true" if body["recovered"] else "false").inc()
