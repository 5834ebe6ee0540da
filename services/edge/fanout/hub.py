"""The registry of an edge's connections (shell), and the events of each connection.

The crowd (crowd.py) decides what connections are sent, the delivery (delivery.py) carries it out, and the ticker
(ticker.py) times it. streams.py keeps the streams that they hear.
"""

from __future__ import annotations

import asyncio
from typing import Any

from services.contract.timebase import tick_at
from services.edge.access.admission import Admission
from services.edge.access.refusal import Refusal
from services.edge.drain import drain
from services.edge.fanout import now_playing
from services.edge.fanout.connection import Connection
from services.edge.fanout.crowd import Crowd
from services.edge.fanout.delivery import Delivery
from services.edge.fanout.rounds import Rounds
from services.edge.fanout.stream import Stream
from services.edge.fanout.streams import Streams
from services.edge.fanout.ticker import Ticker
from services.edge.listener.actions import Join
from services.edge.listener.listener import Listener
from services.edge.listener.payloads import Format
from services.edge.listener.settings import ListenerSettings
from services.edge.metrics import NAMED_CLIENTS, EdgeMetrics
from services.edge.readiness import Readiness
from services.edge.stream.ring import Ring
from services.edge.streaming_server import StreamingServer
from services.edge.tasks import Tasks
from services.runtime.bus import Bus
from services.runtime.clock import Clock, unix_s
from services.runtime.health import Health
from services.runtime.settings import EdgeSettings


