"""Scripts that write parts of pages run by name, from any folder, without an active virtual environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SYSTEM_PATH = "/usr/bin:/bin"


def run(tmp_path: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [REPO / "scripts" / name, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PATH": SYSTEM_PATH, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["readme", "metrics", "chart-readme"])
def test_a_page_is_compared_with_the_code_from_anywhere(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, name, "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_missing_figures_of_the_fault_suite_are_requested(tmp_path: Path) -> None:
    done = run(tmp_path, "reliability", str(tmp_path / "faults.json"))
    assert done.returncode == 1
    assert "make test-faults" in done.stderr
    assert "Traceback" not in done.stderr
