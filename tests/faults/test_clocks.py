"""Clocks that are set, and a machine that sleeps.

The services run with a wall clock that the test sets (tests/support/stepped_clock.py), by minutes and hours and without
rights. The monotonic clock and the clock of NATS stay as they are: they cannot be set for one process without them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support import Figures, fault, listen_on, uninterrupted, unnoticed
from tests.support.fleet import Fleet, Service
from tests.support.judge import judge
from tests.support.recorder import Recorder, recorders
from tests.support.waiting import until

STREAMS = range(200, 202)
SERVICES = ("synthesis", "edge", "telemetry")
STEPS_S = (7.0, -10.0, 60.0, -3600.0, 3600.0)
SLEPT_S = 600.0


class Laptop:
    """A fleet with one service of each kind, whose clocks can be set."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self.fleet = fleet
        self._clocks = {name: folder / f"clock-{name}" for name in SERVICES}
        self.set()

    def set(self, seconds: float = 0.0, *names: str) -> None:
        """Set the clocks of these services, or of all, to `seconds` from the true time."""
        for name in names or SERVICES:
            # In one step: a service must not read half a number.
            new = self._clocks[name].with_suffix(".new")
            new.write_text(str(seconds))
            new.rename(self._clocks[name])

    def start(self) -> None:
        for name, clock in self._clocks.items():
            module = f"tests.support.stepped_clock services.{name}"
            self.fleet.add(name, module=module, AURALIS_TEST_CLOCK=str(clock), WS_MAX_CONNECTIONS="5000")

    async def restored(self) -> None:
        self.set()
        await self.fleet.restored()
        await until(self._right, 20.0, every_s=0.2)

    async def _right(self) -> bool:
        return abs(await self.edge.metric("auralis_clock_seconds") - time.time()) < 1

    async def clocks(self, name: str) -> str:
        """What a service says of clocks in /readyz; it must be ready."""
        report: dict[str, Any] = json.loads(await self.fleet.services[name].get("/readyz"))
        assert report["ready"], report
        return str(report["conditions"]["clocks"]["detail"])

    @property
    def edge(self) -> Service:
        return self.fleet.services["edge"]


@pytest.fixture(scope="module")
def _running_laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    folder = tmp_path_factory.mktemp("laptop")
    with Fleet(folder) as fleet:
        laptop = Laptop(folder, fleet)
        laptop.start()
        yield laptop


@pytest.fixture
async def laptop(_running_laptop: Laptop) -> Laptop:
    await _running_laptop.restored()
    return _running_laptop


