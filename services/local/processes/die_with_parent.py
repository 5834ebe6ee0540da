"""Runs a child that cannot outlive the supervisor, even if the supervisor is killed with SIGKILL (shell).

    python -m services.local.processes.die_with_parent module services.edge
    python -m services.local.processes.die_with_parent exec /usr/bin/nats-server -c nats.conf

The supervisor holds the other end of the child's standard input and never writes to it: standard input ends when the
supervisor ends, on every Unix. A Python module watches it from a thread. Another program cannot, so on Linux the kernel
sends it SIGKILL when its parent dies, and elsewhere this process stays and watches in the program's place.
"""

from __future__ import annotations

import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1
USAGE: Final = (
    "usage: python -m services.local.processes.die_with_parent module NAME [ARGUMENT…] | exec PROGRAM [ARGUMENT…]"
)


def main(arguments: Sequence[str]) -> int:
    """Run the module or program that `arguments` name; returns its exit status (`exec` on Linux does not return)."""
    if len(arguments) < 2 or arguments[0] not in ("module", "exec"):
        sys.stderr.write(f"{USAGE}\n")
        return 2
    kind, target, *rest = arguments
    if kind == "module":
        watch(_take_stdin(), end_group)
        sys.argv = [target, *rest]
        # `python -m` has put the working folder first on the path, so the module is found there.
        runpy.run_module(target, run_name="__main__", alter_sys=True)
        return 0
    if die_with_parent(signal.SIGKILL):
        # The parent may have died before the kernel knew: then standard input has already ended.
        if select.select([0], [], [], 0)[0]:
            return 1
        os.execvp(target, [target, *rest])  # noqa: S606 - the program and its arguments are the supervisor's own
    return run_and_watch([target, *rest], _take_stdin())


def watch(stdin_fd: int, on_end: Callable[[], object]) -> threading.Thread:
    """Call `on_end` from a thread when `stdin_fd` ends, that is, when the supervisor is gone."""

    def wait() -> None:
        while os.read(stdin_fd, 4096):
            pass
        on_end()

    thread = threading.Thread(target=wait, name="die with parent", daemon=True)
    thread.start()
    return thread


def end_group() -> NoReturn:
    """Kill this process; if it leads a process group, as under the supervisor, kill the whole group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(1)  # not reached: SIGKILL has no handler


def die_with_parent(signal_number: int) -> bool:
    """Have Linux send `signal_number` when the parent dies; False on other systems."""
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - 10 ms that only this branch needs

    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    return prctl is not None and prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) == 0


def run_and_watch(command: Sequence[str], stdin_fd: int) -> int:
    """Run `command` as a child in this process group.

    Returns:
        Its exit status; 128 plus the signal's number if a signal ended it.
    """
    child = subprocess.Popen(list(command), stdin=subprocess.DEVNULL)  # noqa: S603 - the supervisor's own command

    def ignore(_signal: int, _frame: FrameType | None) -> None:
        # The supervisor signals the whole group: the child gets the signal too, and this process waits for it.
        return

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ignore)
    watch(stdin_fd, end_group)
    status = child.wait()
    return status if status >= 0 else 128 - status


def _take_stdin() -> int:
    """Move standard input to another descriptor, which the module's children do not inherit."""
    fd = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return fd


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
