"""Runs the guide's scripts as a user does: as processes of their own, against a running system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.system import System

SCRIPTS = Path(__file__).parent / "scripts"
REPO = Path(__file__).parents[2]


def run_script(name: str, *, call: str = "", system: System | None = None, timeout_s: float = 60) -> str:
    """Run a script as `python script`, or only `call` in its namespace; returns what it printed."""
    path = str(SCRIPTS / name)
    # The guide's memory script imports torch in its __main__ part only, so a call from outside brings it along.
    code = f"import asyncio, runpy, torch; globals().update(runpy.run_path({path!r}, {{'torch': torch}})); {call}"
    command = [sys.executable, "-c", code] if call else [sys.executable, path]
    environ = {**os.environ, "PYTHONPATH": str(REPO), **(system.client_environ if system else {})}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=timeout_s, check=False)  # noqa: S603 - our own scripts
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_1_1_reported_underruns_raise_the_tier_from_stable_to_defensive(stable_system: System) -> None:
    call = "import random; random.seed(3); asyncio.run(test_tier_promotion())"
    assert "Tier promoted to 'defensive'" in run_script("test_adaptive_buffer.py", call=call, system=stable_system)


def test_1_2_jitter_is_tracked_by_a_moving_average() -> None:
    assert "✅" in run_script("test_jitter_tracker.py")


def test_2_1_ten_clients_for_ten_seconds(system: System) -> None:
    assert "All concurrent client tests passed" in run_script("test_concurrent_clients.py", system=system)


def test_2_2_chunks_are_encoded_once_and_sent_to_all() -> None:
    assert "10.0x" in run_script("test_broadcast_encoding.py")


def test_3_1_the_device_is_selected() -> None:
    assert "Selected device" in run_script("test_device_selection.py")


@pytest.mark.long
def test_3_2_a_batch_of_eight_beats_one_by_one() -> None:
    assert "significant speedup" in run_script("test_batch_synthesis.py", timeout_s=600)


@pytest.mark.long
def test_3_3_compiled_kernels_beat_eager_ones() -> None:
    assert "kernel fusion speedup" in run_script("test_torch_compile.py", timeout_s=600)


def test_4_1_memory_is_stable_for_ten_seconds() -> None:
    call = "asyncio.run(test_memory_stability(duration_hours=10 / 3600))"
    assert "Leak detected: False" in run_script("test_memory_stability.py", call=call)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_4_1_memory_is_stable_for_five_minutes() -> None:
    call = "asyncio.run(test_memory_stability(duration_hours=5 / 60))"
    assert "Leak detected: False" in run_script("test_memory_stability.py", call=call, timeout_s=500)


def test_4_2_garbage_collection_is_configured() -> None:
    assert "(50000, 500, 1000)" in run_script("test_gc_config.py")


def test_5_1_metrics_are_served_for_the_fleet(system: System) -> None:
    assert "Prometheus metrics collected correctly" in run_script("test_metrics_collection.py", system=system)


def test_the_full_pipeline_delivers_fifty_chunks_of_882000_bytes(system: System) -> None:
    out = run_script("test_full_pipeline.py", system=system)
    assert "Total audio data: 882000 bytes" in out


def test_load_twenty_clients_for_ten_seconds(system: System) -> None:
    call = "asyncio.run(load_test_20_clients(num_clients=20, duration_sec=10))"
    out = run_script("test_load_20_clients.py", call=call, system=system)
    assert "Total underruns: 0" in out
    assert "Total errors: 0" in out


@pytest.mark.long
@pytest.mark.timeout(180)
def test_load_twenty_clients_for_a_minute(system: System) -> None:
    out = run_script("test_load_20_clients.py", system=system, timeout_s=150)
    assert "Total underruns: 0" in out
    assert "Total errors: 0" in out


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_benchmark_suite_meets_its_latency_and_memory_targets() -> None:
    out = run_script("benchmark_suite.py", timeout_s=500)
    # The suite's third part asks for Apple's Metal and says so on any other machine.
    assert "Synthesis Latency: ✅ PASS" in out
    assert "Memory Growth (100 iterations): ✅ PASS" in out