@fault(
    "the wall clock of the only worker steps by +120 s, then to -1 h, then to +1 h",
    does="lateness is judged by what the edge asks and by the clock of NATS; edge, telemetry and worker name the clock",
    promise="the clock of a worker or an edge is wrong",
)
async def test_a_worker_whose_clock_is_wrong_is_named_and_not_heard(laptop: Laptop, figures: Figures) -> None:
    async with recorders(laptop.edge.ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        late_joiners: list[Recorder] = []
        for step_s, seed in ((120.0, 230), (-3600.0, 231), (3600.0, 240)):
            laptop.set(step_s, "synthesis")
            await listen_on(4)
            async with recorders(laptop.edge.ws_url, [seed], chunks=10) as new:
                late_joiners += new
        await until_named(laptop, "edge", who="synthesis[^ ]* is ", by_s=3600.0)
        await until_named(laptop, "synthesis", who="", by_s=3600.0)
        figures.more["named_after_s"] = round(time.monotonic() - struck_s - 12, 1)
        late = await laptop.fleet.services["synthesis"].metric("auralis_render_late_total")
    figures.verdict = verdict = judge([*listening, *late_joiners], struck_s=struck_s, well_s=struck_s)
    assert unnoticed(verdict)
    assert late == 0


@fault(
    "the wall clock of the only edge steps by +1 s and -1 s, then by seconds, minutes and an hour in both directions",
    does="a second is slewed; more is one jump: the music fades into the new time, and listeners are told of it",
    promise="a machine's clock is set, or the machine sleeps",
)
async def test_steps_of_an_edges_clock_are_one_skip_each(laptop: Laptop, figures: Figures) -> None:
    async with recorders(laptop.edge.ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        for second_s in (1.0, -1.0):
            laptop.set(second_s, "edge")
            await listen_on(2)
        assert not any(recorder.moves for recorder in listening)
        laptop.set(0.0, "edge")
        for step_s in STEPS_S:
            laptop.set(step_s, "edge")
            await skipped(listening)
            await listen_on(4)
        await until_named(laptop, "edge", who="this edge is ", by_s=3600.0)
        await until_named(laptop, "telemetry", who="edge[^ ]* is ", by_s=3600.0)
        well_s = time.monotonic()
        async with recorders(laptop.edge.ws_url, [230], chunks=10) as new:
            pass
    figures.verdict = verdict = judge([*listening, *new], struck_s=struck_s, well_s=well_s)
    figures.more["jumps"] = len(listening[0].moves)
    assert uninterrupted(verdict)
    assert verdict.recovered_s == 0
    # About two seconds of each jump are the buffer's old sound under new numbers.
    assert verdict.looped_s < 3 * len(STEPS_S)
    before_s = 0.0
    for index, step_s in enumerate(STEPS_S):
        for recorder in listening:
            assert recorder.moves[index][1] == pytest.approx(-10 * (step_s - before_s), abs=1)
        before_s = step_s
    assert all(len(recorder.moves) == len(STEPS_S) for recorder in listening)


@fault(
    "the whole machine sleeps: everything stops (SIGSTOP), and the wall clock is ten minutes later when it continues",
    does="listeners hear silence while it sleeps; a second after it wakes the edge jumps to the present time, once",
    promise="a machine's clock is set, or the machine sleeps",
)
async def test_after_a_sleep_of_the_machine_the_music_goes_on(laptop: Laptop, figures: Figures) -> None:
    everything = [laptop.fleet.nats, *laptop.fleet.services.values()]
    async with recorders(laptop.edge.ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        for each in everything:
            each.pause()
        laptop.set(SLEPT_S)
        await listen_on(2)
        for each in everything:
            each.resume()
        well_s = time.monotonic()
        await skipped(listening)
        await listen_on(6)
        behind_s = time.time() + SLEPT_S - listening[0].arrived[-1].id / 10
        async with recorders(laptop.edge.ws_url, [231], chunks=10) as new:
            pass
    figures.verdict = verdict = judge([*listening, *new], struck_s=struck_s, well_s=well_s)
    assert (verdict.wrong, verdict.repeated, verdict.clicks) == (0, 0, 0)
    assert verdict.silence_s < 3
    assert verdict.recovered_s < 4
    assert all(len(recorder.moves) == 1 for recorder in listening)
    assert abs(behind_s) < 3


@fault(
    "the edge hangs for twelve seconds and continues, its worker for six seconds after that (SIGSTOP, SIGCONT)",
    does="listeners are told that they skipped and are live again; while the worker hangs the loop plays",
)
async def test_after_a_long_hang_of_each_service_the_music_goes_on(laptop: Laptop, figures: Figures) -> None:
    async with recorders(laptop.edge.ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        laptop.edge.pause()
        await listen_on(12)
        laptop.edge.resume()
        await listen_on(3)
        laptop.fleet.services["synthesis"].pause()
        await listen_on(6)
        laptop.fleet.services["synthesis"].resume()
        well_s = time.monotonic()
        await listen_on(4)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert (verdict.wrong, verdict.repeated, verdict.clicks) == (0, 0, 0)
    assert verdict.silence_s < 13
    assert verdict.recovered_s < 4
    assert not any(recorder.moves for recorder in listening)


async def skipped(listening: list[Recorder]) -> None:
    """Wait until each listener has been told of one more jump."""
    wanted = max(len(recorder.moves) for recorder in listening) + 1
    if any(len(recorder.moves) < wanted - 1 for recorder in listening):
        wanted -= 1
    await until(lambda: all(len(recorder.moves) >= wanted for recorder in listening), 10.0)


async def until_named(laptop: Laptop, service: str, *, who: str, by_s: float) -> None:
    """Wait until a service, which stays ready, says by how much a clock differs."""
    told = ""

    async def named() -> bool:
        nonlocal told
        told = await laptop.clocks(service)
        found = re.search(rf"{who}(\d+\.\d) s {'ahead of' if by_s > 0 else 'behind'}", told)
        return found is not None and abs(float(found[1]) - abs(by_s)) < 0.5

    try:
        await until(named, 20.0, every_s=0.2)
    except AssertionError:
        metrics = [
            line for line in (await laptop.fleet.services[service].get("/metrics")).splitlines() if "clock" in line
        ]
        raise AssertionError(f"{service} said {told!r}, expected {who!r} by {by_s} s {metrics}") from None
