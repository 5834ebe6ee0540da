"""`scripts/gpu-check`: it measures what is here, and says in a sentence what is not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_check import limited_by, main

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu-check"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here: what is missing cannot be tried")
def test_without_a_gpu_one_sentence_says_what_is_missing() -> None:
    done = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("nothing was measured: AURALIS_DEVICE: got 'cuda'")
    assert done.stderr.count("\n") == 1


def test_the_same_table_is_made_on_a_processor(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--device", "cpu", "--eager", "--batches", "1", "--blocks", "1", "--half-load-s", "0.1"]
    assert main(options) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    streams, device = rows
    assert streams["streams"] == 1
    assert streams["in_real_time"] > 0
    assert streams["block_p50_ms"] <= streams["block_p99_ms"]
    assert streams["device_busy"] is None
    assert device["mode"] == "eager"
    assert device["start_s"] > 0.0
    assert device["resident_mb"] > 100
    assert device["device_mb"] is device["waits_for_device"] is None
    assert device["half_load_p99_ms"] > 0.0


@pytest.mark.parametrize(
    ("threads", "host_cores", "device", "expected"),
    [
        (2, 1.9, None, "the processor"),
        (2, 0.9, None, "waiting: threads, copies or other programs"),
        (1, 0.5, 0.95, "the GPU"),
        (1, 0.9, 0.4, "the processor, which packs and launches"),
    ],
)
def test_what_limits_is_named(threads: int, host_cores: float, device: float | None, expected: str) -> None:
    assert limited_by(threads, host_cores, device) == expected
