"""All listeners of an edge (shell): cohorts, which share payloads, and single listeners.

A tick has eight slots. A small crowd is sent all its chunks in the first slot; a large crowd is spread over the slots,
so that no listener waits for thousands of others. Within a slot cohorts come first. Single listeners share, in turn,
the rest of the slot, and a turn brings a listener all chunks that it lacks. So after a stall that takes thousands of
listeners out of their cohorts, the edge has less to do with each turn, and not more.
"""

from __future__ import annotations

from typing import Final

from services.contract.timebase import block_of, tick_at
from services.edge.fanout.cohorts import Cohort, Key
from services.edge.fanout.connection import Connection
from services.edge.fanout.delivery import Delivery
from services.edge.fanout.stream import Stream
from services.edge.fanout.streams import Obstacle, Streams
from services.edge.listener.payloads import PayloadCache
from services.edge.metrics import EdgeMetrics
from services.edge.stream.chunk import Source
from services.edge.wire.transport import BACKLOG_BYTES, Transport
from services.runtime.clock import Clock
from services.runtime.observability import traces

SLOTS: Final = 8
"""Parts of a tick."""
SLOT_LISTENERS: Final = 640
"""Listeners per slot before the next slot is used: ten milliseconds of writing. With fewer per slot each would
wait less, but the edge and the processes that read from it would sleep and wake more often."""
CAPACITY_CHUNKS: Final = 64
"""Chunks that a connection without a backlog takes at a time."""
STARVED_WITHIN_S: Final = 0.02
"""How long single listeners that wait for a block are served when it arrives; the rest get it at the next tick."""
SINGLES_AT_LEAST_S: Final = 0.005
"""Time that a slot has for single listeners even if it is late."""


