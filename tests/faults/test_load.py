"""More than can be done: starved renderers, too many streams, crowds that come back at once, floods of specs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psutil
import websockets

from services.contract.spec import StreamSpec
from services.contract.timebase import TICK_S
from tests.faults.support import Figures, fault, unheard, whole
from tests.support.ears import Ear, ears, judge, listening_with
from tests.support.fleet import Fleet
from tests.support.fleet_load import slowed
from tests.support.newcomer import Newcomer
from tests.support.system import REPO

STREAMS = range(600, 604)
CROWD = 2000


@fault(
    "renderers get a quarter of their processor time, in pieces (SIGSTOP and SIGCONT, eight times a second)",
    does="nothing: blocks are asked for five seconds ahead, and a renderer is twenty times as fast as this needs",
)
async def test_starved_renderers_are_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with ears(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        with renderers_slowed(fleet, stopped_s=0.09, running_s=0.03):
            await asyncio.sleep(8)
        well_s = time.monotonic()
        await asyncio.sleep(1)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unheard(verdict)


@contextlib.contextmanager
def renderers_slowed(fleet: Fleet, *, stopped_s: float, running_s: float) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name in ("synthesis-1", "synthesis-2"):
            process = psutil.Process(fleet.services[name].pid)
            stack.enter_context(slowed(process, stopped_s=stopped_s, running_s=running_s))
        yield


@fault(
    "renderers are slowed to a few streams each, and sixty new listeners want sixty new streams",
    does="the edge sees that blocks come late and refuses new streams (1013, try later); those that play go on",
    promise="more streams than can be rendered",
)
async def test_more_streams_than_can_be_rendered_are_refused(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-1"]
    listening = [Ear(edge.ws_url, StreamSpec(seed=seed)) for seed in STREAMS]
    newcomers = [Newcomer(edge.ws_url, seed) for seed in range(6_000, 6_060)]
    async with listening_with(listening):
        struck_s = time.monotonic()
        with renderers_slowed(fleet, stopped_s=0.4, running_s=0.03):
            async with asyncio.TaskGroup() as tasks:
                for newcomer in newcomers:
                    tasks.create_task(newcomer.listen(12))
                    await asyncio.sleep(0.1)
        well_s = time.monotonic()
        # And when it is over, everybody is welcome again.
        welcome = Newcomer(edge.ws_url, 6_100)
        while time.monotonic() - well_s < 15:
            await welcome.listen(1)
            if welcome.code is None:
                break
        figures.more["welcome_again_after_s"] = round(time.monotonic() - well_s - 1, 1)
        assert welcome.chunks
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    refused = [newcomer.code for newcomer in newcomers if newcomer.code is not None]
    figures.more |= {"newcomers": len(newcomers), "refused": len(refused)}
    assert whole(verdict)
    assert refused
    assert set(refused) == {1013}
    assert verdict.recovered_s < 6


@fault(
    f"an edge with {CROWD:,} listeners is killed (SIGKILL) and started again: all come back within a second",
    does="sixteen are let in each time the loop goes around, and each goes on where it was; other edges notice nothing",
)
async def test_a_crowd_that_comes_back_at_once_is_taken_in(fleet: Fleet, figures: Figures) -> None:
    with fleet.besides("edge-crowded", WS_MAX_CONNECTIONS="5000") as edge:
        await edge.ready()
        async with crowd(edge.ws_url) as progress:
            await progress.until(lambda now: now["heard"] == CROWD, within_s=40)
            async with ears(fleet.services["edge-1"].ws_url, STREAMS[:2]) as others:
                before = progress.now
                struck_s = time.monotonic()
                edge.kill()
                edge.start()
                figures.more["started_after_s"] = round(await edge.ready(), 1)
                ready_s = time.monotonic()
                await progress.until(lambda now: now["listening"] == CROWD, within_s=40)
                figures.more["all_connected_after_s"] = round(time.monotonic() - ready_s, 1)
                await progress.until(lambda now: now["reconnects"] >= 0.95 * before["listening"], within_s=60)
                figures.more["nearly_all_hear_after_s"] = round(time.monotonic() - ready_s, 1)
            after = progress.now
    figures.verdict = verdict = judge(others, struck_s=struck_s, well_s=struck_s)
    figures.more |= {
        "listeners": CROWD,
        "missed_each_s": round((after["missing"] - before["missing"]) / CROWD * TICK_S, 1),
        "refused": after["refused"] - before["refused"],
    }
    assert unheard(verdict)


class Progress:
    """What a crowd says of itself once a second."""

    def __init__(self) -> None:
        self.now: dict[str, Any] = {"heard": 0, "listening": 0, "reconnects": 0}

    async def until(self, condition: Callable[[dict[str, Any]], bool], within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not condition(self.now):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not within {within_s:g} s: {self.now}") from None


@contextlib.asynccontextmanager
async def crowd(url: str) -> AsyncIterator[Progress]:
    """So many listeners in a process of their own, in Opus, on eight streams."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.loadtest.listeners", url, "--listeners", str(CROWD), "--ramp", "4",
        "--seconds", "120", "--format", "opus", "--seed", "700",
        cwd=REPO, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    progress = Progress()

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if said["kind"] == "progress":
                progress.now = said

    reading = asyncio.create_task(read())
    try:
        yield progress
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)
        await reading


@fault(
    "fifty clients steer to twenty new streams a second each: a thousand new specs a second, for eight seconds",
    does="a client's wishes are held back while one of them is rendered; beyond what renderers can do they are refused",
)
async def test_a_flood_of_specs_is_not_heard_by_others(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-1"]
    async with ears(edge.ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        counts = await asyncio.gather(*(flood(edge.ws_url, random.Random(number), 8.0) for number in range(50)))
        well_s = time.monotonic()
        await asyncio.sleep(3)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    figures.more |= {
        "specs_a_second": round(sum(said for said, _ in counts) / 8),
        "refused": sum(refused for _, refused in counts),
        "streams": await edge.metric("auralis_streams"),
    }
    assert sum(said for said, _ in counts) > 6_000
    assert unheard(verdict)


async def flood(url: str, chance: random.Random, seconds: float) -> tuple[int, int]:
    """Steer twenty times a second to a stream that nobody has heard, and come back at once when turned away.

    Returns:
        How many streams it named, and how often it was turned away.
    """
    said = refused = 0
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        with contextlib.suppress(websockets.ConnectionClosed, websockets.InvalidStatus):
            async with websockets.connect(url, compression=None) as ws, reading(ws):
                action = "start"
                while time.monotonic() < until_s:
                    params = {"seed": chance.randrange(10**6, 2 * 10**9)}
                    await ws.send(json.dumps({"type": "control", "action": action, "params": params}))
                    action = "update"
                    said += 1
                    await asyncio.sleep(0.05)
            return said, refused
        refused += 1
        await asyncio.sleep(0.05)
    return said, refused


@contextlib.asynccontextmanager
async def reading(ws: websockets.ClientConnection) -> AsyncIterator[None]:
    """Read what comes, and throw it away."""
    task = asyncio.create_task(swallow(ws))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def swallow(ws: websockets.ClientConnection) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await ws.recv()
