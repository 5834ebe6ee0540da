"""The edge's heart (shell): listeners, and one wake per tick that moves them all.

Decisions are made by the pure parts (ring, demand, listener, tiers); this module gives them time and messages, and
carries out what they decide. A tick of 100 ms has eight beats: a small crowd is all sent its chunks at the first one, a
large crowd is spread over them, so that nobody waits for thousands of others.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from services.contract.timebase import TICK_S, TICKS_PER_S, block_of, due_s, tick_at
from services.contract.websocket import TIERS, CloseCode
from services.edge.access.admission import Admission
from services.edge.access.auth import FORBIDDEN
from services.edge.access.refusal import Refusal
from services.edge.fanout import now_playing
from services.edge.fanout.cohorts import Cohort, Key
from services.edge.fanout.connection import Connection
from services.edge.fanout.drain import drain
from services.edge.fanout.readiness import Readiness
from services.edge.fanout.streams import Stream, Streams
from services.edge.listener.actions import Action, Close, Join, Leave, SendChunk, SendEvent
from services.edge.listener.listener import Listener
from services.edge.listener.payloads import Format, Payload, event_payload
from services.edge.listener.settings import ListenerSettings
from services.edge.metrics import NAMED_SLOTS, EdgeMetrics
from services.edge.stream.chunk import Source
from services.edge.stream.ring import Ring
from services.edge.streaming_server import StreamingServer
from services.edge.wire.transport import BACKLOG_BYTES
from services.runtime.bus import Bus
from services.runtime.clock import Clock
from services.runtime.health import Health
from services.runtime.observability import traces
from services.runtime.observability.logging import RepeatLimiter, get_logger
from services.runtime.settings import EdgeSettings

_log = get_logger(__name__)

ROOM_CHUNKS: Final = 64
BEATS: Final = 8
"""Parts of a tick."""
BEAT_LISTENERS: Final = 640
"""So many share a beat before the next one is used: ten milliseconds of writing. Fewer would wait less, and cost more:
each time that the server falls asleep, so do those who read beside it."""
FEED_S: Final = 0.02
"""So long at most those are looked after at once who wait for a block that has just come."""
LOOK_AFTER_TICKS: Final = 5 * TICKS_PER_S
"""Once in so many ticks a listener of a crowd is asked for what only time brings: an old token, a new round trip."""
LOOSE_AT_LEAST_S: Final = 0.005
"""What a beat that is late still has for those who are looked at one by one."""


class Hub:
    """See the module's text.

    Args:
        settings: limits.
        listener_settings: what is the same for every listener.
        bus: may still be disconnected.
        clock: the service's clock.
        metrics: the edge's metrics.
        health: gets the conditions "bus", "accepting" and, where the settings say so, "renderers".
        instance: this edge's name.
        server: the fan-out.
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
        self.settings = settings
        self.clock = clock
        self.instance = instance
        self.server = server
        self.streams = Streams(
            settings.max_streams,
            bus=bus,
            clock=clock,
            metrics=metrics,
            instance=instance,
            on_sound=self._feed,
            on_unrenderable=self._turn_away,
        )
        self._listener_settings = listener_settings
        self._bus = bus
        self._metrics = metrics
        self._readiness = Readiness(health, wait_for_renderers_s=settings.wait_for_renderers_s, now_s=clock.now())
        self._connections: dict[Connection, None] = {}
        # By beat: cohorts, and the connections that are looked at one by one.
        self._cohorts: list[dict[Key, Cohort]] = [{} for _ in range(BEATS)]
        self._loose: list[dict[Connection, None]] = [{} for _ in range(BEATS)]
        self._admission = Admission(settings, metrics)
        self._limiter = RepeatLimiter()
        self._draining: asyncio.Task[None] | None = None
        self._second = -1
        self._round = -1
        self._tier_counts = dict.fromkeys(TIERS, 0)
        self._to_look_after: list[Connection] = []
        self._named: dict[int, Connection] = {}

    # --- start and stop ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to tick; the bus is connected to in the background, for ever."""
        self.streams.spawn(self._run_ticks(), "ticks")
        self.streams.start(self._look_at_readiness)

    async def stop(self) -> None:
        """End all tasks and subscriptions; idempotent."""
        await self.streams.stop()

    # --- admission ---------------------------------------------------------------------------------------------------

    @property
    def listeners(self) -> int:
        """Listeners that are connected or being connected."""
        return self._admission.listeners

    @property
    def draining(self) -> bool:
        """Whether nobody new is taken because this edge is going away."""
        return self._draining is not None

    @property
    def overloaded(self) -> bool:
        """Whether new streams are refused because blocks come late."""
        return self.streams.load.overloaded(self.clock.now())

    def admit(self, address: str) -> Refusal | None:
        """Count a listener in, before anything is answered; None means welcome, and `release` must follow."""
        return self._admission.enter(address, draining=self.draining)

    def release(self, address: str) -> None:
        """The listener that `admit` counted in has gone."""
        self._admission.leave(address)

    # --- connections -------------------------------------------------------------------------------------------------
    def connect(self, *, format_: Format, events: bool, address: str, audience: int | None = None) -> Connection:
        """A listener has connected; give it a transport, then pass on what it says.

        Args:
            format_: how it wants its chunks.
            events: it understands `hello`, `status` and `splice`.
            address: where it comes from.
            audience: None: a WebSocket of one person; a number: a mount, which counts and tells its own.
        """
        listener = Listener(self._listener_settings, format_=format_, events=events, now_s=self.clock.now())
        if audience is None:
            slot = self._metrics.slots.take()
            connection = Connection(listener, slot, address)
            if slot < NAMED_SLOTS:
                self._named[slot] = connection
            self._metrics.connections.inc()
        else:
            connection = Connection(listener, None, address, audience)
        connection.beat = 0 if connection.slot is None else connection.slot // BEAT_LISTENERS % BEATS
        self._connections[connection] = None
        self._loose[connection.beat][connection] = None
        self.server.clients.append(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The connection is gone; idempotent."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        self.server.clients.remove(connection)
        self._end(connection)
        if connection.slot is not None:
            self._named.pop(connection.slot, None)
            self._metrics.slots.give_back(connection.slot)
            self._metrics.connections.dec()

    def receive(self, connection: Connection, data: str | bytes) -> None:
        """A listener has said something."""
        self._take_out(connection)
        now_s = self.clock.now()
        live = tick_at(now_s)
        actions = connection.listener.receive(data, now_s, live)
        self.server.payloads.begin(now_s)
        self._carry_out(connection, actions, now_s, live)
        if connection.started_s is None and connection.listener.spec is not None:
            connection.started_s = now_s
        if any(isinstance(action, Join) for action in actions):
            # What is there already is sent now, and not at the next tick.
            for stream in connection.streams:
                self.streams.advance(stream, live)
            self._pump(connection, now_s, live)
        if connection.listener.counts != connection.counted:
            self._count(connection)
        self._set_alarm(connection, now_s)

    def on_writable(self, connection: Connection) -> None:
        """A connection that was stalled takes chunks again."""
        if connection.closed:
            return
        now_s = self.clock.now()
        self.server.payloads.begin(now_s)
        self._take_out(connection)
        self._pump(connection, now_s, tick_at(now_s))

    def stalled(self, connection: Connection) -> None:
        """A connection did not take at once what it was sent: from now on it is looked at by itself."""
        # At once: a cohort puts its next chunk straight into the sockets of all its members.
        self._take_out(connection)

    def count_mount_skip(self) -> None:
        """Somebody who fetches a mount was too slow and goes on at its newest part."""
        self._metrics.mount_skips.inc()

    def count_refusal(self, reason: str) -> None:
        """Somebody was turned away before the hub was asked."""
        self._metrics.refusals.labels(reason=reason).inc()

    def failed(self, kind: str) -> None:
        """A connection could not be written to."""
        self._metrics.send_errors.labels(error_type=kind).inc()

    def _set_alarm(self, connection: Connection, now_s: float) -> None:
        """Pump when a held-back change may go on, which may be before the next tick."""
        wake_s = connection.listener.wake_s
        if wake_s is None or connection.wake is not None:
            return

        def ring() -> None:
            connection.wake = None
            self.on_writable(connection)
            self._set_alarm(connection, self.clock.now())

        connection.wake = asyncio.get_running_loop().call_later(max(0.0, wake_s - now_s), ring)

    def _end(self, connection: Connection) -> None:
        """It will be sent nothing more: its streams need not be rendered for it."""
        self._take_out(connection)
        self._loose[connection.beat].pop(connection, None)
        connection.closed = True
        connection.listener.closed = True
        if connection.wake is not None:
            connection.wake.cancel()
            connection.wake = None
        for stream in list(connection.streams):
            self.streams.leave(connection, stream.id)

    # --- sending -----------------------------------------------------------------------------------------------------

    def _pump(self, connection: Connection, now_s: float, live: int, *, ticking: bool = False) -> None:
        """Send a listener everything that it may have now.

        Args:
            ticking: it is a tick, and what has not left since the last one is evidence of a slow connection.
        """
        transport = connection.transport
        if transport is None or connection.closed:
            return
        listener = connection.listener
        room = ROOM_CHUNKS
        backlog_bytes = transport.backlog_bytes()
        if backlog_bytes:
            if backlog_bytes > BACKLOG_BYTES:
                room = 0
                transport.notify_when_writable()
            if connection.backlog_since_s is None:
                connection.backlog_since_s = now_s
            elif ticking:
                listener.tiers.on_delay((now_s - connection.backlog_since_s) * 1000.0, now_s)
        else:
            connection.backlog_since_s = None
        try:
            actions = listener.pump(now_s, live, self.streams.timelines[listener.format], room)
        except Exception:  # noqa: BLE001 - one listener's trouble must not stop the tick for the others
            self._give_up(connection)
            return
        if actions:
            self._carry_out(connection, actions, now_s, live)
        if listener.counts != connection.counted:
            self._count(connection)
        ahead = listener.ahead(now_s)
        hungry = listener.starved or len(connection.streams) > 1
        for stream in connection.streams:
            stream.wanted_ahead = max(stream.wanted_ahead, ahead)
            stream.hungry = stream.hungry or hungry
            if hungry and stream.opus is not None:
                # It may be rendered and not encoded.
                stream.opus.work()

    def _feed(self, stream: Stream) -> None:
        """What somebody waits for is there: do not let them wait for the tick as well."""
        if not stream.hungry:
            return
        now_s = self.clock.now()
        live = tick_at(now_s)
        stream.hungry = False
        self.server.payloads.begin(now_s)
        self.streams.advance(stream, live)
        for cohorts in self._cohorts:
            for cohort in [cohort for key, cohort in cohorts.items() if key.stream is stream]:
                if cohort.next < cohort.due(live):
                    # It is behind: no beat needs to be waited for.
                    self._send_cohort(cohort, live, now_s)
        for connection in list(stream.connections):
            if connection.cohort is None and (connection.listener.starved or len(connection.streams) > 1):
                if self.clock.now() > now_s + FEED_S:
                    break  # a crowd waits for it: the rest at the tick, in turn
                self._pump(connection, now_s, live)

    def _turn_away(self, stream: Stream) -> None:
        """Renderers fail at the stream."""
        now_s = self.clock.now()
        for connection in list(stream.connections):
            self._take_out(connection)
            refusal = self._refuse(connection, stream.id, "unrenderable")
            self.streams.leave(connection, stream.id)
            self._carry_out(connection, refusal, now_s, tick_at(now_s))

    # --- cohorts -----------------------------------------------------------------------------------------------------

    def _take_out(self, connection: Connection) -> None:
        """Look at a listener by itself again; nothing may be asked of it before."""
        cohort = connection.cohort
        if cohort is None:
            return
        cohort.remove(connection)
        self._loose[connection.beat][connection] = None
        if not cohort:
            self._cohorts[connection.beat].pop(cohort.key, None)

    def _settle(self, connection: Connection, live: int) -> None:
        """Put a listener to whom nothing happens with those at the same place."""
        transport = connection.transport
        if transport is None or connection.slot is None or connection.closed or transport.backlog_bytes():
            return
        place = connection.listener.steady_place(live)
        if place is None:
            return
        key = Key(connection.streams[0], place, connection.listener.format)
        cohorts = self._cohorts[connection.beat]
        cohort = cohorts.get(key)
        if cohort is None:
            cohort = Cohort(key, 0)
            cohort.next = cohort.due(live + 1)
            cohorts[key] = cohort
        if cohort.next == cohort.due(live + 1):
            self._loose[connection.beat].pop(connection, None)
            cohort.add(connection)

    def _send_cohort(self, cohort: Cohort, live: int, due: float) -> None:
        """Send a cohort what it should have at the live tick, and what it could not be sent before.

        A cohort waits together for a chunk that is late and catches up together after ticks that were left out: if its
        members were looked at one by one whenever there is trouble, there would be more of it.
        """
        stream, place, format_ = cohort.key
        stream.wanted_ahead = max(stream.wanted_ahead, cohort.ahead)
        line = self.streams.timelines[format_].get(stream.id)
        here, last = live - place.lag, cohort.due(live)
        if line is None or cohort.next < here:
            self._disband(cohort)
            return
        while cohort.next <= last:
            chunk = line.chunk(cohort.next)
            if chunk is None:
                stream.hungry = True
                return
            if chunk.source is not Source.LIVE:
                self._disband(cohort)
                return
            payload = self.server.payloads.audio(chunk, format_, place.tier, cohort.next - here + 1)
            count = len(cohort)
            cohort.send(payload, self._write_failed)
            metrics = self._metrics
            metrics.sent.inc(count)
            metrics.sent_bytes.inc(count * len(payload.wire))
            metrics.jitter_ms.observe(max(0.0, self.clock.now() - due) * 1000.0)
            if traces.active is not None:
                block = block_of(chunk.tick)
                traces.active.add("write", stream.id, block, due, self.clock.now(), once=True, listeners=count)

    def _disband(self, cohort: Cohort) -> None:
        for connection in cohort.members:
            self._take_out(connection)

    def _write_failed(self, connection: Connection, error: Exception) -> None:
        self._say("write failed", address=connection.address, detail=repr(error))
        self.failed("closed")
        self._end(connection)

    def _carry_out(self, connection: Connection, actions: Iterable[Action], now_s: float, live: int) -> None:
        payloads: list[Payload] = []
        for action in actions:
            match action:
                case SendChunk():
                    payloads.append(
                        self.server.payloads.audio(
                            action.chunk, connection.listener.format, action.tier, action.depth, fresh=action.fresh
                        )
                    )
                case SendEvent():
                    self._count_event(action)
                    payloads.append(event_payload(action.body))
                case Join():
                    refused = self._join(connection, action, now_s)
                    if refused:
                        self._send_all(connection, payloads, now_s)
                        payloads = []
                        self._carry_out(connection, refused, now_s, live)
                case Leave():
                    self.streams.leave(connection, action.stream_id)
                case Close():
                    self._send_all(connection, payloads, now_s)
                    payloads = []
                    self._close(connection, action.code, action.reason)
        self._send_all(connection, payloads, now_s)

    def _send_all(self, connection: Connection, payloads: list[Payload], now_s: float) -> None:
        if not payloads:
            return
        connection.send_all(payloads)
        sizes = [len(payload.wire) for payload in payloads if payload.chunk_id >= 0]
        if sizes:
            self._metrics.sent.inc(len(sizes))
            self._metrics.sent_bytes.inc(sum(sizes))
            self._count_first(connection, now_s)

    def _close(self, connection: Connection, code: int, reason: str) -> None:
        if connection.transport is not None:
            # A close frame's reason is at most 123 bytes.
            connection.transport.close(code, reason.encode()[:120].decode(errors="ignore"))
        self._metrics.closes.labels(code=str(int(code))).inc()
        self._end(connection)

    def _give_up(self, connection: Connection) -> None:
        held_back = self._limiter.admit("listener failed")
        if held_back is not None:
            _log.exception("listener failed", address=connection.address, repeats=held_back)
        self.failed("exception")
        self._close(connection, 1011, "internal error")

    def _count_first(self, connection: Connection, now_s: float) -> None:
        if not connection.first_chunk:
            connection.first_chunk = True
            if connection.started_s is not None:
                self._metrics.first_audio.observe(max(0.0, now_s - connection.started_s))

    def _count(self, connection: Connection) -> None:
        """Carry over what has happened to a listener since the last time."""
        counts, before = connection.listener.counts, connection.counted
        metrics = self._metrics
        metrics.skips.inc(counts.skips - before.skips)
        metrics.skipped_chunks.inc(counts.skipped_chunks - before.skipped_chunks)
        metrics.splices.inc(counts.splices - before.splices)
        underruns = counts.underruns - before.underruns
        if underruns:
            metrics.underruns.inc(underruns)
            if connection.slot is not None:
                metrics.slots.count_underruns(connection.slot, underruns)
        connection.counted = replace(counts)

    def _count_event(self, event: SendEvent) -> None:
        body = event.body
        if body["type"] == "hello" and body["recovered"] is not None:
            self._metrics.resumes.labels(recovered="true" if body["recovered"] else "false").inc()

    def _join(self, connection: Connection, join: Join, now_s: float) -> list[Action]:
        """Give a listener a stream.

        Returns:
            What to do if it cannot have it.
        """
        allowed = connection.permit.allows(join.spec.stream_id)
        obstacle = self.streams.obstacle(join.spec.stream_id, now_s) if allowed else "token"
        if obstacle is not None:
            return self._refuse(connection, join.spec.stream_id, obstacle)
        self.streams.join(connection, join.spec, tick=join.tick, now_s=now_s)
        return []

    def _refuse(self, connection: Connection, stream_id: str, reason: str) -> list[Action]:
        self._metrics.refusals.labels(reason=reason).inc()
        text, code = {
            "token": (FORBIDDEN, CloseCode.UNAUTHORIZED),
            "unrenderable": ("this stream cannot be rendered; choose another", CloseCode.POLICY),
            "overload": ("all renderers are busy; choose a stream that is playing, or try later", CloseCode.TRY_LATER),
            "streams": (
                f"{self.settings.max_streams} streams are playing already; choose one of them, or try later",
                CloseCode.TRY_LATER,
            ),
        }[reason]
        return connection.listener.refused(stream_id, text, code=code)

    # --- time --------------------------------------------------------------------------------------------------------

    async def _run_ticks(self) -> None:
        tick = tick_at(self.clock.now())
        while True:
            tick += 1
            # After a long stall the ticks in between are left out; listeners catch up from where they are.
            await self._sleep_until(due_s(tick))
            # Multiplying back can round below the tick that was just waited for.
            tick = max(tick, tick_at(self.clock.now()))
            self._guarded(self._begin_tick, tick)
            for beat in range(BEATS):
                if self._cohorts[beat] or self._loose[beat]:
                    await self._sleep_until(due_s(tick) + beat * TICK_S / BEATS)
                    following = next(
                        (one for one in range(beat + 1, BEATS) if self._cohorts[one] or self._loose[one]), BEATS
                    )
                    self._guarded(self._beat, tick, beat, due_s(tick) + following * TICK_S / BEATS)
                if beat == 0:
                    self._guarded(self._end_tick)

    async def _sleep_until(self, due: float) -> None:
        # Once even when it is late: an edge that cannot keep up must still read, notice who has left, and end.
        await asyncio.sleep(0)
        while (wait_s := due - self.clock.now()) > 0:  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(wait_s)

    def _guarded(self, step: Callable[..., None], *args: float) -> None:
        try:
            step(*args)
        except Exception:  # noqa: BLE001 - the music must not end because one pass failed
            held_back = self._limiter.admit("tick failed")
            if held_back is not None:
                _log.exception("tick failed", repeats=held_back)

    def tick(self, live: int) -> None:
        """Move everything to the live tick, all its beats at once."""
        self._begin_tick(live)
        for beat in range(BEATS):
            self._beat(live, beat, math.inf)
        self._end_tick()

    def _begin_tick(self, live: int) -> None:
        now_s = self.clock.now()
        self._metrics.tick_lateness.observe(max(0.0, now_s - due_s(live)))
        if block_of(live) != self._second:
            self._second = block_of(live)
            self._each_second(now_s, live)
        if live // LOOK_AFTER_TICKS != self._round:
            self._round = live // LOOK_AFTER_TICKS
            self._begin_round()
        self._look_after(now_s, live)
        for stream in self.streams.by_id.values():
            if stream.connections:
                stream.ahead = stream.wanted_ahead
                self.streams.advance(stream, live)
                stream.hungry = False
                stream.wanted_ahead = 1

    def _beat(self, live: int, beat: int, until_s: float) -> None:
        """Send those of a beat their chunks.

        Args:
            live: the live tick.
            beat: its part.
            until_s: where looking at listeners one by one is broken off. Whoever is left out is the first at the next
                tick, and is sent what it lacks then: a crowd that was thrown out of its cohorts all at once must not
                keep those waiting who have found back, nor be looked at so late that it lacks more each time.
        """
        now_s = self.clock.now()
        due = due_s(live) + beat * TICK_S / BEATS
        self.server.payloads.begin(now_s)
        for cohort in list(self._cohorts[beat].values()):
            self._send_cohort(cohort, live, due)
        loose = self._loose[beat]
        until_s = max(until_s, self.clock.now() + LOOSE_AT_LEAST_S)
        for connection in list(loose):
            if self.clock.now() > until_s:
                break
            if connection not in loose:
                continue  # it has gone while another was looked at
            del loose[connection]
            loose[connection] = None
            try:
                self._pump(connection, now_s, live, ticking=True)
                self._settle(connection, live)
            except Exception:  # noqa: BLE001 - one listener's trouble must not stop the tick for the others
                self._give_up(connection)
        self._metrics.tick_work.observe(max(0.0, self.clock.now() - now_s))

    def _end_tick(self) -> None:
        now_s = self.clock.now()
        for stream in self.streams.by_id.values():
            if stream.connections:
                self.streams.ask(stream, now_s)

    def _each_second(self, now_s: float, live: int) -> None:
        self._look_at_readiness()
        self.streams.forget_left(now_s)
        self.streams.follow_revisions(now_s)
        now_playing.measure(self.streams, self._metrics, now_s, live)
        for slot, connection in self._named.items():
            if not connection.closed and connection.listener.spec is not None:
                if connection.cohort is not None:
                    connection.listener.advance_to(connection.cohort.next)
                self._metrics.slots.set_depth(slot, connection.listener.depth(live))

    def _look_at_readiness(self) -> None:
        now_s = self.clock.now()
        renderers = bool(self.streams.presences.ready(now_s))
        self._readiness.look(now_s, bus=self._bus.connected, renderers=renderers)

    def _begin_round(self) -> None:
        for tier, count in self._tier_counts.items():
            self._metrics.tiers.labels(tier=tier).set(count)
        self._tier_counts = dict.fromkeys(TIERS, 0)
        self._to_look_after = list(self._connections)

    def _look_after(self, now_s: float, live: int) -> None:
        """What is due every few seconds for every listener: a part of them at each tick."""
        for connection in islice(self._to_look_after, live % LOOK_AFTER_TICKS, None, LOOK_AFTER_TICKS):
            listener = connection.listener
            if connection.closed or listener.spec is None or connection.slot is None:
                continue
            self._tier_counts[listener.tiers.tier] += 1
            if connection.cohort is not None:
                listener.advance_to(connection.cohort.next)
            self._carry_out(connection, listener.renew_token(now_s), now_s, live)
            if connection.transport is not None:
                round_trip_s = connection.transport.round_trip_s()
                before_s, connection.round_trip_s = connection.round_trip_s, round_trip_s
                if round_trip_s and before_s and round_trip_s != before_s:
                    tier = listener.tiers.tier
                    listener.tiers.on_delay(abs(round_trip_s - before_s) * 1000.0, now_s)
                    if listener.tiers.tier != tier:
                        self._take_out(connection)

    # --- drain -------------------------------------------------------------------------------------------------------

    async def drain(self, *, settle_s: float | None = None) -> None:
        """Take nobody new and send everybody elsewhere, spread over the drain window; idempotent.

        Args:
            settle_s: seconds between saying "not ready" and the first close, so that nobody is sent back here; None: a
                tenth of the window, at most 3 s, and none if nobody listens.
        """
        if self._draining is None:
            self._readiness.drain()
            self._draining = self.streams.spawn(
                drain(self._connections, self._send_away, self.clock, self.settings.drain_s, settle_s), "drain"
            )
        await asyncio.shield(self._draining)

    def _send_away(self, connection: Connection) -> None:
        now_s = self.clock.now()
        self._take_out(connection)
        self._carry_out(connection, connection.listener.drain(now_s), now_s, tick_at(now_s))

    # --- what others may know ----------------------------------------------------------------------------------------

    def ring_of(self, stream_id: str) -> Ring | None:
        """The ring of a stream that is kept here."""
        stream = self.streams.by_id.get(stream_id)
        return None if stream is None else stream.ring

    def status(self) -> dict[str, Any]:
        """The edge in a few figures."""
        now_s = self.clock.now()
        streams = self.streams
        return {
            "instance": self.instance,
            "ready": self._readiness.ready,
            "failing": list(self._readiness.failing),
            "draining": self.draining,
            "listeners": self.listeners,
            "max_listeners": self.settings.max_connections,
            "streams": sum(1 for stream in streams.by_id.values() if stream.connections),
            "max_streams": self.settings.max_streams,
            "renderers": len(streams.presences.ready(now_s)),
            "warming": streams.presences.warming(now_s),
            "overloaded": streams.load.overloaded(now_s),
            "time": now_s,
        }

    def now_playing(self) -> list[dict[str, Any]]:
        """Every stream that is heard, the one with most listeners first."""
        return now_playing.describe(self.streams, self.clock.now())

    def _say(self, event: str, **fields: Any) -> None:
        """Log something that may repeat without end."""
        held_back = self._limiter.admit(event)
        if held_back is not None:
            _log.warning(event, repeats=held_back, **fields)