class Hub:
    """Registers connections and passes on what happens to them.

    Args:
        settings: limits.
        listener_settings: what is the same for every listener.
        bus: may still be disconnected.
        clock: the service's clock.
        metrics: the edge's metrics.
        health: gets the conditions "bus", "accepting" and, if the edge waits for renderers, "renderers".
        instance: this edge's name.
        server: builds the payloads; its clients are this hub's connections.

    Attributes:
        clock, instance: as above.
        connections: all connections, in the order in which they came; only for reading.
        streams: the streams that are kept.
        crowd: the listeners.
        ticker: the time.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        listener_settings: ListenerSettings,
        *,
        bus: Bus,
        clock: Clock,
        metrics: EdgeMetrics,
        health: Health,
        instance: str,
        server: StreamingServer,
    ) -> None:
        self.clock = clock
        self.instance = instance
        self._settings = settings
        self._listener_settings = listener_settings
        self._metrics = metrics
        self._payloads = server.payloads
        self.connections: dict[Connection, None] = {}
        self._named: dict[int, Connection] = {}
        server.clients = self.connections
        self._tasks = Tasks()
        self._admission = Admission(settings, metrics)
        self._readiness = Readiness(health, wait_for_renderers_s=settings.wait_for_renderers_s, now_s=clock.now())
        self._draining: asyncio.Task[None] | None = None
        self.streams: Streams[Connection] = Streams(
            settings.max_streams,
            bus=bus,
            clock=clock,
            metrics=metrics,
            instance=instance,
            tasks=self._tasks,
            on_sound=self._on_sound,
            on_unrenderable=self._on_unrenderable,
        )
        self._delivery = Delivery(
            streams=self.streams, payloads=server.payloads, metrics=metrics, max_streams=settings.max_streams
        )
        self.crowd = Crowd(
            clock=clock, streams=self.streams, delivery=self._delivery, payloads=server.payloads, metrics=metrics
        )
        self._rounds = Rounds(
            self.connections,
            self._named,
            clock=clock,
            bus=bus,
            streams=self.streams,
            crowd=self.crowd,
            delivery=self._delivery,
            readiness=self._readiness,
            metrics=metrics,
        )
        self.ticker = Ticker(clock=clock, streams=self.streams, crowd=self.crowd, rounds=self._rounds, metrics=metrics)

    # --- start and stop ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to tick. The bus is connected to in the background, without a time limit."""
        self._tasks.spawn(self.ticker.run(), "ticks")
        self.streams.start(lambda: self._rounds.update_readiness(self.clock.now()))

    async def stop(self) -> None:
        """End all tasks and subscriptions; idempotent."""
        await self.streams.stop()
        await self._tasks.stop()

    # --- admission ---------------------------------------------------------------------------------------------------

    @property
    def listeners(self) -> int:
        """Listeners that are connected or being connected."""
        return self._admission.listeners

    @property
    def draining(self) -> bool:
        """Whether this edge goes away and accepts no new listeners."""
        return self._draining is not None

    def admit(self, address: str) -> Refusal | None:
        """Count a listener in, before it is answered; None: accepted, and `release` must follow."""
        return self._admission.enter(address, draining=self.draining)

    def release(self, address: str) -> None:
        """The listener that `admit` counted in has gone."""
        self._admission.leave(address)

    # --- connections -------------------------------------------------------------------------------------------------

    def connect(self, *, format_: Format, events: bool, address: str, audience: int | None = None) -> Connection:
        """Register a listener. The caller gives it a transport, then passes on what it says.

        Args:
            format_: how its chunks are encoded.
            events: whether it gets `hello`, `status` and `splice`.
            address: the client's address.
            audience: None: a WebSocket of one person; a number: a mount with that many HTTP listeners.
        """
        listener = Listener(
            self._listener_settings,
            format_=format_,
            events=events,
            now_s=self.clock.now(),
            shift_s=self.clock.shift_s,
        )
        if audience is None:
            number = self._metrics.client_numbers.take()
            connection = Connection(listener, number, address)
            if number < NAMED_CLIENTS:
                self._named[number] = connection
            self._metrics.connections.inc()
        else:
            connection = Connection(listener, None, address, audience)
        self.connections[connection] = None
        self.crowd.add(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The connection is gone; idempotent."""
        if connection not in self.connections:
            return
        del self.connections[connection]
        self.crowd.remove(connection)
        self._delivery.end(connection)
        if connection.number is not None:
            self._named.pop(connection.number, None)
            self._metrics.client_numbers.give_back(connection.number)
            self._metrics.connections.dec()

    def receive(self, connection: Connection, data: str | bytes) -> None:
        """A listener has said something."""
        self.crowd.isolate(connection)
        now_s = self.clock.now()
        live = tick_at(now_s + self.clock.shift_s)
        actions = connection.listener.receive(data, now_s, live)
        self._payloads.begin(now_s + self.clock.shift_s)
        self._delivery.carry_out(connection, actions, now_s)
        if connection.started_s is None and connection.listener.spec is not None:
            connection.started_s = now_s
        if any(isinstance(action, Join) for action in actions):
            # Chunks that are there already are sent now and not at the next tick.
            self._advance_streams(connection, live)
            self.crowd.pump(connection, now_s, live)
        self._delivery.count(connection)
        self._set_alarm(connection, now_s)

    def on_writable(self, connection: Connection) -> None:
        """A connection that was stalled takes chunks again."""
        if connection.closed:
            return
        now_s = self.clock.now()
        self._payloads.begin(now_s + self.clock.shift_s)
        self.crowd.isolate(connection)
        self.crowd.pump(connection, now_s, self.live)

    def on_stall(self, connection: Connection) -> None:
        """A connection did not take all of a write: serve it as a single listener from now on."""
        # Before the next chunk: a cohort writes that straight into the sockets of all its members.
        self.crowd.isolate(connection)

    def count_mount_skip(self) -> None:
        """An HTTP listener was too slow and goes on at the newest part of its stream."""
        self._metrics.mount_skips.inc()

    def count_refusal(self, reason: str) -> None:
        """A client was refused before it reached the hub."""
        self._metrics.refusals.labels(reason=reason).inc()

    def count_send_error(self, kind: str) -> None:
        """A connection could not be written to."""
        self._metrics.send_errors.labels(error_type=kind).inc()

    def _advance_streams(self, connection: Connection, live: int) -> None:
        for stream_id in connection.listener.stream_ids:
            stream = self.streams.by_id.get(stream_id)
            if stream is not None:
                self.streams.advance(stream, live)

    def _set_alarm(self, connection: Connection, now_s: float) -> None:
        """Pump when a held-back change of stream may go on, which may be before the next tick."""
        wake_s = connection.listener.wake_s
        if wake_s is None or wake_s <= now_s or connection.alarm is not None or connection.closed:
            return

        def wake() -> None:
            connection.alarm = None
            self.on_writable(connection)
            self._set_alarm(connection, self.clock.now())

        connection.alarm = asyncio.get_running_loop().call_later(wake_s - now_s, wake)

    def _on_sound(self, stream: Stream[Connection]) -> None:
        self.crowd.on_sound(stream)

    def _on_unrenderable(self, stream: Stream[Connection]) -> None:
        self.crowd.turn_away(stream)

    # --- drain -------------------------------------------------------------------------------------------------------

    async def drain(self, *, settle_s: float | None = None) -> None:
        """Refuse new listeners and send all others elsewhere within the drain window; idempotent.

        Args:
            settle_s: seconds between "not ready" and the first close, so that no listener is sent back here; None: a
                tenth of the window, at most 3 s, and none if there are no listeners.
        """
        if self._draining is None:
            self._readiness.drain()
            self._draining = self._tasks.spawn(
                drain(self.connections, self._send_away, self.clock, self._settings.drain_s, settle_s), "drain"
            )
        await asyncio.shield(self._draining)

    def _send_away(self, connection: Connection) -> None:
        now_s = self.clock.now()
        self.crowd.isolate(connection)
        self._delivery.carry_out(connection, connection.listener.drain(now_s), now_s)

    # --- what others may know ----------------------------------------------------------------------------------------

    @property
    def live(self) -> int:
        """The live tick."""
        return tick_at(unix_s(self.clock))

    def ring_of(self, stream_id: str) -> Ring | None:
        """The ring of a stream; None: this edge does not keep the stream."""
        stream = self.streams.by_id.get(stream_id)
        return None if stream is None else stream.ring

    def status(self) -> dict[str, Any]:
        """The edge in a few figures, as `/api/status` answers."""
        now_s = self.clock.now()
        streams = self.streams
        return {
            "instance": self.instance,
            "ready": self._readiness.ready,
            "failing": list(self._readiness.failing),
            "draining": self.draining,
            "listeners": self.listeners,
            "max_listeners": self._settings.max_connections,
            "streams": sum(1 for stream in streams.by_id.values() if stream.subscribers),
            "max_streams": self._settings.max_streams,
            "titles": now_playing.titles(streams),
            "renderers": len(streams.presences.ready(now_s)),
            "warming": streams.presences.warming(now_s),
            "overloaded": streams.load.overloaded(now_s),
            "time": unix_s(self.clock),
        }

    def now_playing(self) -> list[dict[str, Any]]:
        """Every stream that is heard, the one with most listeners first."""
        return now_playing.describe(self.streams, unix_s(self.clock))
