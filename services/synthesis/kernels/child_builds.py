"""Builds missing kernels in child processes (shell).

The compiler stays out of this process's memory and off its interpreter's lock.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.synthesis.kernels.cache import missing
from services.synthesis.kernels.kernel import KernelError, Progress

_PROCESSES: Final = 2
"""Kernels are built in this many processes; one on a machine with one core."""


def find_compiler() -> str | None:
    """The C++ compiler that kernels are built with: CXX, or the first of c++, g++ and clang++ on PATH."""
    return os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


def build_missing(folder: Path, compiler: str | None, say: Progress, stop: threading.Event | None) -> None:
    """Build the kernels that `folder` lacks.

    Args:
        folder: see `cache.choose_folder`; made if it does not exist.
        compiler: see `find_compiler`.
        say: told the progress.
        stop: set it to give up.

    Raises:
        KernelError: there is no compiler, the folder cannot be written, a kernel failed, or `stop` was set.
    """
    names = missing(folder)
    if not names:
        return
    if not compiler:
        raise KernelError("no C++ compiler (c++, g++ or clang++) was found; install one for about ten times the speed")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KernelError(f"the kernel cache {folder} cannot be written ({error}); set AURALIS_KERNEL_CACHE") from error
    say("compiling kernels", 0.0)
    width = min(len(names), _PROCESSES if (os.cpu_count() or 1) > 1 else 1)
    children = [
        subprocess.Popen(  # noqa: S603 - this interpreter, our own module, a compiler from the environment
            [sys.executable, "-m", "services.synthesis.kernels.build", str(folder), compiler, *names[part::width]],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # The child must find `services` where this process found it.
            cwd=Path(__file__).resolve().parents[3],
        )
        for part in range(width)
    ]
    try:
        _follow(children, len(names), say, stop)
    finally:
        for child in children:
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()
    say("kernels compiled", 1.0)


def _follow(children: Sequence[subprocess.Popen[str]], total: int, say: Progress, stop: threading.Event | None) -> None:
    """Pass the children's progress on until all have ended well."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    readers = [threading.Thread(target=_read_lines, args=(child, lines), daemon=True) for child in children]
    for reader in readers:
        reader.start()
    done = 0
    last = ""
    while any(reader.is_alive() for reader in readers) or not lines.empty():
        if stop is not None and stop.is_set():
            raise KernelError("compiling was stopped")
        try:
            line = lines.get(timeout=0.1)
        except queue.Empty:
            continue
        word, _, rest = line.partition(" ")
        if word == "built":
            done += 1
            say(f"compiled kernel {rest}", done / total)
        else:
            last = line
    for child in children:
        if child.wait() != 0:
            raise KernelError(f"compiling the kernels failed: {last or f'exit code {child.returncode}'}")


def _read_lines(child: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert child.stdout is not None  # noqa: S101 - opened as a pipe
    for line in child.stdout:
        if line.strip():
            lines.put(line.strip())
