"""Figures of a listener at a running Auralis: time to first audio, steering, delivery jitter.

    make up                                       (in one terminal)
    .venv/bin/python benchmarks/listening.py      (in another)

Prints one table, then one JSON line per figure with the commit and the machine. All traffic goes to --url, by default
this machine. The client is a plain one of `websockets`, so that a fault of our own client cannot hide one of the edge.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websockets

sys.path.insert(0, str(Path(__file__).parents[1]))

from services.contract.spec import OWN_TEXTURE, TEXTURES
from services.contract.websocket import JSON_V1, OPUS_V1, AudioFrame

CHUNK_S = 0.1
KINDS = [kind for kind in TEXTURES if kind != OWN_TEXTURE]
CONTROLS: dict[str, Callable[[int], dict[str, Any]]] = {
    "intensity": lambda number: {"intensity": _steps(number) / 20},
    "brightness": lambda number: {"brightness": _steps(number) / 20},
    "density": lambda number: {"density": _steps(number) / 20},
    "texture": lambda number: {"texture": KINDS[number % len(KINDS)]},
    "levels": lambda number: {"levels": {"pad": _steps(number) % 16 / 10}},
}
"""What is steered: the change of each number. One is never the same as the one before it."""


def _steps(number: int) -> int:
    return (number * 7 + 3) % 21


@dataclass(frozen=True)
class Figure:
    """A named set of values in milliseconds."""

    name: str
    values_ms: list[float]

    def row(self) -> dict[str, Any]:
        """The percentiles, for the table and the JSON line."""
        ordered = sorted(self.values_ms)

        def percentile(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

        return {
            "figure": self.name,
            "n": len(ordered),
            "p50_ms": percentile(0.5),
            "p95_ms": percentile(0.95),
            "p99_ms": percentile(0.99),
            "max_ms": round(ordered[-1], 2),
        }


def _start(**params: Any) -> str:
    return json.dumps({"type": "control", "action": "start", "params": params})


async def first_audio_ms(url: str, **params: Any) -> float:
    """Milliseconds from opening the TCP connection to the first `audio` message."""
    started = time.perf_counter()
    async with websockets.connect(url, compression=None, max_size=None) as socket:
        await socket.send(_start(**params))
        while json.loads(await socket.recv())["type"] != "audio":
            pass
        return (time.perf_counter() - started) * 1000


async def deliveries_ms(url: str, seconds: float, **params: Any) -> tuple[list[float], list[float], int, int]:
    """Listen once; returns deviations of arrivals from a steady 100 ms, `now - timestamp`, gaps and underruns."""
    deviations: list[float] = []
    latencies: list[float] = []
    gaps = underruns = 0
    last: tuple[int, float] | None = None
    async with websockets.connect(url, compression=None, max_size=None) as socket:
        await socket.send(_start(**params))
        until = time.perf_counter() + seconds
        settled = time.perf_counter() + 2.0
        while time.perf_counter() < until:
            message = json.loads(await asyncio.wait_for(socket.recv(), 5))
            now = time.perf_counter()
            if message["type"] != "audio":
                continue
            latencies.append((time.time() - message["timestamp"]) * 1000)
            underruns += message["buffer_depth"] == 0
            if last is not None:
                gaps += message["chunk_id"] != last[0] + 1
                # The burst at the start is early by design; jitter is measured in the steady state.
                if now > settled:
                    deviations.append(abs((now - last[1]) - CHUNK_S) * 1000)
            last = (message["chunk_id"], now)
    return deviations, latencies, gaps, underruns


async def steering_ms(url: str, subprotocol: str, control: str, changes: int) -> tuple[list[float], list[float]]:
    """Change one of CONTROLS again and again.

    The listener plays the first chunk when it arrives, and each later one a tick after the one before.

    Returns:
        Milliseconds from each `update` to the `splice` that answers it, and until the new sound is played.
    """
    answered: list[float] = []
    heard: list[float] = []
    kind = websockets.Subprotocol(subprotocol)
    async with websockets.connect(url, subprotocols=[kind], compression=None, max_size=None) as socket:
        # A new seed, so that no other listener has had this music rendered.
        await socket.send(_start(key="D", seed=time.time_ns() // 1_000_000 % 1_000_000_000, events=True))
        began: tuple[int, float] | None = None
        sent_s, ask_s = 0.0, time.perf_counter() + 2.0
        while len(heard) < changes:
            try:
                message = await asyncio.wait_for(socket.recv(), max(0.001, ask_s - time.perf_counter()))
            except TimeoutError:
                change = CONTROLS[control](len(heard))
                await socket.send(json.dumps({"type": "control", "action": "update", "params": change}))
                sent_s, ask_s = time.perf_counter(), time.perf_counter() + 5.0
                continue
            now_s = time.perf_counter()
            if isinstance(message, bytes):
                chunk_id = AudioFrame.decode(message).chunk_id
            else:
                body = json.loads(message)
                if body["type"] == "splice" and sent_s and began is not None:
                    played_s = began[1] + CHUNK_S * (body["chunk_id"] - began[0])
                    answered.append((now_s - sent_s) * 1000)
                    heard.append((max(now_s, played_s) - sent_s) * 1000)
                    # At another offset within a tick each time.
                    sent_s, ask_s = 0.0, now_s + 0.5 + 0.037 * (len(heard) % 10)
                if body["type"] != "audio":
                    continue
                chunk_id = body["chunk_id"]
            if began is None:
                began = chunk_id, now_s
    return answered, heard


async def measure(url: str, seconds: float, clients: int, joins: int) -> tuple[list[Figure], dict[str, int]]:
    """All figures of this file."""
    running = {"key": "C", "bpm": 70, "intensity": 0.5}
    keeper = asyncio.create_task(deliveries_ms(url, 3600, **running))
    try:
        await asyncio.sleep(3)
        warm = [await first_audio_ms(url, **running) for _ in range(joins)]
        # A new seed is a stream that has not been rendered.
        base = int(time.time()) % 1_000_000 * 1000
        fresh = []
        for index in range(joins):
            fresh.append(await first_audio_ms(url, **running, seed=base + index))
            await asyncio.sleep(0.2)
        # As the player does it; and the intensity in JSON too, because messages are fifteen times as long there.
        steered = {
            f"{control}, {kind}": await steering_ms(url, kind, control, joins)
            for control, kind in [("intensity", JSON_V1), *((control, OPUS_V1) for control in CONTROLS)]
        }
        results = await asyncio.gather(*(deliveries_ms(url, seconds, **running) for _ in range(clients)))
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
    figures = [
        Figure("connect to first audio, running stream", warm),
        Figure("connect to first audio, new spec", fresh),
        *(
            Figure(f"{what}, {name}", values)
            for name, both in steered.items()
            for what, values in zip(("update to splice", "update to new sound played"), both, strict=True)
        ),
        Figure(f"chunk delivery jitter, {clients} clients, {seconds:g} s", [v for r in results for v in r[0]]),
        Figure(f"now - timestamp, {clients} clients, {seconds:g} s", [v for r in results for v in r[1]]),
        Figure("mean p99 of now - timestamp per client", [_mean_p99([r[1] for r in results])]),
    ]
    counts = {"gaps": sum(r[2] for r in results), "underruns": sum(r[3] for r in results)}
    counts["chunks"] = sum(len(r[1]) for r in results)
    return figures, counts


def _mean_p99(lists: list[list[float]]) -> float:
    return statistics.mean(sorted(values)[int(len(values) * 0.99)] for values in lists)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=f"ws://127.0.0.1:{os.environ.get('AURALIS_PORT', '8000')}/ws")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--joins", type=int, default=50)
    options = parser.parse_args()
    figures, counts = asyncio.run(measure(options.url, options.seconds, options.clients, options.joins))
    rows = [figure.row() for figure in figures]
    print(f"{'figure':56} {'n':>7} {'p50':>8} {'p95':>8} {'p99':>8} {'max':>8}  (ms)")
    for row in rows:
        print(
            f"{row['figure']:56} {row['n']:7} {row['p50_ms']:8.2f} {row['p95_ms']:8.2f}"
            f" {row['p99_ms']:8.2f} {row['max_ms']:8.2f}"
        )
    print(", ".join(f"{name} {value}" for name, value in counts.items()))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git from PATH, for a label
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    machine = {"commit": commit, "machine": f"{platform.machine()}, {os.cpu_count()} cores", **counts}
    for row in rows:
        print(json.dumps({**row, **machine}))


if __name__ == "__main__":
    main()
