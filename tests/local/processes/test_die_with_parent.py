import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from services.local.processes import die_with_parent


def test_the_module_sees_its_own_arguments_and_no_standard_input(tmp_path: Path) -> None:
    (tmp_path / "shows.py").write_text("import sys; print(__name__, sys.argv[1:], repr(sys.stdin.read()))")
    with subprocess.Popen(
        [sys.executable, "-m", "services.local.processes.die_with_parent", "module", "shows", "a", "b"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        # This end of standard input is still open; the module lives only while it is.
        assert process.stdout.read() == "__main__ ['a', 'b'] ''\n"
        assert process.wait(30) == 0


def test_a_wrong_call_prints_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert die_with_parent.main(["start", "it"]) == 2
    assert die_with_parent.main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_watched_descriptor_calls_when_its_other_end_closes() -> None:
    reader, writer = os.pipe()
    called: list[bool] = []
    thread = die_with_parent.watch(reader, lambda: called.append(True))
    os.write(writer, b"ignored")
    assert thread.is_alive()
    os.close(writer)
    thread.join(5)
    os.close(reader)
    assert called == [True]


WATCHER = """
    import os, sys
    from services.local.processes import die_with_parent
    sys.exit(die_with_parent.run_and_watch([sys.executable, "-c", {program!r}], os.dup(0)))
"""


def _watcher(program: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WATCHER.format(program=program))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip


def test_without_the_kernels_help_the_program_is_watched_and_its_status_returned() -> None:
    with _watcher("raise SystemExit(7)") as process:
        assert process.wait(30) == 7
    with _watcher("import os; os.kill(os.getpid(), 15)") as process:
        assert process.wait(30) == 128 + 15


def test_without_the_kernels_help_the_program_ends_with_the_supervisor() -> None:
    with _watcher("import os, time; print(os.getpid(), flush=True); time.sleep(600)") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        pid = int(process.stdout.readline())
        assert psutil.pid_exists(pid)
        process.stdin.close()
        assert process.wait(30) == -signal.SIGKILL
    gone, alive = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert not alive, gone


def test_sigterm_reaches_the_watched_program_through_the_group() -> None:
    program = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(5));print('up', flush=True); time.sleep(600)"
    )
    with _watcher(program) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) == 5