class Crowd:
    """Decides which listener is sent which chunks, slot by slot.

    Args:
        clock: the service's clock.
        streams: the timelines, and what listeners want of them.
        delivery: carries out what single listeners decide.
        payloads: builds the messages.
        metrics: the edge's metrics.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        streams: Streams[Connection],
        delivery: Delivery,
        payloads: PayloadCache,
        metrics: EdgeMetrics,
    ) -> None:
        self._clock = clock
        self._streams = streams
        self._delivery = delivery
        self._payloads = payloads
        self._metrics = metrics
        # Both by slot. The single listener that waits longest for its turn comes first.
        self._cohorts: list[dict[Key, Cohort]] = [{} for _ in range(SLOTS)]
        self._singles: list[dict[Connection, None]] = [{} for _ in range(SLOTS)]
        self._cohort_of: dict[Connection, Cohort] = {}

    # --- coming and going --------------------------------------------------------------------------------------------

    def add(self, connection: Connection) -> None:
        """A listener has connected; it begins as a single listener."""
        connection.slot = 0 if connection.number is None else connection.number // SLOT_LISTENERS % SLOTS
        self._singles[connection.slot][connection] = None

    def remove(self, connection: Connection) -> None:
        """A listener has gone; idempotent."""
        self.isolate(connection)
        self._singles[connection.slot].pop(connection, None)

    def isolate(self, connection: Connection) -> None:
        """Take a listener out of its cohort; without that its state machine is out of date."""
        cohort = self._cohort_of.pop(connection, None)
        if cohort is None:
            return
        cohort.remove(connection)
        self._singles[connection.slot][connection] = None
        if not cohort:
            self._cohorts[connection.slot].pop(cohort.key, None)

    def catch_up(self, connection: Connection) -> None:
        """Bring the cursor of a listener up to date, which stays in its cohort."""
        cohort = self._cohort_of.get(connection)
        if cohort is not None:
            connection.listener.advance_to(cohort.next)

    def is_occupied(self, slot: int) -> bool:
        """Whether listeners are sent chunks in this slot."""
        return bool(self._cohorts[slot] or self._singles[slot])

    # --- sending -----------------------------------------------------------------------------------------------------

    def send_slot(self, slot: int, live: int, due_at_s: float, until_s: float) -> None:
        """Send the listeners of a slot their chunks.

        Args:
            slot: 0 to `SLOTS` - 1.
            live: the live tick.
            due_at_s: when the slot begins (unix seconds).
            until_s: when the turns of single listeners end (unix seconds). Listeners that are left out come first at
                the next tick, and get then what they lack. Without this end, a crowd that has left its cohorts would
                delay the listeners that have returned to theirs, and each pass would find more to do.
        """
        now_s = self._clock.now()
        self._payloads.begin(now_s + self._clock.shift_s)
        for cohort in list(self._cohorts[slot].values()):
            self._send_cohort(cohort, live, due_at_s)
        singles = self._singles[slot]
        until_s = max(until_s, self._clock.now() + SINGLES_AT_LEAST_S)
        for connection in list(singles):
            if self._clock.now() > until_s:
                break
            if connection not in singles:
                continue  # it has gone while another listener was looked at
            del singles[connection]
            singles[connection] = None
            try:
                self.pump(connection, now_s, live, ticking=True)
                self._settle(connection, live)
            except Exception:  # noqa: BLE001 - one listener's trouble must not stop the tick for the others
                self._delivery.give_up(connection)
        self._metrics.tick_work.observe(max(0.0, self._clock.now() - now_s))

    def pump(self, connection: Connection, now_s: float, live: int, *, ticking: bool = False) -> None:
        """Send a single listener everything that it may be sent now.

        Args:
            connection: the listener.
            now_s: unix seconds.
            live: the live tick.
            ticking: a tick has passed, so bytes that are still unsent are evidence of a slow connection.
        """
        transport = connection.transport
        if transport is None or connection.closed:
            return
        listener = connection.listener
        capacity = self._capacity(connection, transport, now_s, ticking=ticking)
        try:
            actions = listener.pump(now_s, live, self._streams.timelines[connection.format], capacity)
        except Exception:  # noqa: BLE001 - one listener's trouble must not stop the tick for the others
            self._delivery.give_up(connection)
            return
        if actions:
            self._delivery.carry_out(connection, actions, now_s)
        self._delivery.count(connection)
        if connection.closed:
            return
        ahead, starved = listener.ahead(now_s), listener.starved
        for stream_id in listener.stream_ids:
            self._streams.want(stream_id, ahead, starved=starved)

    def on_sound(self, stream: Stream[Connection]) -> None:
        """Send new chunks of a stream to the listeners that wait for them."""
        now_s = self._clock.now()
        live = tick_at(now_s + self._clock.shift_s)
        self._payloads.begin(now_s + self._clock.shift_s)
        for cohorts in self._cohorts:
            for cohort in [cohort for key, cohort in cohorts.items() if key.stream_id == stream.id]:
                if cohort.next < cohort.due(live):
                    # It is behind, so it does not wait for its slot.
                    self._send_cohort(cohort, live, now_s)
        for connection in list(stream.subscribers):
            if connection not in self._cohort_of and connection.listener.starved:
                if self._clock.now() > now_s + STARVED_WITHIN_S:
                    break
                self.pump(connection, now_s, live)

    def jump(self, ticks: int) -> None:
        """Time has jumped by `ticks`: all listeners go on where they are, and are told."""
        now_s, shift_s = self._clock.now(), self._clock.shift_s
        for slot in range(SLOTS):
            for cohort in list(self._cohorts[slot].values()):
                self._disband(cohort)
            for connection in list(self._singles[slot]):
                self._delivery.carry_out(connection, connection.listener.jump(ticks, shift_s, now_s), now_s)

    def turn_away(self, stream: Stream[Connection]) -> None:
        """Refuse the listeners of a stream that renderers fail at."""
        now_s = self._clock.now()
        for connection in list(stream.subscribers):
            self.isolate(connection)
            self._delivery.refuse(connection, stream.id, Obstacle.UNRENDERABLE, now_s)

    def _capacity(self, connection: Connection, transport: Transport, now_s: float, *, ticking: bool) -> int:
        """Chunks that a connection takes now."""
        backlog_bytes = transport.backlog_bytes()
        if not backlog_bytes:
            connection.backlog_since_s = None
            return CAPACITY_CHUNKS
        if connection.backlog_since_s is None:
            connection.backlog_since_s = now_s
        elif ticking:
            connection.listener.tiers.on_delay((now_s - connection.backlog_since_s) * 1000.0, now_s)
        if backlog_bytes <= BACKLOG_BYTES:
            return CAPACITY_CHUNKS
        transport.notify_when_writable()
        return 0

    # --- cohorts -----------------------------------------------------------------------------------------------------

    def _settle(self, connection: Connection, live: int) -> None:
        """Move a listener that needs only one chunk a tick into the cohort of its place."""
        transport = connection.transport
        if transport is None or connection.number is None or connection.closed or transport.backlog_bytes():
            return
        place = connection.listener.steady_place(live)
        if place is None:
            return
        key = Key(connection.listener.stream_ids[0], place, connection.format)
        cohorts = self._cohorts[connection.slot]
        cohort = cohorts.get(key)
        if cohort is None:
            cohort = Cohort(key, 0)
            cohort.next = cohort.due(live + 1)
            cohorts[key] = cohort
        if cohort.next == cohort.due(live + 1):
            self._singles[connection.slot].pop(connection, None)
            cohort.add(connection)
            self._cohort_of[connection] = cohort

    def _send_cohort(self, cohort: Cohort, live: int, due_at_s: float) -> None:
        """Send a cohort the chunks up to the live tick's, those that it lacks from before included.

        A cohort waits together for a late chunk, and catches up together after ticks that were left out: looking at its
        members one by one in such moments would make things worse.
        """
        stream_id, place, format_ = cohort.key
        self._streams.want(stream_id, cohort.ahead, starved=False)
        timeline = self._streams.timelines[format_].get(stream_id)
        here, last = live - place.lag, cohort.due(live)
        if timeline is None or cohort.next < here:
            self._disband(cohort)
            return
        while cohort.next <= last:
            chunk = timeline.chunk(cohort.next)
            if chunk is None:
                self._streams.want(stream_id, cohort.ahead, starved=True)
                return
            if chunk.source is not Source.LIVE:
                self._disband(cohort)
                return
            payload = self._payloads.audio(chunk, format_, place.tier, cohort.next - here + 1)
            count = len(cohort)
            cohort.send(payload, self._write_failed)
            metrics = self._metrics
            metrics.sent.inc(count)
            metrics.sent_bytes.inc(count * len(payload.wire))
            metrics.jitter_ms.observe(max(0.0, self._clock.now() - due_at_s) * 1000.0)
            if traces.active is not None:
                traces.active.add(
                    "write", stream_id, block_of(chunk.tick), due_at_s, self._clock.now(), once=True, listeners=count
                )

    def _disband(self, cohort: Cohort) -> None:
        for connection in cohort.members:
            self.isolate(connection)

    def _write_failed(self, connection: Connection, error: Exception) -> None:
        self.remove(connection)
        self._delivery.write_failed(connection, error)
