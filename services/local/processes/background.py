"""A program that runs beside this process and is stopped at the end of a `with` block (shell)."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

STOP_TIMEOUT_S: Final = 10.0
"""Time between SIGTERM and SIGKILL."""


@contextlib.contextmanager
def background(
    command: Sequence[str], *, log: Path | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the time of a `with` block: SIGTERM at its end, SIGKILL after `STOP_TIMEOUT_S`.

    Args:
        command: program and arguments.
        log: file for standard output and standard error; None discards them.
        environ: the program's environment; None: this process's own.

    Raises:
        OSError: the program or the log cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        output = subprocess.DEVNULL if log is None else stack.enter_context(log.open("wb"))
        process = stack.enter_context(
            subprocess.Popen(  # noqa: S603 - callers build the command themselves
                list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ
            )
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def last_lines(log: Path, count: int = 5) -> str:
    """The last lines of a log, for the message of an error."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
