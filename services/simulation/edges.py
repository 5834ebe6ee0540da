"""An edge's streams: the shell of streams.py and hub.py in simulated time around the same decisions.

A stream is looked at only at the ticks at which something can change for it. That is exact: while the chunks that its
listeners want have arrived, drawing the line at every tick or all at once draws the same line, and in a loop it is
drawn up to the present before a block is let in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from services.contract.block import Block, stream_hash
from services.contract.spec import StreamSpec
from services.contract.timebase import TICK_S, block_of, due_s, first_tick, tick_at
from services.edge.stream.demand import LEAD_S, REASK_S, StreamDemand
from services.edge.stream.renderers import LoadGauge, Presences, choose_revision
from services.edge.stream.ring import Added, Ring, Source
from services.simulation.network import Network
from services.simulation.report import Tally
from services.simulation.timeline import Timeline

ASK_GRID_S: Final = 0.5
"""All asks of a stream are multiples of this apart: blocks are 1 s apart, repeated asks `REASK_S`."""
LOOP_LOOK_TICKS: Final = 5
HURRIED_TICKS: Final = 20
"""For so long after a listener has come the stream is looked at in every tick."""
LOOK_UP_S: Final = 0.003
"""What JetStream keeps of a stream is there after so long."""

if REASK_S % ASK_GRID_S:
    raise RuntimeError(f"REASK_S is {REASK_S}, no multiple of {ASK_GRID_S} s: the simulation would look too late")


class Edge:
    """One edge, as far as its streams share it.

    Attributes:
        name: unique in the fleet.
        offset_s: how far its clock is behind.
        load: whether it takes new streams.
    """

    __slots__ = ("load", "name", "offset_s")

    def __init__(self, name: str, offset_s: float) -> None:
        self.name = name
        self.offset_s = offset_s
        self.load = LoadGauge()


class Seat:
    """One stream with listeners on one edge.

    Args:
        edge: where.
        spec: the stream.
        ahead: chunks that its deepest listener wants.
        network, timeline, tally: the world.
        presences: who renders.
        look_at: has `tick` called at a tick.
    """

    __slots__ = (
        "_ahead", "_asking", "_demand", "_edge", "_heard_from", "_hurried_until", "_joined_s", "_look_at", "_network",
        "_next_look", "_presences", "_ring", "_tally", "_time", "closed", "spec",
    )  # fmt: skip

    def __init__(
        self,
        edge: Edge,
        spec: StreamSpec,
        ahead: int,
        *,
        network: Network,
        timeline: Timeline,
        tally: Tally,
        presences: Presences,
        look_at: Callable[[int, Seat], None],
    ) -> None:
        self.spec = spec
        self.closed = False
        self._edge = edge
        self._ahead = ahead
        self._network = network
        self._time = timeline
        self._tally = tally
        self._presences = presences
        self._look_at = look_at
        self._ring = Ring(stream_hash(spec.stream_id), bpm=spec.bpm)
        self._demand = StreamDemand(spec, edge.name)
        self._asking = False
        self._heard_from: int | None = None
        self._next_look = 0
        self._joined_s = self._now()
        live = tick_at(self._joined_s)
        self._hurried_until = live + HURRIED_TICKS
        self._demand.hurry(block_of(live))
        self._choose_revision()
        timeline.after(LOOK_UP_S, self._opened)

    def _now(self) -> float:
        """The edge's clock."""
        return self._time.now_s - self._edge.offset_s

    def _opened(self) -> None:
        if self.closed:
            return
        live = tick_at(self._now())
        for block in self._network.subscribe(self.spec.stream_id, self):
            self._ring.add(block, live)
        self._asking = True
        self._look(live)

    def close(self) -> None:
        """Its last listener has gone."""
        if self.closed:
            return
        self.finish()
        self.closed = True
        if self._asking:
            self._network.unsubscribe(self.spec.stream_id, self)

    def finish(self) -> None:
        """Count what has been heard up to now."""
        live = tick_at(self._now())
        self._advance(live)
        if self._heard_from is not None and not self.closed:
            self._tally.listened(self._heard_from, live)

    # --- time --------------------------------------------------------------------------------------------------------

    def tick(self, tick: int) -> None:
        """The timeline is at `tick`; called too often does no harm."""
        if tick == self._next_look and not self.closed:
            self._look(tick)

    def _look(self, live: int) -> None:
        self._advance(live)
        self._choose_revision()
        self._ask()
        self._next_look = self._when_next(live)
        self._look_at(self._next_look, self)

    def _ask(self) -> None:
        revision = self._ring.target
        if not self._asking or revision is None:
            return
        for ask in self._demand.due(self._now(), revision, self._ring.has_block):
            self._network.ask(ask)

    def _choose_revision(self) -> None:
        capacity = self._presences.capacity(self._time.now_s) if self._ring.target is None else {}
        revision = choose_revision(capacity, self.spec.stream_id, self._ring.target)
        if revision is not None:
            self._ring.move_to(revision)

    def _when_next(self, live: int) -> int:
        """The next tick at which there may be something to do."""
        ring = self._ring
        if ring.front is None or live < self._hurried_until:
            return live + 1
        now_s = self._now()
        phase_s = (self._demand.delay_s - LEAD_S) % ASK_GRID_S
        ask_s = (math.floor((now_s - phase_s) / ASK_GRID_S + 1e-6) + 1) * ASK_GRID_S + phase_s
        ask_tick = max(live + 1, math.ceil(round(ask_s * 10, 6)))
        if ring.degraded:
            return min(ask_tick, live + LOOP_LOOK_TICKS)
        if ring.front < live + self._ahead - 1:
            return live + 1
        block = block_of(ring.front + 1)
        while ring.arrived(block):
            block += 1
        last_arrived = first_tick(block) - 1
        return min(ask_tick, max(live + 1, last_arrived - self._ahead + 1))

    # --- the line ----------------------------------------------------------------------------------------------------

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
            # Somebody is hungry: he is fed at once (hub.py).
            self._advance(live)

    def _advance(self, live: int) -> None:
        """Draw the line, and count what was drawn."""
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
