"""The whole system, as a user starts it: music arrives, is the same for all, and goes on when a part dies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import websockets

from services.contract.timebase import CHUNK_BYTES
from tests.support.ports import free_port
from tests.support.system import System, running_system
from tests.support.waiting import until

START = {"type": "control", "action": "start", "params": {"key": "C", "bpm": 70, "intensity": 0.5}}


async def listen(url: str, chunks: int, timeout_s: float = 30, **params: Any) -> list[dict[str, Any]]:
    """The next `chunks` audio messages of a stream."""
    received: list[dict[str, Any]] = []
    async with asyncio.timeout(timeout_s), websockets.connect(url, compression=None) as socket:
        await socket.send(json.dumps({**START, "params": {**START["params"], **params}}))
        while len(received) < chunks:
            message = json.loads(await socket.recv())
            assert message["type"] == "audio", message
            received.append(message)
    return received


def pcm_of(messages: list[dict[str, Any]]) -> dict[int, bytes]:
    return {message["chunk_id"]: base64.b64decode(message["data"]) for message in messages}


def rms(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, np.int16).astype(np.float64) / 32768
    return float(np.sqrt(np.mean(samples**2)))


async def test_chunks_arrive_without_a_gap_and_are_not_silent(system: System) -> None:
    messages = await listen(system.ws_url, 40)
    ids = [message["chunk_id"] for message in messages]
    assert ids == list(range(ids[0], ids[0] + 40))
    for message in messages:
        pcm = base64.b64decode(message["data"])
        assert len(pcm) == CHUNK_BYTES
        assert rms(pcm) > 1e-3
        assert message["buffer_depth"] >= 1


async def test_two_listeners_of_one_spec_hear_the_same_bytes(system: System) -> None:
    one, other = await asyncio.gather(listen(system.ws_url, 30), listen(system.ws_url, 30, mode="dorian", seed=0))
    left, right = pcm_of(one), pcm_of(other)
    common = left.keys() & right.keys()
    assert len(common) >= 25
    assert all(left[tick] == right[tick] for tick in common)


async def test_two_specs_are_different_music(system: System) -> None:
    one, other = await asyncio.gather(listen(system.ws_url, 20, key="C"), listen(system.ws_url, 20, key="F#"))
    left, right = pcm_of(one), pcm_of(other)
    common = left.keys() & right.keys()
    assert common
    assert all(left[tick] != right[tick] for tick in common)


async def test_a_second_edge_started_with_plain_uvicorn_plays_the_same_music(system: System) -> None:
    port = free_port()
    environ = {**os.environ, **bus(system, "edge"), "METRICS_PORT": str(free_port())}
    command = [sys.executable, "-m", "uvicorn", "services.main:app", "--port", str(port), "--log-level", "warning"]
    process = await asyncio.create_subprocess_exec(*command, env=environ)
    try:
        await until_answers(f"http://127.0.0.1:{port}/api/status")
        ours, theirs = await asyncio.gather(listen(system.ws_url, 30), listen(f"ws://127.0.0.1:{port}/ws", 30))
        left, right = pcm_of(ours), pcm_of(theirs)
        common = left.keys() & right.keys()
        assert len(common) >= 20
        assert all(left[tick] == right[tick] for tick in common)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) in (0, -signal.SIGTERM)


async def test_the_fleet_metrics_name_every_service(system: System) -> None:
    async with httpx.AsyncClient(timeout=5) as http:
        text = (await http.get(f"{system.telemetry_url}/metrics")).text
        assert {"synthesis", "edge", "telemetry"} <= set(re.findall(r'service="(\w+)"', text))
        own = (await http.get(f"{system.telemetry_url}/metrics", params={"scope": "self"})).text
        assert "synthesis_latency_seconds" not in own
        fleet = (await http.get(f"{system.telemetry_url}/api/fleet")).json()
        assert json.dumps(fleet).count("synthesis") >= 1


async def test_the_player_page_is_served(system: System) -> None:
    async with httpx.AsyncClient(timeout=5) as http:
        page = await http.get(system.http_url + "/")
        assert page.status_code == 200
        assert "text/html" in page.headers["content-type"]
        assert "default-src" in page.headers["content-security-policy"]


@pytest.fixture(scope="module")
def doomed() -> Iterator[System]:
    """A system of its own for the tests that break it; they run in the order in which they stand here."""
    with running_system() as running:
        yield running


async def test_a_killed_renderer_is_not_heard(doomed: System) -> None:
    await survives(doomed, lambda: child(doomed, "services.synthesis").kill(), seconds=10)
    assert doomed.printed("synthesis ended: .*SIGKILL")


async def test_a_killed_nats_server_is_not_heard(doomed: System) -> None:
    await survives(doomed, lambda: nats_child(doomed).kill(), seconds=10)
    assert doomed.printed("nats ended: .*SIGKILL")


def test_nothing_is_left_after_ctrl_c(doomed: System) -> None:
    children = psutil.Process(doomed.process.pid).children(recursive=True)
    assert len(children) >= 4
    assert doomed.stop() in (0, 130)
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


async def survives(system: System, strike: Callable[[], None], *, seconds: float) -> None:
    """Strike after two seconds of listening: no tick may be missing, late or silent for `seconds` after it."""
    ids: list[int] = []
    quiet = 0
    async with websockets.connect(system.ws_url, compression=None) as socket:
        await socket.send(json.dumps(START))
        started = time.monotonic()
        struck = False
        while time.monotonic() - started < seconds + 2:
            message = json.loads(await asyncio.wait_for(socket.recv(), 3))
            assert message["type"] == "audio", message
            ids.append(message["chunk_id"])
            quiet += rms(base64.b64decode(message["data"])) < 1e-3
            assert message["buffer_depth"] >= 1
            if not struck and time.monotonic() - started > 2:
                strike()
                struck = True
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) >= seconds * 10
    assert quiet == 0
    # The music is rendered again, not looped: only a renderer, which has to start first, can begin a new stream.
    await listen(system.ws_url, 5, timeout_s=90, seed=int(time.time()))


def test_a_taken_port_is_named_in_one_sentence(system: System) -> None:
    environ = {**os.environ, "AURALIS_PORT": str(system.port), "METRICS_PORT": str(free_port())}
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "up"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert str(system.port) in said
    assert "AURALIS_PORT" in said
    assert "Traceback" not in said


def child(system: System, module: str) -> psutil.Process:
    """The child of `auralis up` that runs `module`."""
    for process in psutil.Process(system.process.pid).children(recursive=True):
        if module in process.cmdline():
            return process
    raise AssertionError(f"no child runs {module}")


def nats_child(system: System) -> psutil.Process:
    for process in psutil.Process(system.process.pid).children(recursive=True):
        if "nats" in process.name():
            return process
    raise AssertionError("no nats-server among the children")


def bus(system: System, service: str) -> dict[str, str]:
    """How another process of the same service signs in to the NATS of `auralis up`."""
    given = child(system, f"services.{service}").environ()
    return {name: given[name] for name in ("NATS_URL", "NATS_USER", "NATS_PASSWORD")}


async def until_answers(url: str, timeout_s: float = 20) -> None:
    async with httpx.AsyncClient(timeout=1) as http:

        async def answers() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return (await http.get(url)).status_code == 200
            return False

        await until(answers, timeout_s, every_s=0.1)
