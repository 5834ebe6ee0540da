"""The benchmark of rendering, on a machine where it cannot measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "synthesis.py"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here: what is missing cannot be tried")
def test_without_a_gpu_one_sentence_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--device", "cuda"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("nothing was measured: AURALIS_DEVICE: got 'cuda'")
    assert done.stderr.count("\n") == 1
