"""How soon a leak is found, and how often a healthy process is called a leak: simulated memory, the real verdict.

    python benchmarks/leaks.py [--curves 40]

The memory of a process is a base, caches that fill, the garbage collector's sawtooth, noise, and a leak or none. The
verdict is computed every minute, as in a running process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys

from services.runtime.slope import growth

INTERVAL_S = 10.0
"""Time between two samples of memory."""


def curve(hours: float, leak_mb_per_hour: float, seed: int) -> tuple[list[float], list[float]]:
    """Times and MiB of one process; the teeth of its sawtooth are 2 to 40 MiB high and 45 s to 10 min long."""
    rng = random.Random(seed)  # noqa: S311 - figures, no secrets
    tooth_mb, tooth_s = rng.uniform(2, 40 if leak_mb_per_hour == 0 else 8), rng.uniform(45, 600)
    if leak_mb_per_hour:
        tooth_s = min(tooth_s, 240.0)
    noise_mb, caches_mb, phase = rng.uniform(0.1, 0.5), rng.uniform(0, 80), rng.random()
    times = [n * INTERVAL_S for n in range(round(hours * 3600 / INTERVAL_S))]
    values = [
        150
        + leak_mb_per_hour * time_s / 3600
        + tooth_mb * ((time_s / tooth_s + phase) % 1)
        + rng.gauss(0, noise_mb)
        + caches_mb * (1 - math.exp(-time_s / 60))
        for time_s in times
    ]
    return times, values


def found_after_min(hours: float, leak_mb_per_hour: float, seed: int) -> float | None:
    """Minutes until the verdict is "leak"; None if it never is."""
    times, values = curve(hours, leak_mb_per_hour, seed)
    for end in range(12, len(times) + 1, 6):
        if growth(times[:end], values[:end]).leak:
            return times[end - 1] / 60
    return None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=40)
    curves = parser.parse_args().curves
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    print(f"{'memory':<34}{'curves':>8}{'called a leak':>15}{'after, median':>15}{'latest':>9}", file=sys.stderr)
    for name, hours, leak in (
        ("leaks 20 MiB/h", 1.0, 20.0),
        ("leaks 60 MiB/h", 1.0, 60.0),
        ("sawtooth, 8 h", 8.0, 0.0),
    ):
        number = curves if leak else max(1, curves // 4)
        minutes = [each for seed in range(number) if (each := found_after_min(hours, leak, seed)) is not None]
        median, latest = (statistics.median(minutes), max(minutes)) if minutes else (None, None)
        shown = [f"{each:.0f} min" if each is not None else "" for each in (median, latest)]
        print(f"{name:<34}{number:>8}{len(minutes):>15}{shown[0]:>15}{shown[1]:>9}", file=sys.stderr)
        row = {
            "benchmark": "leaks", "memory": name, "curves": number, "called_a_leak": len(minutes),
            "median_min": median, "latest_min": latest, "commit": commit.stdout.strip(), "cores": os.cpu_count(),
        }  # fmt: skip
        print(json.dumps(row))


if __name__ == "__main__":
    main()
