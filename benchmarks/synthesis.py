"""How many streams this machine renders in real time, and how many its peers do.

    make bench-synthesis                                   (DEVICE=cuda for a GPU; about five minutes on two cores)
    .venv/bin/python benchmarks/synthesis.py --only streams,peers

Streams are the shipped presets unmodified, in turn, each with its own seed: score, voices, reverb, air, level and
rounding to 16 bits, block after block as the worker does it. Prints tables, then one JSON line per row with the commit
and the machine. Streams are counted twice: by the clock, and by processor time, which other programs on the machine
disturb less.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.synthesis_parts import parts as time_of_parts
from benchmarks.synthesis_peers import all_peers
from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import BLOCK_FRAMES
from services.runtime.gc_config import RealTimeGCConfig
from services.synthesis.device_selector import AutoDeviceSelector, DeviceError
from services.synthesis.packing.pack import pack_partials
from services.synthesis.packing.placement import BANDS
from services.synthesis.render.renderer import Renderer
from services.synthesis.synthesis_engine import Chord, MelodyNote, OptimizedSynthesisEngine

BATCHES = (1, 8, 64, 256)
GPU_BATCHES = (1_024,)
INTENSITIES = (0.5, 0.9)
Row = dict[str, Any]

CHORDS: list[Chord] = [(0, 60, "major"), (22_050, 65, "minor"), (44_100, 67, "major")]
MELODY: list[MelodyNote] = [(0, 72, 0.8, 0.5), (11_025, 74, 0.7, 0.5), (22_050, 76, 0.8, 0.5), (33_075, 77, 0.7, 0.5)]
"""The guide's phrase."""


def specs_of(count: int, intensity: float) -> list[StreamSpec]:
    """`count` different streams, the presets in turn."""
    steps = round(intensity * 20)
    return [StreamSpec(preset=PRESETS[i % len(PRESETS)], seed=i, intensity_steps=steps) for i in range(count)]


def first_block() -> int:
    """A block in the middle of a section, so that no section ends while it is measured."""
    return int(time.time()) // 240 * 240 + 60


def percentile(values: list[float], share: float) -> float:
    """The value that a `share` of `values` do not exceed."""
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def streams(renderer: Renderer, batch: int, intensity: float, blocks: int) -> Row:
    """Render `blocks` seconds of `batch` streams; the first seconds, which compose and fill histories, do not count."""
    specs = specs_of(batch, intensity)
    start = first_block()
    for warm in range(2):
        renderer.render([(spec, start + warm) for spec in specs])
    seconds: list[float] = []
    spent: list[float] = []
    packing: list[float] = []
    partials = notes = 0.0
    for block in range(start + 2, start + 2 + blocks):
        jobs = [(spec, block) for spec in specs]
        began, began_cpu = time.perf_counter(), time.process_time()
        rendered = renderer.render(jobs)
        seconds.append(time.perf_counter() - began)
        spent.append(time.process_time() - began_cpu)
        partials += rendered.partials
        began_cpu = time.process_time()
        rows = [renderer.sections.place(*job) for job in jobs]
        for band in BANDS:
            pack_partials([row.band(band) for row in rows], [row.block for row in rows])
        packing.append(time.process_time() - began_cpu)
        notes += sum(row.section.notes_sounding for row in rows)
    middle, middle_cpu = statistics.median(seconds), statistics.median(spent)
    return {
        "batch": batch,
        "intensity": intensity,
        "streams_in_real_time": round(batch / middle, 1),
        "streams_by_cpu_time": round(renderer.threads * batch / middle_cpu, 1),
        "cpu_ms_per_stream_s": round(1000.0 * middle_cpu / batch, 3),
        "block_p50_ms": round(middle * 1000, 2),
        "block_max_ms": round(max(seconds) * 1000, 2),
        "packing_share": round(statistics.median(packing) / middle_cpu, 3),
        "partials_per_stream": round(partials / blocks / batch, 1),
        "notes_per_stream": round(notes / blocks / batch, 1),
    }


