import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from services.local.processes.log_lines import LogLine
from services.local.processes.restarts import GiveUp, Restart, RestartPolicy
from services.local.processes.supervisor import ChildSpec, Supervisor
from tests.support.waiting import until, wait_until

QUICK = RestartPolicy(first_delay_s=0.05, max_delay_s=0.2)


class Recorder:
    """Records what the supervisor reports."""

    def __init__(self) -> None:
        self.pids: dict[str, list[int]] = {}
        self.lines: list[tuple[str, str]] = []
        self.ends: list[tuple[str, str, tuple[str, ...], Restart | GiveUp]] = []
        self.started_s: list[float] = []
        self.ended_s: list[float] = []

    def started(self, name: str, pid: int) -> None:
        self.started_s.append(time.monotonic())
        self.pids.setdefault(name, []).append(pid)

    def line(self, name: str, line: LogLine) -> None:
        self.lines.append((name, line.text))

    def ended(self, name: str, how: str, last_lines: Sequence[str], decision: Restart | GiveUp) -> None:
        self.ended_s.append(time.monotonic())
        self.ends.append((name, how, tuple(last_lines), decision))

    def texts(self, name: str) -> list[str]:
        return [text for each, text in self.lines if each == name]


class Modules:
    """Writes small modules that children run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def child(self, name: str, source: str, *, stop_order: int = 0) -> ChildSpec:
        (self.folder / f"child_{name}.py").write_text(textwrap.dedent(source))
        return ChildSpec(name, f"child_{name}", environ={"PYTHONPATH": str(self.folder)}, stop_order=stop_order)


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    return Modules(tmp_path)


@asynccontextmanager
async def supervised(
    children: Sequence[ChildSpec], recorder: Recorder, *, stop_timeout_s: float = 5.0
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(children, observer=recorder, policy=QUICK, stop_timeout_s=stop_timeout_s)
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        supervisor.stop()
        await running


WAITS = """
    import time
    print("up", flush=True)
    time.sleep(600)
