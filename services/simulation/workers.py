"""A synthesis worker: the shell of worker.py in simulated time around the same decisions."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.block import Block, stream_hash
from services.contract.job import RenderJob
from services.contract.presence import INTERVAL_S, Presence
from services.contract.subjects import LANES, Lane
from services.contract.timebase import CHUNK_BYTES, first_tick
from services.edge.stream.renderers import Presences
from services.runtime.bus import Job
from services.simulation.network import Network
from services.simulation.report import Tally
from services.simulation.timeline import Timeline
from services.synthesis.batching import IN_PROGRESS_S, MAX_BATCH, Verdict, batch_limit, choose, judge, presses

FIXED_S: Final = 0.005
"""What a batch costs however small it is."""
SPREAD: Final = 0.2
"""Standard deviation of the logarithm of a batch's time."""
NOTICED_S: Final = 5.0
"""How long the server goes on giving jobs to a worker that has vanished (bus/nats/connection.py: two pings)."""
RESTART_S: Final = 10.0


class Silence(bytes):
    """A block's PCM that takes no memory: every chunk of it is the same one."""

    __slots__ = ()

    def __getitem__(self, _key: object) -> bytes:  # type: ignore[override]  # only chunks are cut out of it
        """A chunk."""
        return _CHUNK


_CHUNK: Final = bytes(CHUNK_BYTES)
_PCM: Final = Silence()


@dataclass(eq=False, slots=True)
class Held:
    """A job in hand."""

    job: Job
    lane: Lane
    request: RenderJob


class Worker:
    """One worker.

    Args:
        name: unique in the fleet.
        revision: of its music.
        capacity_streams: that it renders in real time.
        network, timeline, tally, chance: the world.
        presences: where it says once a second that it is there; all edges share what they know of it.
    """

    def __init__(
        self,
        name: str,
        revision: str,
        capacity_streams: float,
        *,
        network: Network,
        timeline: Timeline,
        tally: Tally,
        chance: random.Random,
        presences: Presences,
    ) -> None:
        self.alive = False
        self._capacity = capacity_streams
        self._network = network
        self._time = timeline
        self._tally = tally
        self._chance = chance
        self._presences = presences
        self._presence = Presence(name, revision, 1, "ready", capacity_streams, "compiled", "cpu")
        self._revision = revision
        # A dead worker's timers, and what is rendered for it, belong to a life that is over.
        self._life = 0
        self._lanes: dict[Lane, deque[Held]] = {lane: deque() for lane in LANES}
        self._pulling: set[Lane] = set()
        self._in_hand: dict[Held, None] = {}
        self._busy = False

    # --- life and death ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Come up."""
        self.alive = True
        self._life += 1
        self._busy = False
        self._pulling.clear()
        self._announce(self._life)
        self._report_progress(self._life)
        self._next(self._life)

    def die(self, *, noticed: bool) -> None:
        """Be gone from one moment to the next, with everything in hand.

        Args:
            noticed: its connection breaks at once (a killed process); False: nobody tells the server (a dead machine).
        """
        self.alive = False
        self._life += 1
        for held in self._lanes.values():
            held.clear()
        self._in_hand.clear()
        if noticed:
            self._network.void_pulls(self)
        else:
            self._time.after(NOTICED_S, self._network.void_pulls, self)

    def server_back(self) -> None:
        """The bus is there again, empty: what was asked of it is void, and what is in hand will be rendered."""
        self._pulling.clear()
        if self.alive and not self._busy:
            self._next(self._life)

    def _announce(self, life: int) -> None:
        if life == self._life:
            if self._network.up:
                self._presences.heard(self._presence, self._time.now_s)
            self._time.after(INTERVAL_S, self._announce, life)

    def _report_progress(self, life: int) -> None:
        if life == self._life:
            for held in self._in_hand:
                self._network.settle(held.job.in_progress)
            self._time.after(IN_PROGRESS_S, self._report_progress, life)

    # --- jobs --------------------------------------------------------------------------------------------------------

    def take(self, lane: Lane, jobs: Sequence[Job]) -> None:
        """The answer to a pull."""
        if not self.alive:
            # Lost with the worker: they come back after the ack wait.
            return
        self._pulling.discard(lane)
        for job in jobs:
            held = Held(job, lane, RenderJob.decode(job.data))
            self._in_hand[held] = None
            self._lanes[lane].append(held)
        if not self._busy:
            self._next(self._life)

    def _next(self, life: int) -> None:
        """As `Worker._next_batch`: choose, pull what the next batch lacks, and render."""
        if life != self._life:
            return
        self._busy = True
        while self._busy:
            limit = batch_limit(self._capacity, fixed=None, memory_limit=MAX_BATCH)
            batch = choose(list(self._lanes.values()), limit, pressing=self._presses)
            for lane, held in self._lanes.items():
                if lane not in self._pulling and len(held) < limit and self._network.up:
                    self._pulling.add(lane)
                    self._network.pull(lane, self, limit - len(held))
            wanted = [held for held in batch if self._is_wanted(held)]
            if wanted:
                took_s = FIXED_S + len(wanted) / self._capacity * self._chance.lognormvariate(0.0, SPREAD)
                self._time.after(took_s, self._rendered, wanted, life)
                return
            self._busy = bool(batch)

    def _presses(self, held: Held) -> bool:
        return presses(held.request.block, self._time.now_s)

    def _is_wanted(self, held: Held) -> bool:
        verdict = judge(held.request.block, held.job.deliveries, self._time.now_s)
        if held.job.deliveries > 1:
            self._tally.redelivered += 1
        if verdict is Verdict.RENDER:
            return True
        if verdict is Verdict.LATE:
            self._tally.expired += 1
        else:
            self._tally.exhausted += 1
        del self._in_hand[held]
        self._network.settle(held.job.drop)
        return False

    def _rendered(self, batch: list[Held], life: int) -> None:
        if life != self._life:
            return
        for held in batch:
            stream = held.request.spec.stream_id
            block = Block(stream_hash(stream), self._revision, first_tick(held.request.block), _PCM)
            self._tally.rendered(self._time.now_s)
            self._network.publish(stream, block)
            del self._in_hand[held]
            self._network.settle(held.job.ack)
        self._next(life)
