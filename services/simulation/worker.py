"""Pure: a simulated synthesis worker, with the decisions of production."""

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
from services.runtime.bus.memory.render_queue import TakenAsk
from services.simulation.event_queue import EventQueue
from services.simulation.network import Network
from services.simulation.tally import Tally
from services.synthesis.batching import IN_PROGRESS_S, MAX_BATCH, Verdict, batch_limit, judge
from services.synthesis.job_lanes import choose, presses

FIXED_S: Final = 0.005
"""Seconds that a batch takes in addition to its blocks."""
SPREAD: Final = 0.2
"""Standard deviation of the logarithm of a batch's duration."""
NOTICED_S: Final = 5.0
"""How long the server still sends jobs to a worker that has vanished: two pings (bus/nats/connection.py)."""
RESTART_S: Final = 10.0
"""How long a dead worker is away."""


class Silence(bytes):
    """PCM of a block that takes no memory, because all of its chunks are the same object."""

    __slots__ = ()

    def __getitem__(self, _key: object) -> bytes:  # type: ignore[override]  # only chunks are cut out of it
        """A chunk."""
        return _CHUNK


_CHUNK: Final = bytes(CHUNK_BYTES)
_PCM: Final = Silence()


@dataclass(eq=False, slots=True)
class HeldJob:
    """A job that a worker has and has not settled yet."""

    job: TakenAsk
    lane: Lane
    request: RenderJob
    taken_s: float


class Worker:
    """One worker.

    Args:
        name: unique in the fleet.
        revision: of its renderer.
        capacity_streams: streams that it renders in real time.
        network, events, tally, rng: of the simulation.
        presences: what it announces once a second; all edges share it.

    Attributes:
        alive: whether it runs.
    """

    def __init__(
        self,
        name: str,
        revision: str,
        capacity_streams: float,
        *,
        network: Network,
        events: EventQueue,
        tally: Tally,
        rng: random.Random,
        presences: Presences,
    ) -> None:
        self.alive = False
        self._capacity = capacity_streams
        self._network = network
        self._events = events
        self._tally = tally
        self._rng = rng
        self._presences = presences
        self._presence = Presence(name, revision, 1, "ready", capacity_streams, "compiled", "cpu")
        self._revision = revision
        # Counts starts and deaths: timers and renders of an earlier life are ignored.
        self._life = 0
        self._lanes: dict[Lane, deque[HeldJob]] = {lane: deque() for lane in LANES}
        self._pulling: set[Lane] = set()
        self._in_hand: dict[HeldJob, None] = {}
        self._busy = False

    # --- life and death ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, or start again."""
        self.alive = True
        self._life += 1
        self._busy = False
        self._pulling.clear()
        self._announce(self._life)
        self._report_progress(self._life)
        self._next_batch(self._life)

    def die(self, *, noticed: bool) -> None:
        """Stop suddenly and lose the jobs in hand.

        Args:
            noticed: whether the server notices immediately, as with a killed process; False: as with a dead machine.
        """
        self.alive = False
        self._life += 1
        for held in self._lanes.values():
            held.clear()
        self._in_hand.clear()
        if noticed:
            self._network.void_pulls(self)
        else:
            self._events.after(NOTICED_S, self._network.void_pulls, self)

    def on_server_back(self) -> None:
        """The server is back and empty: pull again, and render the jobs in hand."""
        self._pulling.clear()
        if self.alive and not self._busy:
            self._next_batch(self._life)

    def _announce(self, life: int) -> None:
        if life == self._life:
            if self._network.up:
                self._presences.heard(self._presence, self._events.now_s)
            self._events.after(INTERVAL_S, self._announce, life)

    def _report_progress(self, life: int) -> None:
        if life == self._life:
            for held in self._in_hand:
                self._network.extend(held.job)
            self._events.after(IN_PROGRESS_S, self._report_progress, life)

    # --- jobs --------------------------------------------------------------------------------------------------------

    def take(self, lane: Lane, jobs: Sequence[TakenAsk]) -> None:
        """Take the jobs that answer a pull."""
        if not self.alive:
            # Lost with the worker; the queue delivers them again after the ack wait.
            return
        self._pulling.discard(lane)
        for job in jobs:
            held = HeldJob(job, lane, RenderJob.decode(job.data), self._events.now_s)
            self._in_hand[held] = None
            self._lanes[lane].append(held)
        if not self._busy:
            self._next_batch(self._life)

    def _next_batch(self, life: int) -> None:
        """Choose a batch, pull jobs for the one after it, and render; as the worker of production does."""
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
                took_s = FIXED_S + len(wanted) / self._capacity * self._rng.lognormvariate(0.0, SPREAD)
                self._events.after(took_s, self._rendered, wanted, life)
                return
            self._busy = bool(batch)

    def _presses(self, held: HeldJob) -> bool:
        return presses(held.request, self._left_s(held))

    def _left_s(self, held: HeldJob) -> float | None:
        left_s = held.job.left_s
        return None if left_s is None else left_s - (self._events.now_s - held.taken_s)

    def _is_wanted(self, held: HeldJob) -> bool:
        verdict = judge(held.job.deliveries, self._left_s(held))
        if held.job.deliveries > 1:
            self._tally.redelivered += 1
        if verdict is Verdict.RENDER:
            return True
        if verdict is Verdict.LATE:
            self._tally.expired += 1
        else:
            self._tally.exhausted += 1
        del self._in_hand[held]
        self._network.finish(held.job)
        return False

    def _rendered(self, batch: list[HeldJob], life: int) -> None:
        if life != self._life:
            return
        for held in batch:
            stream = held.request.spec.stream_id
            block = Block(stream_hash(stream), self._revision, first_tick(held.request.block), _PCM)
            self._tally.rendered(self._events.now_s)
            self._network.publish(stream, block)
            del self._in_hand[held]
            self._network.finish(held.job)
        self._next_batch(life)
