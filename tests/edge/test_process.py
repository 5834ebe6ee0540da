"""The edge as a process: `python -m services.edge`, without a bus."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import websockets

from tests.edge.support import UPGRADE
from tests.support.ports import free_port
from tests.support.waiting import until


@dataclass
class Process:
    process: asyncio.subprocess.Process
    ready: dict[str, Any]

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.ready['port']}/ws"


def environ(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AURALIS_", "WS_", "NATS_"))}
    # No program listens on the discard port of this machine.
    ours = {"AURALIS_LOG_FORMAT": "json", "METRICS_PORT": "0", "NATS_URL": "nats://127.0.0.1:9"}
    return {**kept, **ours, **changes}


@contextlib.asynccontextmanager
async def edge_process(*, descriptors: int | None = None, **changes: str) -> AsyncIterator[Process]:
    """An edge of its own process, which may open `descriptors` files and sockets; None: as many as this one."""
    port = free_port()
    limited = ("prlimit", f"--nofile={descriptors}:{descriptors}") if descriptors else ()
    process = await asyncio.create_subprocess_exec(
        *limited, sys.executable, "-m", "services.edge", env=environ(AURALIS_PORT=str(port), **changes),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while True:
                line = await process.stderr.readline()
                assert line, "it ended before it was ready"
                event = json.loads(line)
                if event["event"] == "ready":
                    break
        assert event["port"] == port
        yield Process(process, event)
    finally:
        if process.returncode is None:
            process.kill()
        # Emptied, so that the pipe is closed before the loop is.
        await process.stderr.read()
        await process.wait()


async def test_sigterm_drains_the_edge_and_ends_it_with_exit_status_0() -> None:
    async with edge_process(AURALIS_DRAIN_SECONDS="1") as edge:
        async with httpx.AsyncClient() as http:
            internal = f"http://127.0.0.1:{edge.ready['metrics_port']}"
            ready = await http.get(f"{internal}/readyz")
            assert (ready.status_code, ready.json()["failing"]) == (503, ["bus"])
            assert "auralis_listeners 0.0" in (await http.get(f"{internal}/metrics")).text
        async with websockets.connect(edge.ws) as ws:
            await ws.send('{"type":"control","action":"start","params":{}}')
            edge.process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(ws.wait_closed(), 10)
            assert ws.close_code == 1012
        assert await asyncio.wait_for(edge.process.wait(), 10) == 0


async def test_a_second_signal_ends_the_edge_without_a_drain() -> None:
    async with (
        edge_process(AURALIS_DRAIN_SECONDS="300") as edge,
        websockets.connect(edge.ws),
        httpx.AsyncClient() as http,
    ):

        async def draining() -> bool:
            return bool((await http.get(f"http://127.0.0.1:{edge.ready['port']}/api/status")).json()["draining"])

        edge.process.send_signal(signal.SIGTERM)
        await until(draining)
        edge.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(edge.process.wait(), 5) == 128 + signal.SIGTERM


async def test_a_port_in_use_ends_the_start_with_a_sentence_and_no_traceback() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.edge", env=environ(AURALIS_PORT=str(port)),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, log = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use; stop the program that has it or set AURALIS_PORT" in log.decode()
    assert "Traceback" not in log.decode()


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="there is no prlimit to limit descriptors with")
async def test_strangers_that_hold_connections_leave_every_listener_a_descriptor() -> None:
    listeners, strangers = 50, 150
    async with edge_process(descriptors=128, WS_MAX_CONNECTIONS=str(listeners)) as edge, AsyncExitStack() as stack:
        for port in (edge.ready["port"], edge.ready["metrics_port"]):
            for _ in range(strangers):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                stack.callback(writer.close)
                writer.write(UPGRADE[:-2])
        for _ in range(listeners):
            await stack.enter_async_context(websockets.connect(edge.ws))
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"http://127.0.0.1:{edge.ready['metrics_port']}/metrics")).text
        assert f"auralis_listeners {listeners}.0" in text
