"""scripts/test-again with a project of its own, whose tests pass or fail by the number of the try."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SOURCE = """
import pathlib, pytest

def tries(name):
    file = pathlib.Path(__file__).with_name(name)
    file.write_text((file.read_text() if file.exists() else "") + "x")
    return len(file.read_text())

@pytest.mark.parametrize("name", ["a test, with words"])
def test_second(name):
    assert tries("second") >= SECOND

def test_third():
    assert tries("third") >= THIRD

def test_steady():
    tries("steady")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Loading the plugins of Auralis' own tests takes longer than these tests.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "scripts").mkdir()
    shutil.copy(REPO / "scripts" / "test-again", tmp_path / "scripts")
    (tmp_path / ".venv").symlink_to(REPO / ".venv")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(project: Path, *, second: int, third: int) -> tuple[int, str]:
    """A first run of pytest and then the script; its exit status and the names that it noted."""
    (project / "test_it.py").write_text(SOURCE.replace("SECOND", str(second)).replace("THIRD", str(third)))
    command = [".venv/bin/python", "-m", "pytest", "-q", "-p", "no:xdist"]
    first = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert first.returncode == (1 if max(second, third) > 1 else 0), first.stdout
    done = subprocess.run(
        [project / "scripts" / "test-again", str(first.returncode), "60"],
        cwd=project, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    names = project / "build" / "not-steady.txt"
    text = names.read_text() if names.exists() else ""
    assert set(text.splitlines()) <= set(done.stdout.splitlines())
    return done.returncode, text


def test_a_test_that_passes_at_the_second_try_is_named_and_the_run_passes(project: Path) -> None:
    status, names = run(project, second=2, third=1)
    assert status == 0
    assert names == "passed at the second try: test_it.py::test_second[a test, with words]\n"
    assert (project / "steady").read_text() == "x", "tests that passed are not tried again"


def test_a_test_that_needs_a_third_try_is_named_and_fails_the_run(project: Path) -> None:
    status, names = run(project, second=2, third=3)
    assert status == 1
    assert names.splitlines() == [
        "passed at the second try: test_it.py::test_second[a test, with words]",
        "FAILED twice, passed at the third try: test_it.py::test_third",
    ]


def test_a_test_that_fails_three_times_is_named_and_fails_the_run(project: Path) -> None:
    status, names = run(project, second=9, third=1)
    assert status == 1
    assert names == "FAILED three times: test_it.py::test_second[a test, with words]\n"
    assert (project / "second").read_text() == "xxx"


@pytest.mark.parametrize("status", [0, 2, 5])
def test_another_exit_status_is_passed_on_and_nothing_is_tried(project: Path, status: int) -> None:
    done = subprocess.run([project / "scripts" / "test-again", str(status)], cwd=project, timeout=60, check=False)
    assert done.returncode == status
    assert not (project / "build").exists()
