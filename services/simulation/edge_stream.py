"""Pure: a stream of a simulated edge, with the decisions of production.

A stream is advanced only at the ticks at which something can change for it. The result is the same as advancing it at
every tick: while chunks have arrived, the ring's timeline does not depend on how often it is extended, and while a loop
plays, it is extended to the present before a block is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from services.contract.block import Block, stream_hash
from services.contract.spec import StreamSpec
from services.contract.timebase import TICK_S, block_of, due_s, first_tick, tick_at
from services.edge.stream.chunk import Source
from services.edge.stream.demand import LEAD_S, REASK_S, StreamDemand
from services.edge.stream.renderers import LoadGauge, Presences, choose_revision
from services.edge.stream.ring import Added, Ring
from services.simulation.event_queue import EventQueue
from services.simulation.network import Network
from services.simulation.tally import Tally

ASK_GRID_S: Final = 0.5
"""Step between two possible asks of a stream: blocks are 1 s apart, repeated asks `REASK_S`."""
LOOP_STEP_TICKS: Final = 5
"""Ticks between two advances of a stream that plays a loop."""
EVERY_TICK_TICKS: Final = 20
"""Ticks after a listener has joined in which the stream is advanced at every tick."""
HISTORY_S: Final = 0.003
"""How long it takes to read the blocks that JetStream keeps of a stream."""

if REASK_S % ASK_GRID_S:
    raise RuntimeError(f"REASK_S is {REASK_S}, expected a multiple of {ASK_GRID_S}: it would ask too late")


class Edge:
    """What the streams of one edge share.

    Attributes:
        name: unique in the fleet.
        offset_s: how far its clock is behind, seconds.
        load: whether it accepts new streams.
    """

    __slots__ = ("load", "name", "offset_s")

    def __init__(self, name: str, offset_s: float) -> None:
        self.name = name
        self.offset_s = offset_s
        self.load = LoadGauge()


class EdgeStream:
    """One stream with listeners on one edge.

    Args:
        edge: its edge.
        spec: the stream.
        ahead: chunks that its listener with the deepest buffer wants.
        network, events, tally: of the simulation.
        presences: workers that announce themselves.
        schedule: arranges that `tick` is called at a tick.

    Attributes:
        spec: as above.
        closed: whether its last listener has left.
    """

    __slots__ = (
        "_ahead",
        "_asking",
        "_demand",
        "_edge",
        "_events",
        "_every_tick_until",
        "_heard_from",
        "_joined_s",
        "_network",
        "_next_tick",
        "_presences",
        "_ring",
        "_schedule",
        "_tally",
        "closed",
        "spec",
    )  # fmt: skip

    def __init__(
        self,
        edge: Edge,
        spec: StreamSpec,
        ahead: int,
        *,
        network: Network,
        events: EventQueue,
        tally: Tally,
        presences: Presences,
        schedule: Callable[[int, EdgeStream], None],
    ) -> None:
        self.spec = spec
        self.closed = False
        self._edge = edge
        self._ahead = ahead
        self._network = network
        self._events = events
        self._tally = tally
        self._presences = presences
        self._schedule = schedule
        self._ring = Ring(stream_hash(spec.stream_id), bpm=spec.bpm)
        self._demand = StreamDemand(spec, edge.name)
        self._asking = False
        self._heard_from: int | None = None
        self._next_tick = 0
        self._joined_s = self._now()
        live = tick_at(self._joined_s)
        self._every_tick_until = live + EVERY_TICK_TICKS
        self._demand.hurry(block_of(live))
        self._choose_revision()
        events.after(HISTORY_S, self._opened)

    def _now(self) -> float:
        """Time by the edge's clock, unix seconds."""
        return self._events.now_s - self._edge.offset_s

    def _opened(self) -> None:
        if self.closed:
            return
        live = tick_at(self._now())
        for block in self._network.subscribe(self.spec.stream_id, self):
            self._ring.add(block, live)
        self._asking = True
        self._advance_and_ask(live)

    def close(self) -> None:
        """Its last listener has left."""
        if self.closed:
            return
        self.finish()
        self.closed = True
        if self._asking:
            self._network.unsubscribe(self.spec.stream_id, self)

    def finish(self) -> None:
        """Count what its listeners have heard up to now."""
        live = tick_at(self._now())
        self._advance(live)
        if self._heard_from is not None and not self.closed:
            self._tally.listened(self._heard_from, live)

    # --- time --------------------------------------------------------------------------------------------------------

    def tick(self, tick: int) -> None:
        """The simulation is at `tick`; calls at other ticks than the scheduled one do nothing."""
        if tick == self._next_tick and not self.closed:
            self._advance_and_ask(tick)

    def _advance_and_ask(self, live: int) -> None:
        self._advance(live)
        self._choose_revision()
        self._ask()
        self._next_tick = self._tick_of_next_change(live)
        self._schedule(self._next_tick, self)

    def _ask(self) -> None:
        revision = self._ring.target
        if not self._asking or revision is None:
            return
        for ask in self._demand.due(self._now(), revision, self._ring.has_block):
            self._network.ask(ask)

    def _choose_revision(self) -> None:
        capacity = self._presences.capacity(self._events.now_s) if self._ring.target is None else {}
        revision = choose_revision(capacity, self.spec.stream_id, self._ring.target)
        if revision is not None:
            self._ring.move_to(revision)

    def _tick_of_next_change(self, live: int) -> int:
        """The next tick at which the ring may change or an ask may be due."""
        ring = self._ring
        if ring.front is None or live < self._every_tick_until:
            return live + 1
        now_s = self._now()
        phase_s = (self._demand.delay_s - LEAD_S) % ASK_GRID_S
        ask_s = (math.floor((now_s - phase_s) / ASK_GRID_S + 1e-6) + 1) * ASK_GRID_S + phase_s
        ask_tick = max(live + 1, math.ceil(round(ask_s * 10, 6)))
        if ring.degraded:
            return min(ask_tick, live + LOOP_STEP_TICKS)
        if ring.front < live + self._ahead - 1:
            return live + 1
        block = block_of(ring.front + 1)
        while ring.arrived(block):
            block += 1
        last_arrived = first_tick(block) - 1
        return min(ask_tick, max(live + 1, last_arrived - self._ahead + 1))

    # --- the ring ----------------------------------------------------------------------------------------------------

    def on_block(self, block: Block) -> None:
        """A block has arrived."""
        if self.closed:
            return
        now_s = self._now()
        live = tick_at(now_s)
        if self._ring.degraded:
            self._advance(live)
        added = self._ring.add(block, live)
        self._tally.blocks[added] += 1
        if added is not Added.KEPT:
            return
        self._tally.arrived(due_s(block.first_tick) - now_s, now_s)
        asked_s = self._demand.asked_at(block_of(block.first_tick), block.revision)
        if asked_s is not None:
            self._edge.load.answered(now_s - asked_s, now_s)
        front = self._ring.front
        if front is None or front < live + self._ahead - 1:
            # A listener is waiting, and the hub sends to it without waiting for the tick.
            self._advance(live)

    def _advance(self, live: int) -> None:
        """Extend the ring's timeline and count the new chunks."""
        ring = self._ring
        front, degraded = ring.front, ring.degraded
        ring.advance(live, self._ahead)
        now_front = ring.front
        if now_front is None:
            return
        if self._heard_from is None:
            self._heard_from = live
            self._tally.began(self._now() - self._joined_s)
        elif degraded or ring.degraded:
            begin = max(self._heard_from, (front if front is not None else live - 1) + 1)
            for tick in range(begin, now_front + 1):
                chunk = ring.chunk(tick)
                if chunk is not None and chunk.source is not Source.LIVE:
                    self._tally.patched(due_s(tick), (tick - self._heard_from) * TICK_S)
        if now_front < live:
            self._tally.silent()
