"""Keeps a few child processes running, passes on their output, and leaves none behind (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from services.local.processes.log_lines import LineSplitter, LogLine, read_line
from services.local.processes.restarts import GiveUp, Restart, RestartPolicy, RestartState, describe_status

TAIL_LINES: Final = 12
"""Last lines of a child that are reported when it dies."""
CLOSE_TIMEOUT_S: Final = 1.0
"""How long a child's output may stay open after its end: a process that left the group can hold it open."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A process to keep running.

    Attributes:
        name: for people.
        module: Python module to run with this interpreter; empty to run a program.
        command: the module's arguments; without a module, a program and its arguments.
        environ: variables that are added to the supervisor's own environment.
        stop_order: children with lower numbers are stopped first.
    """

    name: str
    module: str = ""
    command: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    stop_order: int = 0

    def argv(self) -> list[str]:
        """The whole command line, wrapped so that the child dies with the supervisor (see die_with_parent.py)."""
        target = ["module", self.module] if self.module else ["exec"]
        return [sys.executable, "-m", "services.local.processes.die_with_parent", *target, *self.command]


class Observer(Protocol):
    """Receives what happens to the children.

    `line` is called from threads, the other methods from the event loop. None of them may block.
    """

    def started(self, name: str, pid: int) -> None:
        """A child was started, for the first time or again."""
        ...

    def line(self, name: str, line: LogLine) -> None:
        """A child wrote a line."""
        ...

    def ended(self, name: str, how: str, last_lines: Sequence[str], decision: Restart | GiveUp) -> None:
        """A child ended unasked.

        Args:
            name: of the child.
            how: its exit status in words.
            last_lines: the end of its output, at most `TAIL_LINES` lines.
            decision: what the supervisor does about it.
        """
        ...


class Supervisor:
    """Runs children until `stop` is called or a restart of one of them could not help.

    Each child leads a process group of its own: Ctrl-C in the terminal reaches the supervisor alone, and stopping a
    child also stops the processes that it started.

    Args:
        children: the processes.
        observer: receives starts, lines and ends.
        policy: whether and when a child is restarted.
        stop_timeout_s: seconds between SIGTERM and SIGKILL.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        observer: Observer,
        policy: RestartPolicy | None = None,
        stop_timeout_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = tuple(children)
        self._observer = observer
        self._policy = policy or RestartPolicy()
        self._stop_timeout_s = stop_timeout_s
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._stopping = asyncio.Event()
        self._kill_now = asyncio.Event()
        self._gave_up: str | None = None

    @property
    def gave_up(self) -> str | None:
        """Why the supervisor stopped everything by itself, as a sentence; None if it did not."""
        return self._gave_up

    def stop(self) -> None:
        """Stop everything: SIGTERM, a bounded wait, SIGKILL. A second call skips the wait."""
        if self._stopping.is_set():
            self._kill_now.set()
        self._stopping.set()

    async def run(self) -> None:
        """Start all children and keep them running; returns when the last one has ended."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for child in self._children:
                    tasks.create_task(self._keep_running(child), name=f"keep {child.name} running")
        finally:
            await self._end_all()

    async def _keep_running(self, child: ChildSpec) -> None:
        state = RestartState(self._policy)
        while not self._stopping.is_set():
            started_s = self._clock()
            try:
                running = _Running(child, self._observer.line)
            except OSError as error:
                status, how = 127, f"cannot be started: {error}"
                tail: tuple[str, ...] = ()
            else:
                self._running[child.name] = running
                self._observer.started(child.name, running.pid)
                await _first_of(running.exited, self._stopping)
                if self._stopping.is_set():
                    return
                status = running.status
                await running.sweep()
                how, tail = describe_status(status), tuple(running.tail)
            decision = state.ended(status, self._clock() - started_s)
            self._observer.ended(child.name, how, tail, decision)
            if isinstance(decision, GiveUp):
                self._gave_up = f"{child.name} ended with {how}: {decision.reason}"
                self._stopping.set()
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), decision.delay_s)

    async def _end_all(self) -> None:
        for order in sorted({child.stop_order for child in self._children}):
            ends = [each.end(self._stop_timeout_s, self._kill_now) for each in self._running.values()
                    if each.child.stop_order == order]  # fmt: skip
            await asyncio.gather(*ends)


class _Running:
    """One process, with a thread that reads its output and one that waits for its end.

    It uses threads instead of asyncio's subprocesses: the output must be read while the loop is busy, and the end must
    be seen while a process that the child started still holds the output open.
    """

    def __init__(self, child: ChildSpec, on_line: Callable[[str, LogLine], None]) -> None:
        self.child = child
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.exited = asyncio.Event()
        self._closed = asyncio.Event()
        self._on_line = on_line
        self._loop = asyncio.get_running_loop()
        self._process = subprocess.Popen(  # noqa: S603 - the command line is our own
            child.argv(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **child.environ},
            process_group=0,
        )
        self.pid = self._process.pid
        for target in (self._read, self._wait):
            threading.Thread(target=target, name=f"{child.name} {target.__name__}", daemon=True).start()

    @property
    def status(self) -> int:
        """The exit status, or minus the signal; only after `exited`."""
        status = self._process.returncode
        assert status is not None  # noqa: S101 - for the type checker: `exited` is set after it
        return status

    async def end(self, timeout_s: float, kill_now: asyncio.Event) -> None:
        """Send SIGTERM to the group, wait, send SIGKILL to the processes that are left."""
        if not self.exited.is_set():
            self._signal_group(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_first_of(self.exited, kill_now), timeout_s)
        await self.sweep()

    async def sweep(self) -> None:
        """Kill the processes that are left in the group and read the output to its end."""
        self._signal_group(signal.SIGKILL)
        await self.exited.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), CLOSE_TIMEOUT_S)
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        self._process.stdin.close()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        splitter = LineSplitter()
        with stdout:
            while data := stdout.read(65_536):
                self._pass_on(splitter.feed(data))
        self._pass_on(splitter.end())
        self._set(self._closed)

    def _pass_on(self, lines: Sequence[bytes]) -> None:
        for raw in lines:
            line = read_line(raw)
            self.tail.append(line.text)
            self._on_line(self.child.name, line)

    def _wait(self) -> None:
        self._process.wait()
        self._set(self.exited)

    def _set(self, event: asyncio.Event) -> None:
        # The loop may be closed already when the output of a process that left the group ends.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(event.set)


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
