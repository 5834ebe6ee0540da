"""A whole simulation: edges, workers, the bus, and what befalls them."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate
from typing import Final

from services.contract.spec import StreamSpec
from services.contract.timebase import due_s, tick_at
from services.contract.websocket import TIER_CHUNKS
from services.edge.stream.renderers import Presences
from services.simulation.edges import Edge, Seat
from services.simulation.network import Network
from services.simulation.plan import Outage, Plan
from services.simulation.report import JOINING_S, Result, Tally, result
from services.simulation.timeline import START_S, Timeline
from services.simulation.workers import RESTART_S, Worker

REVISION: Final = "s1-simulated"
CLOCK_SPREAD_S: Final = 0.02
"""Clocks of edges differ by up to so much."""
TIER_SHARES: Final = {"minimal": 0.1, "normal": 0.7, "stable": 0.15, "defensive": 0.05}
"""Of the deepest listener of a stream on an edge."""
TRY_AGAIN_S: Final = 2.0


class Fleet:
    """One simulation.

    Args:
        plan: what is simulated.
        progress: called with each second that is over.
    """

    def __init__(self, plan: Plan, progress: Callable[[int], None] | None = None) -> None:
        self._plan = plan
        self._progress = progress
        # Chance that can be repeated; nothing secret depends on it.
        self._chance = random.Random(plan.seed)  # noqa: S311
        self._time = Timeline()
        self._tally = Tally(plan)
        self._network = Network(plan, self._time, self._tally, REVISION, self._chance)
        self._presences = Presences()
        self._ticks: dict[int, list[Seat]] = {}
        self._specs = [StreamSpec(seed=seed) for seed in range(plan.streams)]
        self._popular = list(accumulate(1.0 / (rank + 1) for rank in range(plan.streams)))
        self._edges = [Edge(f"edge-{number}", self._chance.uniform(0, CLOCK_SPREAD_S)) for number in range(plan.edges)]
        self._seats: list[tuple[Edge, Seat | None]] = []
        self._workers = self._make_workers()

    def run(self) -> Result:
        """Let it happen."""
        plan, time = self._plan, self._time
        for worker in self._workers:
            worker.start()
        for edge in self._edges:
            for _ in range(plan.streams_per_edge):
                self._seats.append((edge, None))
                time.after(self._chance.uniform(0.5, JOINING_S - 1), self._join, len(self._seats) - 1)
        self._every(plan.churn * len(self._seats) / 60.0, self._change)
        self._every(plan.deaths * plan.workers / 60.0, self._kill_one)
        for outage in plan.outages:
            time.after(outage.begin_s, self._begin_outage, outage)
        time.at(due_s(tick_at(START_S) + 1), self._tick, tick_at(START_S) + 1)
        time.run_until(START_S + plan.seconds)
        for _, seat in self._seats:
            if seat is not None:
                seat.finish()
        return result(plan, self._tally)

    def _make_workers(self) -> list[Worker]:
        # As many streams as are likely to be heard; with popularity as it is, some of the last ones are not.
        total = self._popular[-1]
        draws = self._plan.edges * self._plan.streams_per_edge
        heard = sum(1 - (1 - 1.0 / (rank + 1) / total) ** draws for rank in range(self._plan.streams))
        capacity = heard / self._plan.load / self._plan.workers
        return [
            Worker(
                f"worker-{number}",
                REVISION,
                capacity,
                network=self._network,
                timeline=self._time,
                tally=self._tally,
                chance=self._chance,
                presences=self._presences,
            )
            for number in range(self._plan.workers)
        ]

    # --- time --------------------------------------------------------------------------------------------------------

    def _tick(self, tick: int) -> None:
        for seat in self._ticks.pop(tick, ()):
            seat.tick(tick)
        if tick % 10 == 0:
            second = int(self._time.now_s - START_S)
            self._tally.needed[second] = self._network.heard
            self._tally.seats[second] = sum(seat is not None for _, seat in self._seats)
            if self._progress is not None:
                self._progress(second)
        # A moment later than the last of the edges' clocks.
        self._time.at(due_s(tick + 1) + CLOCK_SPREAD_S, self._tick, tick + 1)

    def _look_at(self, tick: int, seat: Seat) -> None:
        self._ticks.setdefault(tick, []).append(seat)

    def _every(self, per_s: float, call: Callable[[], None]) -> None:
        """Call it again and again at random times, so often on average."""
        if per_s > 0:
            self._time.after(self._chance.expovariate(per_s), self._repeat, per_s, call)

    def _repeat(self, per_s: float, call: Callable[[], None]) -> None:
        call()
        self._every(per_s, call)

    # --- what befalls them -------------------------------------------------------------------------------------------

    def _join(self, number: int) -> None:
        edge, seat = self._seats[number]
        spec = self._specs[self._pick_stream()]
        others = {other.spec for of, other in self._near(number) if of is edge and other is not None}
        while spec in others:
            spec = self._specs[self._pick_stream()]
        if edge.load.overloaded(self._time.now_s):
            self._tally.refused += 1
            self._time.after(TRY_AGAIN_S, self._join, number)
            return
        ahead = TIER_CHUNKS[self._chance.choices(list(TIER_SHARES), list(TIER_SHARES.values()))[0]]
        if seat is not None:
            seat.close()
        self._seats[number] = (
            edge,
            Seat(
                edge,
                spec,
                ahead,
                network=self._network,
                timeline=self._time,
                tally=self._tally,
                presences=self._presences,
                look_at=self._look_at,
            ),
        )

    def _near(self, number: int) -> list[tuple[Edge, Seat | None]]:
        """The streams of the same edge."""
        begin = number // self._plan.streams_per_edge * self._plan.streams_per_edge
        return self._seats[begin : begin + self._plan.streams_per_edge]

    def _pick_stream(self) -> int:
        return self._chance.choices(range(self._plan.streams), cum_weights=self._popular)[0]

    def _change(self) -> None:
        number = self._chance.randrange(len(self._seats))
        if self._seats[number][1] is not None:
            self._join(number)

    def _kill_one(self) -> None:
        worker = self._chance.choice(self._workers)
        if worker.alive:
            self._tally.deaths += 1
            worker.die(noticed=self._chance.random() < 0.5)
            self._time.after(RESTART_S, self._revive, worker)

    def _revive(self, worker: Worker) -> None:
        if not worker.alive and not self._workers_are_out():
            worker.start()

    def _workers_are_out(self) -> bool:
        second = self._time.now_s - START_S
        return any(
            outage.kind == "workers" and outage.begin_s <= second < outage.begin_s + outage.length_s
            for outage in self._plan.outages
        )

    def _begin_outage(self, outage: Outage) -> None:
        self._time.after(outage.length_s, self._end_outage, outage)
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
                # Reconnection backs off by up to a quarter of a second at first.
                self._time.after(self._chance.uniform(0.0, 0.25), worker.server_back)
            return
        for worker in self._workers:
            self._time.after(self._chance.uniform(0.0, 2.0), self._revive, worker)
