"""Pure: a whole simulation, with edges, workers, the bus and all that happens to them."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate
from typing import Final

from services.contract.spec import StreamSpec
from services.contract.timebase import due_s, tick_at
from services.contract.websocket import TIER_CHUNKS
from services.edge.stream.renderers import Presences
from services.simulation.edge_stream import Edge, EdgeStream
from services.simulation.event_queue import START_S, EventQueue
from services.simulation.network import Network
from services.simulation.plan import Outage, Plan
from services.simulation.result import Result, result
from services.simulation.tally import JOINING_S, Tally
from services.simulation.worker import RESTART_S, Worker

REVISION: Final = "s1-simulated"
CLOCK_SPREAD_S: Final = 0.02
"""Largest difference between the clocks of two edges."""
TIER_SHARES: Final = {"minimal": 0.1, "normal": 0.7, "stable": 0.15, "defensive": 0.05}
"""Shares of the tiers among the deepest listeners of streams."""
TRY_AGAIN_S: Final = 2.0
"""How long a listener waits after a refusal."""
RECONNECT_S: Final = 0.25
"""Longest first backoff of a worker that reconnects to the bus."""
RESTART_SPREAD_S: Final = 2.0
"""Time within which all workers start after an outage."""


class Fleet:
    """One simulation.

    Args:
        plan: what is simulated.
        progress: called with the number of simulated seconds, once for each.
    """

    def __init__(self, plan: Plan, progress: Callable[[int], None] | None = None) -> None:
        self._plan = plan
        self._progress = progress
        # Repeatable random numbers; nothing secret depends on them.
        self._rng = random.Random(plan.seed)  # noqa: S311
        self._events = EventQueue()
        self._tally = Tally(plan)
        self._network = Network(plan, self._events, self._tally, REVISION, self._rng)
        self._presences = Presences()
        self._ticks: dict[int, list[EdgeStream]] = {}
        self._specs = [StreamSpec(seed=seed) for seed in range(plan.streams)]
        self._popularity = list(accumulate(1.0 / (rank + 1) for rank in range(plan.streams)))
        self._edges = [Edge(f"edge-{number}", self._rng.uniform(0, CLOCK_SPREAD_S)) for number in range(plan.edges)]
        self._streams: list[tuple[Edge, EdgeStream | None]] = []
        self._workers = self._make_workers()

    def run(self) -> Result:
        """Simulate the whole plan."""
        plan, events = self._plan, self._events
        for worker in self._workers:
            worker.start()
        for edge in self._edges:
            for _ in range(plan.streams_per_edge):
                self._streams.append((edge, None))
                events.after(self._rng.uniform(0.5, JOINING_S - 1), self._join, len(self._streams) - 1)
        self._every(plan.churn * len(self._streams) / 60.0, self._change)
        self._every(plan.deaths * plan.workers / 60.0, self._kill_one)
        for outage in plan.outages:
            events.after(outage.begin_s, self._begin_outage, outage)
        events.at(due_s(tick_at(START_S) + 1), self._tick, tick_at(START_S) + 1)
        events.run_until(START_S + plan.seconds)
        for _, stream in self._streams:
            if stream is not None:
                stream.finish()
        return result(plan, self._tally)

    def _make_workers(self) -> list[Worker]:
        # For the streams that are likely to have listeners; some of the least popular ones have none.
        total = self._popularity[-1]
        draws = self._plan.edges * self._plan.streams_per_edge
        heard = sum(1 - (1 - 1.0 / (rank + 1) / total) ** draws for rank in range(self._plan.streams))
        capacity = heard / self._plan.load / self._plan.workers
        return [
            Worker(
                f"worker-{number}",
                REVISION,
                capacity,
                network=self._network,
                events=self._events,
                tally=self._tally,
                rng=self._rng,
                presences=self._presences,
            )
            for number in range(self._plan.workers)
        ]

    # --- time --------------------------------------------------------------------------------------------------------

    def _tick(self, tick: int) -> None:
        for stream in self._ticks.pop(tick, ()):
            stream.tick(tick)
        if tick % 10 == 0:
            second = int(self._events.now_s - START_S)
            self._tally.needed[second] = self._network.streams
            self._tally.edge_streams[second] = sum(stream is not None for _, stream in self._streams)
            if self._progress is not None:
                self._progress(second)
        # After the slowest clock of an edge has reached the tick.
        self._events.at(due_s(tick + 1) + CLOCK_SPREAD_S, self._tick, tick + 1)

    def _schedule(self, tick: int, stream: EdgeStream) -> None:
        self._ticks.setdefault(tick, []).append(stream)

    def _every(self, per_s: float, call: Callable[[], None]) -> None:
        """Make `call` at random times, `per_s` times a second on average."""
        if per_s > 0:
            self._events.after(self._rng.expovariate(per_s), self._repeat, per_s, call)

    def _repeat(self, per_s: float, call: Callable[[], None]) -> None:
        call()
        self._every(per_s, call)

    # --- listeners and faults ----------------------------------------------------------------------------------------

    def _join(self, number: int) -> None:
        edge, left = self._streams[number]
        spec = self._specs[self._pick_stream()]
        others = {other.spec for of, other in self._streams_beside(number) if of is edge and other is not None}
        while spec in others:
            spec = self._specs[self._pick_stream()]
        if edge.load.overloaded(self._events.now_s):
            self._tally.refused += 1
            self._events.after(TRY_AGAIN_S, self._join, number)
            return
        ahead = TIER_CHUNKS[self._rng.choices(list(TIER_SHARES), list(TIER_SHARES.values()))[0]]
        if left is not None:
            left.close()
        self._streams[number] = (
            edge,
            EdgeStream(
                edge,
                spec,
                ahead,
                network=self._network,
                events=self._events,
                tally=self._tally,
                presences=self._presences,
                schedule=self._schedule,
            ),
        )

    def _streams_beside(self, number: int) -> list[tuple[Edge, EdgeStream | None]]:
        """All streams of the edge that has stream `number`."""
        begin = number // self._plan.streams_per_edge * self._plan.streams_per_edge
        return self._streams[begin : begin + self._plan.streams_per_edge]

    def _pick_stream(self) -> int:
        return self._rng.choices(range(self._plan.streams), cum_weights=self._popularity)[0]

    def _change(self) -> None:
        number = self._rng.randrange(len(self._streams))
        if self._streams[number][1] is not None:
            self._join(number)

    def _kill_one(self) -> None:
        worker = self._rng.choice(self._workers)
        if worker.alive:
            self._tally.deaths += 1
            worker.die(noticed=self._rng.random() < 0.5)
            self._events.after(RESTART_S, self._revive, worker)

    def _revive(self, worker: Worker) -> None:
        if not worker.alive and not self._workers_are_out():
            worker.start()

    def _workers_are_out(self) -> bool:
        second = self._events.now_s - START_S
        return any(
            outage.kind == "workers" and outage.begin_s <= second < outage.begin_s + outage.length_s
            for outage in self._plan.outages
        )

    def _begin_outage(self, outage: Outage) -> None:
        self._events.after(outage.length_s, self._end_outage, outage)
        if outage.kind == "bus":
            self._network.go_away()
            return
        for worker in self._workers:
            if worker.alive:
                worker.die(noticed=True)

    def _end_outage(self, outage: Outage) -> None:
        if outage.kind == "bus":
            self._network.come_back()
            for worker in self._workers:
                self._events.after(self._rng.uniform(0.0, RECONNECT_S), worker.on_server_back)
            return
        for worker in self._workers:
            self._events.after(self._rng.uniform(0.0, RESTART_SPREAD_S), self._revive, worker)
