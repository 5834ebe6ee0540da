"""Two renderers on one queue: each does its share, and listeners do not hear the death of one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
import websockets

from tests.integration.test_whole_path import bus
from tests.support.ports import free_port
from tests.support.system import System, running_system
from tests.support.waiting import until

STREAMS = 12
BEFORE_S, AFTER_S = 8.0, 8.0
READY_WITHIN_S = 120.0


@dataclass
class Heard:
    """Ids of the chunks of one listener, in order of arrival."""

    ids: list[int] = field(default_factory=list)
    starved: int = 0

    @property
    def missing(self) -> int:
        return self.ids[-1] - self.ids[0] + 1 - len(set(self.ids))


async def hear(url: str, seed: int, heard: Heard, seconds: float) -> None:
    """Listen to a stream of its own for `seconds` from its first chunk on."""
    async with websockets.connect(url, compression=None) as socket:
        await socket.send(json.dumps({"type": "control", "action": "start", "params": {"seed": seed}}))
        until = float("inf")
        while time.monotonic() < until:
            message = json.loads(await asyncio.wait_for(socket.recv(), 30))
            assert message["type"] == "audio", message
            if not heard.ids:
                until = time.monotonic() + seconds
            heard.ids.append(message["chunk_id"])
            heard.starved += message["buffer_depth"] < 1


async def rendered(http: httpx.AsyncClient, port: int) -> float:
    """Blocks that the renderer with this internal port has published."""
    text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("auralis_render_blocks_total")]
    assert lines, text[:2_000]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[System, asyncio.subprocess.Process, int]]:
    """A system, and a second renderer beside it; its process and its internal port."""
    with running_system() as system:
        port = free_port()
        environ = {**os.environ, **bus(system, "synthesis"), "METRICS_PORT": str(port)}
        second = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.synthesis", env=environ)
        try:
            async with httpx.AsyncClient(timeout=2) as http:

                async def is_ready() -> bool:
                    assert second.returncode is None, f"the second renderer ended: {second.returncode}"
                    with contextlib.suppress(httpx.HTTPError):
                        return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
                    return False

                await until(is_ready, READY_WITHIN_S, every_s=0.2)
            yield system, second, port
        finally:
            if second.returncode is None:
                second.kill()
            await second.wait()


async def test_two_renderers_share_the_streams_and_one_that_is_killed_is_not_heard(
    pair: tuple[System, asyncio.subprocess.Process, int],
) -> None:
    system, second, port = pair
    heard = [Heard() for _ in range(STREAMS)]
    listeners = [
        asyncio.create_task(hear(system.ws_url, 7_000 + seed, each, BEFORE_S + AFTER_S))
        for seed, each in enumerate(heard)
    ]
    async with httpx.AsyncClient(timeout=5) as http:
        await until(lambda: all(each.ids for each in heard), 30)
        before = await rendered(http, port)
        await asyncio.sleep(BEFORE_S)  # the stretch over which the shares are compared
        share = (await rendered(http, port) - before) / (STREAMS * BEFORE_S)
    second.send_signal(signal.SIGKILL)
    await asyncio.gather(*listeners)
    assert [each.missing for each in heard] == [0] * STREAMS
    assert [each.ids for each in heard] == [sorted(each.ids) for each in heard]
    assert sum(each.starved for each in heard) == 0
    # A free renderer fetches all waiting jobs, so a few seconds may be shared unevenly; but neither is idle.
    assert 0 < share < 1
