"""The bus and the network: the work queue is the bus in memory, everything on its way takes time or is lost."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from services.contract import subjects
from services.contract.block import Block
from services.contract.subjects import LANES, Lane
from services.edge.stream.demand import Ask
from services.runtime.bus import BusError, BusFullError, Job
from services.runtime.bus.memory import MemoryBroker
from services.simulation.plan import Plan
from services.simulation.report import Tally
from services.simulation.timeline import Timeline
from services.synthesis.batching import ACK_WAIT_S

HOP_S: Final = 0.001
"""The least that a message takes; half of them take no more than twice that, one in a hundred ten times."""
MAX_LATE_S: Final = 2.0
REDELIVERY_CHECK_S: Final = 0.1
KEPT_BLOCKS: Final = 20


class Puller(Protocol):
    """What pulls jobs."""

    def take(self, lane: Lane, jobs: Sequence[Job]) -> None:
        """The answer to a pull."""
        ...


class Listening(Protocol):
    """What subscribes to a stream's blocks."""

    def on_block(self, block: Block) -> None:
        """A block has arrived."""
        ...


def at_once[T](call: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    call.close()
    raise RuntimeError("a call on the bus in memory waits; the simulation expects that it does not")


class Network:
    """See the module's text.

    Args:
        plan: losses.
        timeline: simulated time.
        tally: where things are counted.
        revision: of the renderers.
        chance: decides what is lost and what is late.
    """

    def __init__(self, plan: Plan, timeline: Timeline, tally: Tally, revision: str, chance: random.Random) -> None:
        self.broker = MemoryBroker(monotonic=timeline.now)
        self._plan = plan
        self._time = timeline
        self._tally = tally
        self._chance = chance
        self._consumers = {
            lane: self.broker.consumer(
                subjects.render_consumer(revision, lane), subjects.render_filter(revision, lane), ACK_WAIT_S
            )
            for lane in LANES
        }
        self._pulls: dict[Lane, deque[tuple[Puller, int]]] = {lane: deque() for lane in LANES}
        self._listening: dict[str, dict[Listening, None]] = {}
        self._history: dict[str, deque[Block]] = {}
        timeline.after(REDELIVERY_CHECK_S, self._redeliver)

    @property
    def up(self) -> bool:
        """Whether the server answers."""
        return self.broker.available

    def hop_s(self) -> float:
        """How long a message is on its way."""
        return HOP_S * self._chance.lognormvariate(0.7, 0.7)

    def lost(self) -> bool:
        """Whether a message never arrives."""
        return self._chance.random() < self._plan.loss

    def send(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have `call` called at the other end, perhaps."""
        if not self.lost():
            self._time.after(self.hop_s(), call, *arguments)

    # --- asks and jobs -----------------------------------------------------------------------------------------------

    def ask(self, ask: Ask) -> None:
        """An edge asks; the message takes a hop."""
        self._tally.asked(self._time.now_s)
        self.send(self._asked, ask)

    def _asked(self, ask: Ask) -> None:
        try:
            self.broker_required()
            accepted = self.broker.ask(ask.subject, ask.job.encode(), ask.message_id)
        except BusFullError:
            self._tally.full += 1
            return
        except BusError:
            self._tally.unheard += 1
            return
        if accepted:
            self._tally.accepted(self._time.now_s)
            self._dispatch(ask.lane)

    def broker_required(self) -> None:
        """Raises BusError while the server is away."""
        if not self.broker.available:
            raise BusError("the bus is away; try again when it is back")

    def pull(self, lane: Lane, puller: Puller, jobs: int) -> None:
        """A worker waits for up to `jobs` jobs."""
        self._pulls[lane].append((puller, jobs))
        self._dispatch(lane)

    def void_pulls(self, puller: Puller) -> None:
        """The server has noticed that a worker has gone."""
        for lane, pulls in self._pulls.items():
            self._pulls[lane] = deque(pull for pull in pulls if pull[0] is not puller)

    def _dispatch(self, lane: Lane) -> None:
        pulls = self._pulls[lane]
        while pulls and self.broker.available:
            puller, wanted = pulls[0]
            jobs = self.broker.take(self._consumers[lane], wanted)
            if not jobs:
                return
            pulls.popleft()
            # The pull's end is not lost with a job: the worker would only pull again.
            arriving = [job for job in jobs if not self.lost()]
            self._time.after(self.hop_s(), puller.take, lane, arriving)

    def _redeliver(self) -> None:
        for lane in LANES:
            self._dispatch(lane)
        self._tally.waiting(len(self._consumers["ahead"].ready) + len(self._consumers["now"].ready))
        self._time.after(REDELIVERY_CHECK_S, self._redeliver)

    def settle(self, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Send a job's acknowledgement, or that it is in progress, on its way."""
        self.send(self._settled, call)

    def _settled(self, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.broker.available:
            at_once(call())

    # --- blocks ------------------------------------------------------------------------------------------------------

    def publish(self, stream_id: str, block: Block) -> None:
        """A worker's block goes to every edge that listens."""
        if not self.broker.available:
            return
        kept = self._history.setdefault(stream_id, deque(maxlen=KEPT_BLOCKS))
        kept.append(block)
        arriving = []
        for listening in self._listening.get(stream_id, ()):
            fate = self._chance.random()
            if fate < self._plan.loss:
                self._tally.lost_blocks += 1
            elif fate < self._plan.loss + self._plan.late:
                self._time.after(self._chance.uniform(0.05, MAX_LATE_S), listening.on_block, block)
            else:
                arriving.append(listening)
        self._time.after(self.hop_s(), self._arrive, arriving, block)

    @staticmethod
    def _arrive(arriving: list[Listening], block: Block) -> None:
        for listening in arriving:
            listening.on_block(block)

    def subscribe(self, stream_id: str, listening: Listening) -> Sequence[Block]:
        """Deliver a stream's blocks from now on; returns those that are kept."""
        self._listening.setdefault(stream_id, {})[listening] = None
        return tuple(self._history.get(stream_id, ())) if self.broker.available else ()

    def unsubscribe(self, stream_id: str, listening: Listening) -> None:
        """No more."""
        del self._listening[stream_id][listening]
        if not self._listening[stream_id]:
            del self._listening[stream_id]
            # What nobody hears is forgotten after a while; here at once.
            self._history.pop(stream_id, None)

    @property
    def heard(self) -> int:
        """Streams that somebody listens to."""
        return len(self._listening)

    # --- outages -----------------------------------------------------------------------------------------------------

    def go_away(self) -> None:
        """The server dies with everything that it kept."""
        self.broker.go_away()
        self._history.clear()
        for pulls in self._pulls.values():
            pulls.clear()

    def come_back(self) -> None:
        """An empty server starts; workers pull again by themselves."""
        self.broker.come_back()
