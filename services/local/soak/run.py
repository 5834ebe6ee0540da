"""`auralis soak` (shell): runs the whole system under listeners and samples memory, files and tasks."""

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
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from services.local.ports import free_ports
from services.local.processes.background import last_lines
from services.local.soak.listeners import crowd
from services.local.soak.report import ListenerCounts, Sample, SoakReport, lines, soak_report

READY_TIMEOUT_S: Final = 900.0
"""How long the system may take to be ready: the first start on a machine compiles kernels."""
STOP_TIMEOUT_S: Final = 30.0
"""Time between SIGINT and SIGKILL at the end."""
MAX_SAMPLES: Final = 3000
"""Samples of each process; a longer soak samples less often."""
LEAST_SAMPLE_EVERY_S: Final = 2.0
"""Shortest time between two samples."""
_READY_POLL_S: Final = 0.5
"""Pause between two looks at the system's log."""
_LOG_LINES: Final = 20
"""Lines of the system's log that are shown with an error."""
_JITTER: Final = "chunk_delivery_jitter_ms"
_MIB: Final = 2**20


@dataclass(slots=True)
class System:
    """A running `auralis up`."""

    process: asyncio.subprocess.Process
    edge_url: str
    telemetry_url: str
    log: Path
    samples: dict[str, list[Sample]] = field(default_factory=dict)


def run(*, seconds: float, listeners: int, output: Path, as_json: bool) -> int:
    """Run a soak and print its report.

    Args:
        seconds: how long listeners come and go.
        listeners: how many listen at a time.
        output: folder for `soak.json`, `soak.png` (if matplotlib is installed) and the services' log.
        as_json: print the report as JSON.

    Returns:
        Exit status: 0, or 1 if a process leaks or the system ended.
    """
    output.mkdir(parents=True, exist_ok=True)
    try:
        samples, report = asyncio.run(_soak(seconds, listeners, output))
    except SoakError as error:
        print(f"soak: {error}", file=sys.stderr)  # noqa: T201 - a command's own words
        return 1
    (output / "soak.json").write_text(json.dumps(report.to_json(), indent=2) + "\n")
    print(json.dumps(report.to_json()) if as_json else "\n".join(lines(report)))  # noqa: T201 - a command's result
    try:
        from services.local.soak.plot import draw  # noqa: PLC0415 - matplotlib is an extra
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print("  no picture: matplotlib is not installed (`uv pip install -e '.[plot]'`)", file=sys.stderr)  # noqa: T201 - as above
    else:
        draw(report, samples, output / "soak.png")
    print(f"  written to {output}: {', '.join(sorted(each.name for each in output.iterdir()))}", file=sys.stderr)  # noqa: T201 - as above
    return 1 if report.leaks else 0


class SoakError(Exception):
    """The system did not start, or ended by itself; the message holds the end of its log."""


async def _soak(seconds: float, listeners: int, output: Path) -> tuple[dict[str, list[Sample]], SoakReport]:
    from services.telemetry.exposition.histograms import buckets  # noqa: PLC0415 - `auralis --help` does not need it

    counts = ListenerCounts()
    async with _running(output / "up.log", listeners) as system, httpx.AsyncClient(timeout=10) as http:
        print(f"soak: playing at {system.edge_url}, dashboard at {system.telemetry_url}", file=sys.stderr, flush=True)  # noqa: T201 - as above
        before = await _metrics(http, system)
        began_s = time.monotonic()
        every_s = max(LEAST_SAMPLE_EVERY_S, seconds / MAX_SAMPLES)
        crowding = asyncio.create_task(crowd(system.edge_url, listeners, counts))
        try:
            while (passed_s := time.monotonic() - began_s) < seconds:
                if system.process.returncode is not None:
                    raise SoakError(f"the system ended by itself:\n{last_lines(system.log, _LOG_LINES)}")
                if crowding.done():
                    crowding.result()
                metrics = await _metrics(http, system)
                await asyncio.to_thread(_sample, system, metrics, passed_s)
                await asyncio.sleep(min(every_s, max(0.0, seconds - (time.monotonic() - began_s))))
        finally:
            crowding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await crowding
        after = await _metrics(http, system)
    report = soak_report(
        system.samples,
        counts,
        minutes=(time.monotonic() - began_s) / 60,
        listeners=listeners,
        jitter_before=buckets(before, _JITTER),
        jitter_after=buckets(after, _JITTER),
    )
    return system.samples, report


@contextlib.asynccontextmanager
async def _running(log: Path, listeners: int) -> AsyncIterator[System]:
    """Run `auralis up` on free ports for the time of a `with` block."""
    edge_port, metrics_port = free_ports(2)
    environ = {
        **os.environ,
        "AURALIS_PORT": str(edge_port),
        "METRICS_PORT": str(metrics_port),
        "AURALIS_HOST": "127.0.0.1",
        "WS_MAX_CONNECTIONS": str(max(50, 2 * listeners)),
    }
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cli", "up", "--no-color", env=environ, stdout=file, stderr=file
        )
    system = System(process, f"http://127.0.0.1:{edge_port}", f"http://127.0.0.1:{metrics_port}", log)
    try:
        await _wait_until_ready(system)
        yield system
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _wait_until_ready(system: System) -> None:
    async with httpx.AsyncClient(timeout=2) as http:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if system.process.returncode is not None:
                raise SoakError(f"the system did not start:\n{last_lines(system.log, _LOG_LINES)}")
            # `auralis up` prints this line when all services are ready.
            if "Auralis is playing" in system.log.read_text(errors="replace"):
                with contextlib.suppress(httpx.HTTPError):
                    (await http.get(f"{system.telemetry_url}/metrics")).raise_for_status()
                    return
            await asyncio.sleep(_READY_POLL_S)
    raise SoakError(f"the system was not ready within {READY_TIMEOUT_S:g} s:\n{last_lines(system.log, _LOG_LINES)}")


async def _metrics(http: httpx.AsyncClient, system: System) -> Any:
    from services.telemetry.exposition.exposition import Parser  # noqa: PLC0415 - `auralis --help` does not need it

    answer = await http.get(f"{system.telemetry_url}/metrics")
    answer.raise_for_status()
    return Parser().parse(answer.content)


def _sample(system: System, metrics: Any, passed_s: float) -> None:
    """Sample every process of the system."""
    from services.telemetry.exposition import exposition as text  # noqa: PLC0415 - `auralis --help` does not need it

    tasks = text.by_label(metrics, "auralis_asyncio_tasks", "service")
    for process in psutil.Process(system.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            name = _name(process.cmdline())
            if not name:
                continue
            memory = process.memory_full_info()
            count = tasks.get(name)
            system.samples.setdefault(name, []).append(
                Sample(
                    time_s=round(passed_s, 1),
                    rss_mb=memory.rss / _MIB,
                    uss_mb=memory.uss / _MIB,
                    open_files=process.num_fds(),
                    threads=process.num_threads(),
                    tasks=None if count is None else int(count),
                )
            )


def _name(command: list[str]) -> str:
    """The part of the system that a process is: a service or "nats"; empty for helper processes."""
    for part in ("synthesis", "edge", "telemetry"):
        if f"services.{part}" in command:
            return part
    return "nats" if command and Path(command[0]).name.startswith("nats-server") else ""
