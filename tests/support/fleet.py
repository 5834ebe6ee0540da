"""A fleet as on a cluster: real processes of the services on free ports; a test can strike each of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.far_machine import FarMachine
from tests.support.nats import NatsServer
from tests.support.ports import free_port
from tests.support.system import REPO
from tests.support.waiting import until

READY_WITHIN_S = 120.0
SECRET = "signs resume tokens: the next edge accepts a token of the one before"  # noqa: S105 - of a test
_NOT_OURS = ("AURALIS_", "NATS_", "BUFFER_", "WS_", "METRICS_", "GPU_")


class Service:
    """One process of a service; the ports stay the same over restarts.

    Args:
        module: to be run: "services.edge", and arguments of it, with blanks between.
        folder: for its log.
        environ: its settings; ports are chosen.
        name: of its log.
        machine: where it runs; None: here.
    """

    def __init__(
        self, module: str, folder: Path, environ: Mapping[str, str], *, name: str, machine: FarMachine | None = None
    ) -> None:
        self.name = name
        self.host = "127.0.0.1" if machine is None else machine.listeners.far
        self.port, self.metrics_port = free_port(), free_port()
        self.log_path = folder / f"{name}.log"
        self._command = [*(machine.run_there if machine else ()), sys.executable, "-m", *module.split()]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_OURS)}
        ours = {
            "AURALIS_HOST": self.host,
            "AURALIS_INTERNAL_HOST": self.host,
            "AURALIS_PORT": str(self.port),
            "METRICS_PORT": str(self.metrics_port),
            "AURALIS_LOG_FORMAT": "json",
            "AURALIS_SECRET": SECRET,
        }
        self.environ = {**kept, **ours, **environ}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ws_url(self) -> str:
        return f"ws://{self.host}:{self.port}/ws"

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def start(self) -> None:
        """Start it; see `ready`."""
        assert not self.running, f"{self.name} is running already"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=REPO, env=self.environ, stdout=log, stderr=log)

    async def admitting(self, within_s: float = READY_WITHIN_S) -> None:
        """Wait until an edge admits new streams; it refuses them for a while after late blocks."""
        async with httpx.AsyncClient(timeout=2) as http:

            async def admits() -> bool:
                with contextlib.suppress(httpx.HTTPError):
                    return not (await http.get(f"{self.http_url}/api/status")).json()["overloaded"]
                return False

            await until(admits, within_s, every_s=0.2)

    async def ready(self, within_s: float = READY_WITHIN_S) -> float:
        """Wait until `/readyz` answers 200; returns the seconds."""
        began_s = time.monotonic()
        async with httpx.AsyncClient(timeout=2) as http:

            async def is_ready() -> bool:
                assert self.running, f"{self.name} ended:\n{self.log[-2000:]}"
                with contextlib.suppress(httpx.HTTPError):
                    return (await http.get(f"http://{self.host}:{self.metrics_port}/readyz")).status_code == 200
                return False

            try:
                await until(is_ready, within_s, every_s=0.05)
            except AssertionError as error:
                raise AssertionError(f"{self.name}: {error}\n{self.log[-2000:]}") from None
            return time.monotonic() - began_s

    async def get(self, path: str) -> str:
        """Body of a GET to its internal port."""
        async with httpx.AsyncClient(timeout=5) as http:
            return (await http.get(f"http://{self.host}:{self.metrics_port}{path}")).text

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of its own metric's samples with these labels."""
        text = await self.get("/metrics?scope=self")
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Hang like a machine that stalls: connections stay, nothing is answered."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it without warning, as a crash would; idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(10)

    async def ended(self, within_s: float = 30.0) -> int:
        """Wait for its end; returns the exit status."""
        process = self._process
        assert process is not None
        await until(lambda: process.poll() is not None, within_s, every_s=0.02)
        self._process = None
        return process.returncode


class Fleet:
    """A bus, and services at it.

    Args:
        folder: for logs.
        store: where NATS keeps what is not in memory.
    """

    def __init__(self, folder: Path, *, store: Path | None = None) -> None:
        self.folder = folder
        self.store = store
        self.nats = NatsServer(store=store)
        self.services: dict[str, Service] = {}

    def __enter__(self) -> Self:
        self.nats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for service in self.services.values():
            service.kill()
        self.nats.stop()

    def add(
        self, name: str, *, module: str = "", nats_url: str = "", machine: FarMachine | None = None, **environ: str
    ) -> Service:
        """Start a service, named as in "edge-2", beside the others."""
        kind = name.partition("-")[0]
        nats_url = nats_url or (machine.nats_url if machine else self.nats.url)
        self.services[name] = service = Service(
            module or f"services.{kind}", self.folder, {"NATS_URL": nats_url, **environ}, name=name, machine=machine
        )
        service.start()
        return service

    @contextlib.contextmanager
    def with_service(self, name: str, **how: Any) -> Iterator[Service]:
        """Run one more service during a `with` block; arguments as for `add`."""
        service = self.add(name, **how)
        try:
            yield service
        finally:
            service.kill()
            del self.services[name]

    async def restored(self) -> None:
        """Start what a test has killed, resume what it has paused, and wait until all is ready."""
        if not self.nats.running:
            self.nats.start()
        for service in self.services.values():
            if not service.running:
                service.start()
            with contextlib.suppress(ProcessLookupError):
                service.resume()
        for service in self.services.values():
            await service.ready()
        for name, service in self.services.items():
            if name.startswith("edge"):
                await service.admitting()
