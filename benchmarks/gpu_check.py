"""How many streams a GPU renders in real time, and what limits it: one table in under eight minutes.

    scripts/gpu-check                     (--device cpu tries the same on a processor, --help lists the rest)

Needs an NVIDIA GPU with its driver, and `make setup`. Prints the table, then one JSON line per row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.synthesis import Row, first_block, half_load, percentile, specs_of, table
from services.synthesis.device_selector import AutoDeviceSelector, DeviceError
from services.synthesis.render.renderer import Renderer

BATCHES = {"cpu": (1, 8, 64, 256), "cuda": (1, 64, 256, 1_024, 4_096)}
BUDGET_S = 400.0
"""No further batch begins after this time, so that everything ends within eight minutes."""
BUSY = 0.8
"""From this share on a part that is busy is what limits."""
HALF_LOAD_S = 8.0


def measure(renderer: Renderer, batch: int, blocks: int) -> Row:
    """Render `blocks` seconds of `batch` streams, together; the seconds that fill histories do not count."""
    specs, start = specs_of(batch, 0.5), first_block()
    for warm in range(2):
        renderer.render([(spec, start + warm) for spec in specs])
    walls: list[float] = []
    began_cpu = time.process_time()
    for block in range(start + 2, start + 2 + blocks):
        began = time.perf_counter()
        renderer.render([(spec, block) for spec in specs])
        walls.append(time.perf_counter() - began)
    host = (time.process_time() - began_cpu) / sum(walls)
    device = device_share(renderer, batch, start + 2 + blocks)
    middle = statistics.median(walls)
    return {
        "streams": batch,
        "in_real_time": round(batch / middle, 1),
        "block_p50_ms": round(1000 * middle, 1),
        "block_p99_ms": round(1000 * percentile(walls, 0.99), 1),
        "device_busy": None if device is None else round(device, 2),
        "host_cores": round(host, 2),
        "limited_by": limited_by(renderer.threads, host, device),
    }


def device_share(renderer: Renderer, batch: int, block: int) -> float | None:
    """Share of a block's time in which the GPU computes; None on a processor."""
    if renderer.device.type != "cuda":
        return None
    jobs = [(spec, block) for spec in specs_of(batch, 0.5)]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        began = time.perf_counter()
        renderer.render(jobs)
        wall_s = time.perf_counter() - began
    busy_us = sum(float(event.self_device_time_total) for event in profile.key_averages())
    return busy_us / 1e6 / wall_s


def limited_by(threads: int, host_cores: float, device: float | None) -> str:
    """What keeps more streams from being rendered.

    Args:
        threads: that render.
        host_cores: how many cores were busy.
        device: share of the time in which a GPU was busy; None without one.
    """
    if device is not None and device >= BUSY:
        return "the GPU"
    if host_cores >= BUSY * threads:
        return "the processor" if device is None else "the processor, which packs and launches"
    return "waiting: threads, copies or other programs"


def synchronisations(renderer: Renderer) -> int | None:
    """How often a block makes the host wait for the GPU before its samples are fetched; None on a processor."""
    if renderer.device.type != "cuda":
        return None
    jobs = [(spec, first_block() + 2) for spec in specs_of(64, 0.5)]
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            renderer.render(jobs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def overview(renderer: Renderer, start_s: float, most: Row, seconds: float) -> Row:
    """What does not depend on the number of streams, and the wait for a block at half of the streams."""
    half = half_load(renderer, float(most["in_real_time"]), seconds)
    device = renderer.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    used = torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else None
    return {
        "device": name,
        "mode": renderer.mode,
        "start_s": round(start_s, 1),
        "device_mb": None if used is None else round(used),
        "resident_mb": round(psutil.Process().memory_info().rss / 2**20),
        "waits_for_device": synchronisations(renderer),
        "half_load_streams": half["streams"],
        "half_load_p99_ms": half["block_p99_ms"],
    }


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit code is 1 if there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=sorted(BATCHES))
    parser.add_argument("--batches", default="", help="streams rendered together, for example 64,1024")
    parser.add_argument("--blocks", type=int, default=20, help="seconds of music of each batch")
    parser.add_argument("--half-load-s", type=float, default=HALF_LOAD_S, help="seconds at half load; 0: none")
    parser.add_argument("--eager", action="store_true", help="without compiled kernels: several times slower")
    options = parser.parse_args(arguments)
    try:
        device = AutoDeviceSelector(options.device).select_device()
    except DeviceError as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 1
    began = time.perf_counter()
    renderer = Renderer(device, enable_compile=not options.eager)
    renderer.warm_up(lambda stage, fraction: print(f"{stage} {fraction:4.0%}", file=sys.stderr, flush=True))
    start_s = time.perf_counter() - began
    if renderer.eager_reason and not options.eager:
        print(f"Not compiled, several times slower: {renderer.eager_reason}.", file=sys.stderr)
    batches = [int(text) for text in options.batches.split(",") if text] or BATCHES[device.type]
    rows: list[Row] = []
    for batch in batches:
        if time.perf_counter() - began > BUDGET_S:
            print(f"{batch} streams and more were left out: the time is up", file=sys.stderr)
            break
        rows.append(measure(renderer, batch, options.blocks))
    table("Streams", rows)
    most = max(rows, key=lambda row: float(row["in_real_time"]))
    if options.half_load_s > 0.0:
        rows.append(overview(renderer, start_s, most, options.half_load_s))
        table("Device", rows[-1:])
    for row in rows:
        print(json.dumps(row))
    renderer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
