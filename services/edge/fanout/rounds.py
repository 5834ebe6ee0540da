"""Periodic work (shell): each second for the edge, every five seconds for each listener."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from services.contract.timebase import TICKS_PER_S
from services.contract.websocket import TIERS
from services.edge.fanout import now_playing
from services.edge.fanout.connection import Connection
from services.edge.fanout.crowd import Crowd
from services.edge.fanout.delivery import Delivery
from services.edge.fanout.streams import Streams
from services.edge.metrics import EdgeMetrics
from services.edge.readiness import Readiness
from services.edge.wire.transport import Transport
from services.runtime.bus import Bus
from services.runtime.clock import Clock, unix_s
from services.runtime.clock_spread import OWN, describe

ROUND_TICKS: Final = 5 * TICKS_PER_S
"""Ticks of a round: each looks at one part of the listeners, so a round looks at each listener once."""


class Rounds:
    """Checks and measures what changes with time alone.

    Args:
        connections: all connections, as they come and go.
        named: client number -> connection, of those that have series of their own in the metrics.
        clock: the service's clock.
        bus: whether it is connected is a condition of readiness.
        streams, crowd, delivery: the fan-out.
        readiness: gets its conditions.
        metrics: the edge's metrics.
    """

    def __init__(
        self,
        connections: Iterable[Connection],
        named: Mapping[int, Connection],
        *,
        clock: Clock,
        bus: Bus,
        streams: Streams[Connection],
        crowd: Crowd,
        delivery: Delivery,
        readiness: Readiness,
        metrics: EdgeMetrics,
    ) -> None:
        self._connections = connections
        self._named = named
        self._clock = clock
        self._bus = bus
        self._streams = streams
        self._crowd = crowd
        self._delivery = delivery
        self._readiness = readiness
        self._metrics = metrics
        self._tier_counts = dict.fromkeys(TIERS, 0)
        self._in_round: list[Connection] = []

    def each_second(self, now_s: float, live: int) -> None:
        """Look at readiness, streams and the depths of named clients."""
        self.update_readiness(now_s)
        self._streams.each_second(now_s)
        now_playing.measure(self._streams, self._metrics, now_s, live)
        for number, connection in self._named.items():
            if not connection.closed and connection.listener.spec is not None:
                self._crowd.catch_up(connection)
                self._metrics.client_numbers.set_depth(number, connection.listener.depth(live))

    def update_readiness(self, now_s: float) -> None:
        """Say whether the edge should get listeners."""
        renderers = bool(self._streams.presences.ready(now_s))
        clocks = describe(self._compare_clocks(now_s), own="this edge")
        self._readiness.update(
            now_s,
            bus=self._bus.connected,
            renderers=renderers,
            stream_faults=self._bus.stream_faults.values(),
            clocks=clocks,
        )

    def _compare_clocks(self, now_s: float) -> dict[str, float]:
        """Name -> seconds ahead of the median, of this edge, the renderers and the bus."""
        clocks, bus_s = self._streams.clocks, self._bus.unix_s()
        if bus_s is not None and self._bus.connected:
            clocks.heard("the bus", bus_s - unix_s(self._clock), now_s)
        differences = clocks.differences(now_s)
        self._metrics.clock_difference.set(differences.get(OWN, 0.0))
        return differences

    def begin_round(self) -> None:
        """Publish what the last round has counted, and begin a new one."""
        for tier, count in self._tier_counts.items():
            self._metrics.tiers.labels(tier=tier).set(count)
        self._tier_counts = dict.fromkeys(TIERS, 0)
        self._in_round = list(self._connections)

    def look_at_part(self, now_s: float, live: int) -> None:
        """Look at the part of the listeners whose turn it is at this tick."""
        for connection in islice(self._in_round, live % ROUND_TICKS, None, ROUND_TICKS):
            listener = connection.listener
            if connection.closed or listener.spec is None or connection.number is None:
                continue
            self._tier_counts[listener.tiers.tier] += 1
            self._crowd.catch_up(connection)
            if token := listener.renew_token(now_s):
                self._delivery.carry_out(connection, token, now_s)
            if connection.transport is not None:
                self._measure_round_trip(connection, connection.transport, now_s)

    def _measure_round_trip(self, connection: Connection, transport: Transport, now_s: float) -> None:
        """A round trip that has changed is evidence of jitter."""
        round_trip_s = transport.round_trip_s()
        before_s, connection.round_trip_s = connection.round_trip_s, round_trip_s
        if not round_trip_s or not before_s or round_trip_s == before_s:
            return
        tiers = connection.listener.tiers
        tier = tiers.tier
        tiers.on_delay(abs(round_trip_s - before_s) * 1000.0, now_s)
        if tiers.tier != tier:
            self._crowd.isolate(connection)
