from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.runtime.errors import ServiceError
from services.runtime.http.server import PortInUseError
from services.runtime.process.lifecycle import Lifecycle, run_until_stopped
from tests.support.waiting import until

REPO = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _restore_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# --- draining --------------------------------------------------------------------------------------------------------


async def test_every_drain_callback_runs_once_however_often_a_drain_is_asked_for() -> None:
    lifecycle = Lifecycle()
    calls: list[str] = []

    def note(name: str) -> Callable[[], object]:
        async def callback() -> None:
            calls.append(name)
            await asyncio.sleep(0)

        return callback

    lifecycle.on_drain(note("listeners"))  # type: ignore[arg-type]
    lifecycle.on_drain(note("jobs"))  # type: ignore[arg-type]
    assert not lifecycle.draining
    await asyncio.gather(lifecycle.drain(), lifecycle.drain())
    await lifecycle.drain()
    assert sorted(calls) == ["jobs", "listeners"]
    assert lifecycle.draining
    assert not lifecycle.stopping.is_set()


async def test_a_drain_callback_that_fails_does_not_stop_the_others_nor_the_end() -> None:
    lifecycle = Lifecycle()
    drained = asyncio.Event()

    async def broken() -> None:
        raise RuntimeError("it would not")

    async def good() -> None:
        await asyncio.sleep(0)
        drained.set()

    lifecycle.on_drain(broken)
    lifecycle.on_drain(good)
    lifecycle.stop("test")
    await asyncio.wait_for(lifecycle.stopping.wait(), 5)
    assert drained.is_set()


async def test_stopping_comes_after_the_drain() -> None:
    lifecycle = Lifecycle()
    release = asyncio.Event()
    lifecycle.on_drain(release.wait)  # type: ignore[arg-type]
    lifecycle.stop("test")
    lifecycle.stop("again")
    await until(lambda: lifecycle.draining)
    assert not lifecycle.stopping.is_set()
    release.set()
    await asyncio.wait_for(lifecycle.stopping.wait(), 5)


async def test_a_caller_that_gives_up_does_not_cancel_the_drain() -> None:
    lifecycle = Lifecycle()
    release = asyncio.Event()
    lifecycle.on_drain(release.wait)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lifecycle.drain(), 0.01)
    release.set()
    await asyncio.wait_for(lifecycle.drain(), 5)


# --- exit codes ------------------------------------------------------------------------------------------------------


def test_a_service_that_returns_exits_with_0() -> None:
    async def main(_lifecycle: Lifecycle) -> None:
        await asyncio.sleep(0)

    assert run_until_stopped(main) == 0


def test_a_service_that_is_told_to_stop_exits_with_0() -> None:
    async def main(lifecycle: Lifecycle) -> None:
        lifecycle.stop("test")
        await lifecycle.stopping.wait()

    assert run_until_stopped(main) == 0


def test_a_known_failure_is_a_sentence_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(_lifecycle: Lifecycle) -> None:
        raise ServiceError("there is no music without a renderer", exit_code=3)

    assert run_until_stopped(main) == 3
    shown = "".join(capsys.readouterr())
    assert "there is no music without a renderer" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(("asked", "status"), [(2, 2), (0, 0), (None, 0), ("no", 1)])
def test_a_service_that_ends_the_process_does_so_with_its_own_code_and_no_traceback(
    asked: int | str | None, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main(_lifecycle: Lifecycle) -> None:
        sys.exit(asked)

    assert run_until_stopped(main) == status
    gc.collect()
    assert "Traceback" not in "".join(capsys.readouterr())


def test_a_port_in_use_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(_lifecycle: Lifecycle) -> None:
        raise PortInUseError("127.0.0.1", 8000, "port 8000 on 127.0.0.1 is in use; stop the program that has it")

    assert run_until_stopped(main) == 1
    shown = "".join(capsys.readouterr())
    assert "port 8000 on 127.0.0.1 is in use" in shown
    assert "Traceback" not in shown


def test_an_unknown_failure_exits_with_1_and_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(_lifecycle: Lifecycle) -> None:
        raise ZeroDivisionError("of music")

    assert run_until_stopped(main) == 1
    shown = "".join(capsys.readouterr())
    assert "ZeroDivisionError: of music" in shown
    assert "Traceback" in shown


def test_a_service_that_ignores_the_end_is_cancelled() -> None:
    cancelled = False

    async def main(lifecycle: Lifecycle) -> None:
        nonlocal cancelled
        lifecycle.stop("test")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise

    assert run_until_stopped(main, stop_timeout_s=0.05) == 1
    assert cancelled


# --- signals, in a process of its own --------------------------------------------------------------------------------

SERVICE = """
    import asyncio
    from services.runtime.process.lifecycle import Lifecycle, run_service
    from services.runtime.settings import Settings

    async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
        async def drain() -> None:
            print("draining", flush=True)
            await asyncio.sleep({drain_s})
            print("drained", flush=True)

        lifecycle.on_drain(drain)
        print("running", type(asyncio.get_running_loop()).__module__, flush=True)
        await lifecycle.stopping.wait()
        print("stopped", flush=True)

    run_service("test", serve)
"""


@contextlib.contextmanager
def service(code: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_stops_and_exits_with_0_and_no_traceback(number: signal.Signals) -> None:
    with service(SERVICE.format(drain_s=0.01)) as process:
        assert line(process).startswith("running")
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
    assert output.splitlines() == ["draining", "drained", "stopped"]
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_second_signal_exits_at_once() -> None:
    with service(SERVICE.format(drain_s=60)) as process:
        assert line(process).startswith("running")
        process.send_signal(signal.SIGTERM)
        assert line(process) == "draining"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert output == ""
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in errors


def test_services_run_on_uvloop_where_there_is_one() -> None:
    pytest.importorskip("uvloop")
    with service(SERVICE.format(drain_s=0)) as process:
        assert line(process) == "running uvloop"


def test_ctrl_c_before_the_loop_runs_shows_no_traceback() -> None:
    code = """
        import time
        from services.runtime.process import lifecycle

        def slow_loop():
            print("starting", flush=True)
            time.sleep(60)

        lifecycle.uvloop = type("Slow", (), {"new_event_loop": staticmethod(slow_loop)})
        lifecycle.run_service("test", None)
    """
    with service(code) as process:
        assert line(process) == "starting"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert errors == ""
