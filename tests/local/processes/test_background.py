import subprocess
import sys
from pathlib import Path

import pytest

from services.local.processes import background as module
from services.local.processes.background import background, last_lines
from tests.support.waiting import wait_until

STUBBORN = "import signal, sys; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def test_the_program_runs_inside_the_block_and_its_output_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = "import sys, signal; print('out', flush=True); print('err', file=sys.stderr, flush=True); signal.pause()"
    with background([sys.executable, "-c", program], log=log) as process:
        wait_until(lambda: "err" in log.read_text(), 20)
        assert process.poll() is None
    assert process.returncode == -15
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT_S", 0.05)
    log = tmp_path / "log"
    with background([sys.executable, "-c", STUBBORN], log=log) as process:
        wait_until(lambda: "up" in log.read_text(), 20)
    assert process.returncode == -9


def test_the_program_is_stopped_when_the_block_fails() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def fail() -> None:
        with background([sys.executable, "-c", "import signal; signal.pause()"]) as process:
            started.append(process)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert started[0].returncode == -15


def test_the_last_lines_of_a_log_are_read_even_if_they_are_not_utf_8(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\nthr\xffee\n")
    assert last_lines(log, 2) == "two\nthr\ufffdee"