def score(count: int, stream_ms: float) -> Row:
    """Cost of composing and preparing sections, spread over the 240 seconds that each of them lasts."""
    renderer = Renderer(torch.device("cpu"), enable_compile=False, max_streams=count)
    specs, number = specs_of(count, 0.5), first_block() // 240
    began = time.process_time()
    for spec in specs:
        renderer.sections.section(spec, number)
    each_ms = 1000.0 * (time.process_time() - began) / count
    renderer.close()
    return {
        "section_ms": round(each_ms, 2),
        "ms_per_stream_s": round(each_ms / 240.0, 4),
        "share_of_rendering": round(each_ms / 240.0 / stream_ms, 4),
    }


def half_load(renderer: Renderer, capacity: float, seconds: float) -> Row:
    """Time from ask to samples at half of `capacity`, with blocks asked for evenly over each second."""
    specs = specs_of(max(1, int(capacity / 2)), 0.5)
    start = first_block()
    limit = max(1, int(capacity * 0.125))
    for warm in range(2):
        for first in range(0, len(specs), limit):
            renderer.render([(spec, start + warm) for spec in specs[first : first + limit]])
    every_s = 1.0 / len(specs)
    asked = done = 0
    waits: list[float] = []
    began = time.perf_counter()
    while True:
        now = time.perf_counter() - began
        if now < seconds:
            asked = int(now / every_s) + 1
        if done >= asked:
            if now >= seconds:
                break
            time.sleep(max(0.0, asked * every_s - now))
            continue
        batch = range(done, min(asked, done + limit))
        renderer.render([(specs[i % len(specs)], start + 2 + i // len(specs)) for i in batch])
        now = time.perf_counter() - began
        waits += [now - i * every_s for i in batch]
        done = batch.stop
    return {
        "streams": len(specs),
        "block_p50_ms": round(1000 * percentile(waits, 0.5), 1),
        "block_p99_ms": round(1000 * percentile(waits, 0.99), 1),
        "blocks": len(waits),
    }


def phrases(device: torch.device, rounds: int) -> list[Row]:
    """The guide's phrase of two seconds, in a batch and one voice after the other, compiled and not."""
    rows: list[Row] = []
    engines: dict[str, Callable[[], OptimizedSynthesisEngine]] = {
        "batch 8": lambda: OptimizedSynthesisEngine(device, 8),
        "batch 1": lambda: OptimizedSynthesisEngine(device, 1),
        "batch 8, eager": lambda: OptimizedSynthesisEngine(device, 8, enable_compile=False),
    }
    made = {name: make() for name, make in engines.items()}
    times: dict[str, list[float]] = {name: [] for name in made}
    # In turns, so that other programs on the machine disturb all engines alike.
    for round_ in range(rounds):
        for name, engine in made.items():
            if "eager" in name and round_ >= max(3, rounds // 10):
                continue
            began = time.perf_counter()
            engine.render_phrase(CHORDS, MELODY, 2.0)
            times[name].append(1000.0 * (time.perf_counter() - began))
    best = statistics.median(times["batch 8"])
    for name, values in times.items():
        middle = statistics.median(values)
        rows.append(
            {
                "phrase": name,
                "p50_ms": round(middle, 2),
                "p99_ms": round(percentile(values, 0.99), 2),
                "ratio_to_batch_8": round(middle / best, 2),
            }
        )
    return rows


def memory(renderer: Renderer, blocks: int, count: int = 64) -> Row:
    """Resident memory of each stream beyond the first `count`, and its growth over `blocks` blocks.

    The first streams fill buffers that all batches share; what three times as many more add is their own. Growth is
    measured in both halves of the run: composing ahead shows in the first, a leak in both.
    """
    process = psutil.Process()
    specs = specs_of(4 * count, 0.5)
    start = first_block()
    held: list[float] = []
    for group in range(4):
        for second in range(4):
            renderer.render([(spec, start + second) for spec in specs[group * count : (group + 1) * count]])
        held.append(process.memory_info().rss / 2**20)
    grown = [held[-1]]
    seconds = max(2, blocks // count)
    for second in range(seconds):
        renderer.render([(spec, start + 4 + second) for spec in specs[:count]])
        if second + 1 in (seconds // 2, seconds):
            grown.append(process.memory_info().rss / 2**20)
    return {
        "streams": 4 * count,
        "mb_per_stream": round((held[-1] - held[0]) / (3 * count), 3),
        "blocks": seconds * count,
        "growth_mb": round(grown[-1] - grown[0], 2),
        "growth_second_half_mb": round(grown[-1] - grown[1], 2),
        "rss_mb": round(grown[-1]),
    }


def table(title: str, rows: list[Row]) -> None:
    """Print `rows` under `title`, a column for each key of the first."""
    names = list(rows[0])
    cells = [[str("" if row.get(name) is None else row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    print(f"\n{title}")
    print("  ".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True)))
    for line in cells:
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)))


PARTS = ("streams", "parts", "score", "half-load", "phrases", "peers", "memory")


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    parser.add_argument("--blocks", type=int, default=8, help="seconds of music per row")
    parser.add_argument("--batches", default="", help="streams rendered together, by default up to 256, on a GPU 1,024")
    parser.add_argument("--memory-blocks", type=int, default=10_000)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--eager", action="store_true", help="without compiled kernels")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only: got {', '.join(sorted(unknown))}, expected some of {', '.join(PARTS)}")
    try:
        device = AutoDeviceSelector(options.device).select_device()
    except DeviceError as error:
        sys.exit(f"nothing was measured: {error}")
    renderer = Renderer(device, enable_compile=not options.eager)
    began = time.perf_counter()
    garbage = RealTimeGCConfig()
    garbage.configure()
    renderer.warm_up(lambda stage, fraction: print(f"{stage} {fraction:4.0%}", flush=True))
    # As the worker does: the collector's default settings cost three streams in a hundred.
    garbage.freeze()
    warm_s = time.perf_counter() - began
    if renderer.eager_reason and not options.eager:
        print(f"Not compiled, several times slower: {renderer.eager_reason}.", flush=True)
    found: dict[str, list[Row]] = {}

    def show(part: str, title: str, rows: list[Row]) -> None:
        found[part] = rows
        table(title, rows)

    if "memory" in parts:
        # First, because the other parts fill the renderer's stores.
        show("memory", "Memory", [memory(renderer, options.memory_blocks)])
    batches = [int(text) for text in options.batches.split(",") if text]
    batches = batches or [*BATCHES, *(GPU_BATCHES if device.type != "cpu" else ())]
    rows = [streams(renderer, batch, intensity, options.blocks) for intensity in INTENSITIES for batch in batches]
    show("streams", f"Streams in real time ({renderer.mode}, {renderer.threads} threads)", rows)
    capacity = rows[len(batches) - 1]["streams_in_real_time"]
    stream_ms = rows[len(batches) - 1]["cpu_ms_per_stream_s"]
    if "parts" in parts:
        where, blocks = time_of_parts(renderer, specs_of(64, 0.5), first_block(), options.blocks)
        show("parts", "Where the processor time of a stream goes, 64 streams", where)
        show("blocks", "What building blocks cost", blocks)
    if "score" in parts:
        show("score", "Score", [score(64, stream_ms)])
    if "half-load" in parts:
        show("half-load", "Half of the streams, asked for evenly", [half_load(renderer, capacity, 8.0)])
    if "phrases" in parts:
        show("phrases", "render_phrase, 2 s", phrases(device, 60))
    if "peers" in parts:
        ours = rows[len(batches) - 1]
        per_core = 1000.0 / stream_ms
        peers: list[Row] = [
            {
                "renderer": f"Auralis, {renderer.mode}",
                "streams_per_core": round(per_core, 1),
                "million_voice_samples_per_s": round(per_core * ours["partials_per_stream"] * BLOCK_FRAMES / 1e6),
                "remark": f"{ours['batch']} streams",
            }
        ]
        for peer in all_peers(first_block()):
            about = asdict(peer)
            own, voices = about["streams_in_real_time"], about["voice_samples_per_s"]
            peers.append(
                {
                    "renderer": peer.name,
                    "streams_per_core": None if own is None else round(own, 1),
                    "million_voice_samples_per_s": None if voices is None else round(voices / 1e6),
                    "remark": peer.remark,
                }
            )
        show("peers", "The same work elsewhere, per core", peers)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git from PATH, for a label
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    about_run = {
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {device}",
        "torch": torch.__version__,
        "mode": renderer.mode,
        "start_s": round(warm_s, 2),
        "load": round(os.getloadavg()[0], 1),
    }
    print()
    for part, part_rows in found.items():
        for row in part_rows:
            print(json.dumps({"part": part, **row, **about_run}))
    renderer.close()


if __name__ == "__main__":
    main()
