"""The whole system as a user starts it: `auralis up` on free ports, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.ports import free_port
from tests.support.waiting import wait_until

REPO = Path(__file__).parents[2]
START_TIMEOUT_S = 900.0
"""Kernels are compiled at the very first start."""


@dataclass
class System:
    """A running `auralis up`.

    Attributes:
        port: the edge.
        metrics_port: telemetry.
        output: what it printed so far, a line each.
        ready_s: how long it took to be ready.
    """

    process: subprocess.Popen[str]
    port: int
    metrics_port: int
    output: list[str] = field(default_factory=list)
    ready_s: float = 0.0
    stopped: bool = False

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def telemetry_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}"

    @property
    def client_environ(self) -> dict[str, str]:
        """The ports, for the guide's clients."""
        return {"AURALIS_PORT": str(self.port), "METRICS_PORT": str(self.metrics_port)}

    def printed(self, pattern: str) -> bool:
        """Whether a printed line matches."""
        return any(re.search(pattern, line) for line in list(self.output))

    def stop(self, timeout_s: float = 30) -> int:
        """Ctrl-C; returns the exit status."""
        self.stopped = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout_s)


@contextlib.contextmanager
def running_system(**environ: str) -> Iterator[System]:
    """Start everything, wait until it is ready, and stop it at the end.

    Raises:
        AssertionError: it was not ready in time, or did not end cleanly; with what it printed.
    """
    port, metrics_port = free_port(), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AURALIS_", "NATS_", "BUFFER_"))}
    env |= {"AURALIS_PORT": str(port), "METRICS_PORT": str(metrics_port), "AURALIS_HOST": "127.0.0.1", **environ}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "up"],
        cwd=REPO,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    system = System(process, port, metrics_port)
    reader = threading.Thread(target=_collect, args=(system,), daemon=True)
    reader.start()
    try:
        _wait_until_ready(system)
        system.ready_s = time.monotonic() - started
        yield system
        assert system.stopped or process.poll() is None, "it ended by itself:\n" + "\n".join(system.output[-60:])
        status = system.stop()
        reader.join(5)
        assert status in (0, 130, -signal.SIGINT), f"exit {status}:\n" + "\n".join(system.output[-60:])
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        if process.stdout:
            process.stdout.close()


def _collect(system: System) -> None:
    assert system.process.stdout
    # A closed pipe while reading is the end, not an error.
    with contextlib.suppress(ValueError):
        for line in system.process.stdout:
            system.output.append(line.rstrip())


def _wait_until_ready(system: System) -> None:
    with httpx.Client(timeout=2) as http:

        def is_ready() -> bool:
            assert system.process.poll() is None, "it ended before it was ready:\n" + "\n".join(system.output[-60:])
            # `up` prints the player's address when, and only when, everything is ready.
            return system.printed(rf"http://[^ ]*:{system.port}") and _answers(http, f"{system.telemetry_url}/metrics")

        try:
            wait_until(is_ready, START_TIMEOUT_S, every_s=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(system.output[-60:])) from None


def _answers(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(url).status_code == 200
    except httpx.HTTPError:
        return False
