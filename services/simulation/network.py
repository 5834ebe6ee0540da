"""Pure: the bus and the network, where messages take time or are lost; the work queue is that of the in-memory bus."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from services.contract import subjects
from services.contract.block import Block
from services.contract.subjects import LANES, Lane
from services.edge.stream.demand import Ask
from services.runtime.bus.limits import BusLimits
from services.runtime.bus.memory.render_queue import RenderQueue, TakenAsk
from services.runtime.bus.port import BusFullError
from services.simulation.event_queue import EventQueue
from services.simulation.plan import Plan
from services.simulation.tally import Tally
from services.synthesis.batching import ACK_WAIT_S

HOP_S: Final = 0.001
"""Scale of a message's travel time: the median is twice as long, p99 ten times."""
MAX_LATE_S: Final = 2.0
"""How late a late block is, at most."""
REDELIVERY_CHECK_S: Final = 0.1
"""Time between two checks for jobs whose ack wait is over."""
KEPT_BLOCKS: Final = 20
"""Blocks that the bus keeps of each stream."""


class Puller(Protocol):
    """A worker, which pulls jobs."""

    def take(self, lane: Lane, jobs: Sequence[TakenAsk]) -> None:
        """Take the jobs that answer a pull."""
        ...


class Subscriber(Protocol):
    """A stream of an edge, which subscribes to blocks."""

    def on_block(self, block: Block) -> None:
        """A block has arrived."""
        ...


class Network:
    """Carries asks, jobs and blocks between edges and workers.

    Args:
        plan: shares of lost and late messages.
        events: simulated time.
        tally: counts messages.
        revision: of the workers' renderer.
        rng: decides which messages are lost or late.

    Attributes:
        up: whether the server answers.
    """

    def __init__(self, plan: Plan, events: EventQueue, tally: Tally, revision: str, rng: random.Random) -> None:
        self._queue = RenderQueue(BusLimits())
        self.up = True
        self._plan = plan
        self._events = events
        self._tally = tally
        self._rng = rng
        self._consumers = {
            lane: self._queue.consumer(
                subjects.render_consumer(revision, lane), subjects.render_filter(revision, lane), ACK_WAIT_S
            )
            for lane in LANES
        }
        self._pulls: dict[Lane, deque[tuple[Puller, int]]] = {lane: deque() for lane in LANES}
        self._subscribers: dict[str, dict[Subscriber, None]] = {}
        self._history: dict[str, deque[Block]] = {}
        events.after(REDELIVERY_CHECK_S, self._redeliver)

    def hop_s(self) -> float:
        """How long the next message travels, seconds."""
        return HOP_S * self._rng.lognormvariate(0.7, 0.7)

    def lost(self) -> bool:
        """Whether the next message is lost."""
        return self._rng.random() < self._plan.loss

    def send(self, call: Callable[..., None], *arguments: Any) -> None:
        """Make `call` at the other end after a hop, unless the message is lost."""
        if not self.lost():
            self._events.after(self.hop_s(), call, *arguments)

    # --- asks and jobs -----------------------------------------------------------------------------------------------

    def ask(self, ask: Ask) -> None:
        """Send an edge's ask to the queue."""
        self._tally.asked(self._events.now_s)
        self.send(self._asked, ask)

    def _asked(self, ask: Ask) -> None:
        if not self.up:
            self._tally.lost_asks += 1
            return
        try:
            accepted = self._queue.put(ask.subject, ask.job.encode(), ask.message_id, self._events.now_s, ask.wait_s)
        except BusFullError:
            self._tally.full += 1
            return
        if accepted:
            self._tally.accepted(self._events.now_s)
            self._dispatch(ask.lane)

    def pull(self, lane: Lane, puller: Puller, jobs: int) -> None:
        """Queue a worker's pull for up to `jobs` jobs."""
        self._pulls[lane].append((puller, jobs))
        self._dispatch(lane)

    def void_pulls(self, puller: Puller) -> None:
        """Drop the pulls of a worker, because the server has noticed its death."""
        for lane, pulls in self._pulls.items():
            self._pulls[lane] = deque(pull for pull in pulls if pull[0] is not puller)

    def _dispatch(self, lane: Lane) -> None:
        pulls = self._pulls[lane]
        while pulls and self.up:
            puller, wanted = pulls[0]
            jobs = self._queue.take(self._consumers[lane], wanted, self._events.now_s)
            if not jobs:
                return
            pulls.popleft()
            # Only jobs are lost, never the end of the pull; without it the worker would just pull again.
            arriving = [job for job in jobs if not self.lost()]
            self._events.after(self.hop_s(), puller.take, lane, arriving)

    def _redeliver(self) -> None:
        for lane in LANES:
            self._dispatch(lane)
        self._tally.waiting(len(self._consumers["ahead"].ready) + len(self._consumers["now"].ready))
        self._events.after(REDELIVERY_CHECK_S, self._redeliver)

    def finish(self, job: TakenAsk) -> None:
        """Send a job's acknowledgement to the queue."""
        self.send(self._finished, job)

    def _finished(self, job: TakenAsk) -> None:
        if self.up:
            job.finish()

    def extend(self, job: TakenAsk) -> None:
        """Tell the queue that a job is in progress."""
        self.send(self._extended, job)

    def _extended(self, job: TakenAsk) -> None:
        if self.up:
            job.extend(self._events.now_s)

    # --- blocks ------------------------------------------------------------------------------------------------------

    def publish(self, stream_id: str, block: Block) -> None:
        """Send a worker's block to all subscribers of its stream."""
        if not self.up:
            return
        kept = self._history.setdefault(stream_id, deque(maxlen=KEPT_BLOCKS))
        kept.append(block)
        arriving = []
        for subscriber in self._subscribers.get(stream_id, ()):
            fate = self._rng.random()
            if fate < self._plan.loss:
                self._tally.lost_blocks += 1
            elif fate < self._plan.loss + self._plan.late:
                self._events.after(self._rng.uniform(0.05, MAX_LATE_S), subscriber.on_block, block)
            else:
                arriving.append(subscriber)
        self._events.after(self.hop_s(), self._arrive, arriving, block)

    @staticmethod
    def _arrive(arriving: list[Subscriber], block: Block) -> None:
        for subscriber in arriving:
            subscriber.on_block(block)

    def subscribe(self, stream_id: str, subscriber: Subscriber) -> Sequence[Block]:
        """Deliver a stream's blocks from now on; returns the blocks that the bus keeps."""
        self._subscribers.setdefault(stream_id, {})[subscriber] = None
        return tuple(self._history.get(stream_id, ())) if self.up else ()

    def unsubscribe(self, stream_id: str, subscriber: Subscriber) -> None:
        """Deliver no more blocks."""
        del self._subscribers[stream_id][subscriber]
        if not self._subscribers[stream_id]:
            del self._subscribers[stream_id]
            # Production keeps blocks without subscribers for a while; here they go immediately.
            self._history.pop(stream_id, None)

    @property
    def streams(self) -> int:
        """Streams with subscribers."""
        return len(self._subscribers)

    # --- outages -----------------------------------------------------------------------------------------------------

    def go_away(self) -> None:
        """The server dies, and with it every block and pull."""
        self.up = False
        self._queue.clear()
        self._history.clear()
        for pulls in self._pulls.values():
            pulls.clear()

    def come_back(self) -> None:
        """An empty server starts; workers pull again on their own."""
        self.up = True
