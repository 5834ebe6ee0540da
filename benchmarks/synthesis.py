"""How many streams this machine renders in real time.

    make bench-synthesis                 (DEVICE=cuda for a GPU)

Each row renders seconds of many streams, full sound and score included, as the worker does: block after block, all
streams in one batch. Prints one table, then one JSON line per row with the commit and the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import time
from typing import Any

import torch

from services.contract.spec import PRESETS, StreamSpec
from services.synthesis.device_selector import AutoDeviceSelector
from services.synthesis.render import Renderer

BATCHES = (1, 8, 64, 256)
INTENSITIES = (0.5, 0.9)


def specs_of(count: int, intensity: float) -> list[StreamSpec]:
    """`count` different streams, the presets in turn."""
    steps = round(intensity * 20)
    return [StreamSpec(preset=PRESETS[i % len(PRESETS)], seed=i, intensity_steps=steps) for i in range(count)]


def measure(renderer: Renderer, batch: int, intensity: float, blocks: int) -> dict[str, Any]:
    """Render `blocks` seconds of `batch` streams; the first seconds, which compose and fill histories, do not count."""
    specs = specs_of(batch, intensity)
    start = int(time.time()) // 240 * 240 + 60
    for warm in range(2):
        renderer.render([(spec, start + warm) for spec in specs])
    seconds: list[float] = []
    packing: list[float] = []
    partials = 0
    for block in range(start + 2, start + 2 + blocks):
        jobs = [(spec, block) for spec in specs]
        began = time.perf_counter()
        rendered = renderer.render(jobs)
        seconds.append(time.perf_counter() - began)
        partials += rendered.partials
        began = time.perf_counter()
        rows = [renderer.packer.place(*job) for job in jobs]
        for band in ("low", "high"):
            renderer.packer.partials(rows, band)
        packing.append(time.perf_counter() - began)
    middle = statistics.median(seconds)
    return {
        "batch": batch,
        "intensity": intensity,
        "streams_in_real_time": round(batch / middle, 1),
        "block_p50_ms": round(middle * 1000, 2),
        "block_max_ms": round(max(seconds) * 1000, 2),
        "score_and_packing_share": round(statistics.median(packing) / middle, 3),
        "partials_per_stream": round(partials / blocks / batch, 1),
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    parser.add_argument("--blocks", type=int, default=10, help="seconds of music per row")
    parser.add_argument("--eager", action="store_true", help="without compiled kernels")
    options = parser.parse_args()
    device = AutoDeviceSelector(options.device).select_device()
    renderer = Renderer(device, enable_compile=not options.eager)
    renderer.warm_up(lambda stage, fraction: print(f"\r{stage} {fraction:4.0%}   ", end="", flush=True))
    print()
    rows = [measure(renderer, batch, intensity, options.blocks) for intensity in INTENSITIES for batch in BATCHES]
    names = list(rows[0])
    print("  ".join(f"{name:>{max(len(name), 8)}}" for name in names))
    for row in rows:
        print("  ".join(f"{row[name]:>{max(len(name), 8)}}" for name in names))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git from PATH, for a label
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    about = {
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {device}",
        "torch": torch.__version__,
        "mode": renderer.mode,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    for row in rows:
        print(json.dumps({**row, **about}))


if __name__ == "__main__":
    main()
