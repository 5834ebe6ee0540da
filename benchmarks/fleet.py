"""Cost of telemetry with a large fleet: a real telemetry process, a real NATS server, simulated instances.

Each simulated instance answers with a full exposition of an edge or a renderer, whose figures change between scrapes.

    python benchmarks/fleet.py [--instances 500] [--seconds 60] [--viewers 1]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time

import httpx
import psutil

from services.local.ports import free_ports
from services.local.processes import nats_server
from services.runtime.bus.nats import NatsBus
from services.runtime.metrics import BusMetrics, MemoryMetrics, PrometheusMetrics
from services.runtime.process.scrape_answers import answer_scrapes
from services.runtime.settings import NatsSettings
from services.synthesis.metrics import SynthesisMetrics

CONNECTIONS = 10
"""Connections that the instances share: telemetry sees answers, not connections."""


class SimulatedInstance:
    """An edge (nine of ten) or a renderer, whose metrics change with each scrape."""

    def __init__(self, number: int) -> None:
        from services.edge.metrics import EdgeMetrics  # noqa: PLC0415 - two classes of the same kind are told apart here

        self.service = "synthesis" if number % 10 == 0 else "edge"
        self.name = f"{self.service}-{number}"
        self._rng = random.Random(number)  # noqa: S311 - figures, no secrets
        metrics = PrometheusMetrics()
        metrics.describe_process(service=self.service, clock_offset_s=lambda: 0.001)
        BusMetrics(metrics)
        MemoryMetrics(metrics)
        self._metrics = metrics
        self._edge = EdgeMetrics(metrics) if self.service == "edge" else None
        self._synthesis = SynthesisMetrics(metrics) if self.service == "synthesis" else None
        if self._edge is not None:
            for slot in range(50):
                self._edge.client_numbers.set_depth(slot, 10)
                self._edge.client_numbers.count_underruns(slot, 0)

    def exposition(self) -> bytes:
        """The metrics, a few seconds later."""
        rng = self._rng
        if self._edge is not None:
            edge = self._edge
            edge.listeners.set(rng.randrange(4000))
            edge.sent.inc(40_000)
            edge.blocks.labels(result="taken").inc(80)
            for slot in range(0, 50, 7):
                edge.client_numbers.set_depth(slot, rng.randrange(5, 25))
            for _ in range(40):
                edge.jitter_ms.observe(rng.expovariate(1 / 5))
                edge.tick_lateness.observe(rng.expovariate(1 / 0.002))
                edge.tick_work.observe(rng.expovariate(1 / 0.01))
                edge.encoding.observe(rng.expovariate(1 / 5e-5))
        if self._synthesis is not None:
            self._synthesis.capacity.set(100)
            self._synthesis.blocks.labels(lane="ahead").inc(200)
            for _ in range(40):
                self._synthesis.latency.observe(rng.expovariate(1 / 0.05))
        return self._metrics.exposition()


async def simulate(url: str, instances: int) -> None:
    """Answer scrapes for ever."""
    buses = [NatsBus(NatsSettings(url=url), name=f"simulated-{number}") for number in range(CONNECTIONS)]
    for bus in buses:
        await bus.connect()
    size = 0
    for number in range(instances):
        each = SimulatedInstance(number)
        # Made in advance: the figure is telemetry's processor time, and both share the machine.
        cached = [each.exposition() for _ in range(4)]
        size = len(cached[0])
        turns = iter(range(10**9))

        def exposition(cached: list[bytes] = cached, turns: object = turns) -> bytes:
            return cached[next(turns) % len(cached)]  # type: ignore[call-overload]

        await answer_scrapes(
            buses[number % CONNECTIONS], service=each.service, instance=each.name, exposition=exposition
        )
    print(f"answering, about {size} bytes each", flush=True)
    await asyncio.Event().wait()


async def watch(url: str, events: list[float]) -> None:
    """Read events as a dashboard does, and record when they arrive."""
    async with httpx.AsyncClient(timeout=None) as http, http.stream("GET", f"{url}/api/events") as response:  # noqa: S113 - events have no end
        async for line in response.aiter_lines():
            if line.startswith("data:"):
                events.append(time.monotonic())  # noqa: PERF401 - read while it grows


async def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Start everything, measure telemetry's processor time, end everything."""
    with nats_server.running() as nats:
        (port,) = free_ports(1)
        environ = {**os.environ, "NATS_URL": nats.url, "METRICS_PORT": str(port), "AURALIS_LOG_LEVEL": "WARNING"}
        url = f"http://127.0.0.1:{port}"
        with (
            subprocess.Popen(  # noqa: ASYNC220, S603 - this very script, before anything else runs
                [sys.executable, __file__, "--simulate", nats.url, "--instances", str(arguments.instances)],
                stdout=subprocess.PIPE,
                text=True,
            ) as fleet,
            subprocess.Popen([sys.executable, "-m", "services.telemetry"], env=environ) as telemetry,  # noqa: ASYNC220
        ):
            try:
                assert fleet.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
                print(await asyncio.to_thread(fleet.stdout.readline), end="", file=sys.stderr)
                events: list[float] = []
                async with httpx.AsyncClient(timeout=30) as http:
                    await wait_until_known(http, url, arguments.instances)
                    viewers = [asyncio.create_task(watch(url, events)) for _ in range(arguments.viewers)]
                    process = psutil.Process(telemetry.pid)
                    await asyncio.sleep(10)
                    began = process.cpu_times()
                    began_s = time.monotonic()
                    await asyncio.sleep(arguments.seconds)
                    ended, took_s = process.cpu_times(), time.monotonic() - began_s
                    cpu = (ended.user + ended.system - began.user - began.system) / took_s
                    answers, body = await fetched(http, f"{url}/api/fleet")
                    scrapes, exposition = await fetched(http, f"{url}/metrics")
                    rss_mb = process.memory_info().rss / 2**20
                    for viewer in viewers:
                        viewer.cancel()
            finally:
                telemetry.terminate()
                fleet.terminate()
            return {
                "benchmark": "fleet",
                "instances": arguments.instances,
                "viewers": arguments.viewers,
                "seconds": round(took_s, 1),
                "cpu_cores": round(cpu, 4),
                "events": len(events),
                "rss_mb": round(rss_mb, 1),
                "api_fleet_ms": round(1000 * statistics.median(answers), 1),
                "api_fleet_bytes": len(body),
                "metrics_ms": round(1000 * statistics.median(scrapes), 1),
                "metrics_bytes": len(exposition),
            }


async def fetched(http: httpx.AsyncClient, url: str) -> tuple[list[float], bytes]:
    """The durations in seconds of five requests, and the last answer."""
    took_s: list[float] = []
    body = b""
    for _ in range(5):
        began_s = time.monotonic()
        body = (await http.get(url)).content
        took_s.append(time.monotonic() - began_s)
        # Telemetry answers from the last scrape for a second.
        await asyncio.sleep(1.2)
    return took_s, body


async def wait_until_known(http: httpx.AsyncClient, url: str, instances: int) -> None:
    """Wait until telemetry knows all instances.

    Raises:
        TimeoutError: it does not within a minute.
    """
    async with asyncio.timeout(60):
        while True:
            try:
                if (await http.get(f"{url}/api/fleet")).json()["totals"]["instances_up"] > instances:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--simulate", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.simulate:
        asyncio.run(simulate(arguments.simulate, arguments.instances))
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    result = {**asyncio.run(measure(arguments)), "commit": commit.stdout.strip(), "cores": os.cpu_count()}
    for name, value in result.items():
        print(f"{name:<18} {value}", file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