"""


async def test_a_child_that_dies_is_reported_with_its_last_lines_and_restarts_after_growing_waits(
    modules: Modules,
) -> None:
    recorder = Recorder()
    child = modules.child("dies", 'import sys; print("about to fail"); sys.exit("no more strings")')
    async with supervised([child], recorder):
        await until(lambda: len(recorder.started_s) >= 4, 20)
    name, how, last_lines, decision = recorder.ends[0]
    assert (name, how) == ("dies", "exit status 1")
    assert last_lines == ("about to fail", "no more strings")
    assert decision == Restart(0.05, 1)
    assert [end[3] for end in recorder.ends[1:3]] == [Restart(0.1, 2), Restart(0.2, 3)]
    pauses_s = [start - end for start, end in zip(recorder.started_s[1:4], recorder.ended_s[:3], strict=True)]
    assert [pause_s >= wait_s for pause_s, wait_s in zip(pauses_s, (0.05, 0.1, 0.2), strict=True)] == [True] * 3


async def test_a_child_that_was_killed_is_reported_with_the_signal(modules: Modules) -> None:
    recorder = Recorder()
    async with supervised([modules.child("waits", WAITS)], recorder):
        await until(lambda: recorder.texts("waits"), 20)
        os.kill(recorder.pids["waits"][0], signal.SIGKILL)
        await until(lambda: len(recorder.texts("waits")) == 2, 20)
    assert recorder.ends[0][1].startswith("SIGKILL")


async def test_unusable_settings_stop_everything(modules: Modules) -> None:
    recorder = Recorder()
    bad = modules.child("bad", 'import sys; print("AURALIS_PORT: got x"); sys.exit(2)')
    supervisor = Supervisor([bad, modules.child("good", WAITS)], observer=recorder, policy=QUICK)
    async with asyncio.timeout(20):
        await supervisor.run()
    assert supervisor.gave_up is not None
    assert "bad ended with exit status 2" in supervisor.gave_up
    assert recorder.ends[0][2] == ("AURALIS_PORT: got x",)
    assert not psutil.pid_exists(recorder.pids["good"][0])


async def test_children_may_stop_in_order_and_the_bus_is_stopped_last(modules: Modules, tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    source = f"""
        import signal, sys, time
        def end(*_):
            with open({str(ends)!r}, "a") as file: print(__name__, sys.argv[0], file=file)
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        print("up", flush=True)
        while True: time.sleep(600)
    """
    recorder = Recorder()
    children = [modules.child("bus", source, stop_order=1), modules.child("one", source), modules.child("two", source)]
    async with supervised(children, recorder):
        await until(lambda: len(recorder.lines) == 3, 20)
    order = ends.read_text().splitlines()
    assert sorted(order[:2]) == ["__main__ " + str(tmp_path / f"child_{name}.py") for name in ("one", "two")]
    assert order[2].endswith("child_bus.py")
    assert recorder.ends == []


async def test_a_child_that_ignores_sigterm_is_killed_with_its_own_children(modules: Modules) -> None:
    recorder = Recorder()
    stubborn = modules.child(
        "stubborn",
        """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN);"
                                  "print('up', flush=True); time.sleep(600)"])
        print(child.pid, flush=True)
        time.sleep(600)
        """,
    )
    async with supervised([stubborn], recorder, stop_timeout_s=0.2):
        await until(lambda: len(recorder.lines) == 2, 20)
    grandchild = int(next(text for text in recorder.texts("stubborn") if text != "up"))
    assert not psutil.pid_exists(recorder.pids["stubborn"][0])
    await until(lambda: not psutil.pid_exists(grandchild), 20)


async def test_a_second_stop_skips_the_wait(modules: Modules) -> None:
    recorder = Recorder()
    source = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{textwrap.dedent(WAITS)}"
    begun_s = time.monotonic()
    async with supervised([modules.child("stubborn", source)], recorder, stop_timeout_s=60.0) as supervisor:
        await until(lambda: recorder.lines, 20)
        supervisor.stop()
        supervisor.stop()
    assert time.monotonic() - begun_s < 30.0


async def test_a_restart_does_not_wait_for_a_grandchild_that_holds_the_output_open(modules: Modules) -> None:
    recorder = Recorder()
    leaves = modules.child(
        "leaves",
        """
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("gone", flush=True)
        """,
    )
    async with supervised([leaves], recorder):
        await until(lambda: len(recorder.ends) >= 2, 20)
    assert recorder.ends[0][1] == "exit status 0"
    assert recorder.ends[0][2] == ("gone",)


async def test_a_program_that_does_not_exist_is_reported_and_tried_again(tmp_path: Path) -> None:
    recorder = Recorder()
    async with supervised([ChildSpec("nats", command=(str(tmp_path / "nothing"),))], recorder):
        await until(lambda: recorder.ends, 20)
    assert any("FileNotFoundError" in text or "No such file" in text for text in recorder.ends[0][2])


def test_no_child_outlives_a_killed_supervisor(modules: Modules, tmp_path: Path) -> None:
    modules.child(
        "parent",
        """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("grandchild", child.pid, flush=True)
        time.sleep(600)
        """,
    )
    script = tmp_path / "supervise.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import asyncio
            from services.local.processes.supervisor import ChildSpec, Supervisor
            class Printer:
                def started(self, name, pid): print(name, pid, flush=True)
                def line(self, name, line): print(line.text, flush=True)
                def ended(self, *_): pass
            children = [
                ChildSpec("module", "child_parent", environ={{"PYTHONPATH": {str(tmp_path)!r}}}),
                ChildSpec("program", command=("/bin/sleep", "600")),
            ]
            async def main():
                await Supervisor(children, observer=Printer()).run()
            asyncio.run(main())
            """
        )
    )
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = dict(process.stdout.readline().split() for _ in range(3))
        assert set(pids) == {"module", "program", "grandchild"}
        assert all(psutil.pid_exists(int(pid)) for pid in pids.values())
        # The program itself must run by now: otherwise only its wrapper would be seen to die.
        wait_until(lambda: psutil.Process(int(pids["program"])).name() == "sleep")
        process.kill()
    wait_until(lambda: not any(_alive(int(pid)) for pid in pids.values()))


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
