"""Thousands of listeners in one process, which measure what arrives and discard it (shell).

    python -m services.loadtest.listeners URL --listeners 2000 --seconds 60

Runs in a pod (loadtests/jobs/listeners.yaml, `auralis loadtest`) or anywhere else. Standard output is lines of JSON:
each second one with `"kind": "progress"`, and at the end one with `"kind": "result"`. With --of, and --index or the
variable JOB_COMPLETION_INDEX, the process is one of several that share the listeners. SIGTERM and Ctrl-C end it early,
with a result.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, get_args

from services.loadtest import messages
from services.loadtest.listener import GOODBYE_S, Listener, ListenerOptions
from services.loadtest.plan import share
from services.loadtest.tally import Tally

PROGRESS_EVERY_S: Final = 1.0
"""Time between two lines of progress."""


def print_line(kind: str, index: int, **values: Any) -> None:
    """Print one line of JSON."""
    line = {"kind": kind, "index": index, "unix_s": round(time.time(), 1), **values}
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()


async def run(options: ListenerOptions, index: int = 0) -> Tally:
    """Start all listeners, listen, stop them; prints progress and the result.

    Args:
        options: of the listeners.
        index: of this process, for its lines.

    Returns:
        The figures.
    """
    tally = Tally()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopping.set)
    tasks: list[asyncio.Task[None]] = []
    began_s = time.monotonic()
    end_s = began_s + options.ramp_s + options.seconds

    async def start_listeners() -> None:
        for number in range(options.listeners):
            await asyncio.sleep(began_s + options.ramp_s * number / options.listeners - time.monotonic())
            tasks.append(asyncio.create_task(Listener(options, options.first + number, tally).listen()))

    starting = asyncio.create_task(start_listeners())
    cpu_s = time.process_time()
    late_s = 0.0
    while not stopping.is_set() and time.monotonic() < end_s:
        before_s = time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), min(PROGRESS_EVERY_S, max(0.0, end_s - before_s)))
        # The lateness of this loop: above a few ms the figures describe this process more than the edge.
        late_s = max(late_s, time.monotonic() - before_s - PROGRESS_EVERY_S)
        share_done = min(1.0, (time.monotonic() - began_s) / (end_s - began_s))
        print_line("progress", index, share=round(share_done, 3), **tally.progress())
    elapsed_s = time.monotonic() - began_s
    result = tally.to_json()
    starting.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(starting, *tasks, return_exceptions=True)
    # The stop messages are sent, and connections close, before the loop ends.
    await asyncio.sleep(GOODBYE_S + 0.1)
    own = {
        "seconds": round(elapsed_s, 1),
        "cpu_s": round(time.process_time() - cpu_s, 2),
        "late_ms": round(late_s * 1000),
    }
    figures = {"first_audio_ms": tally.first_audio_ms.figures_ms(), "jitter_ms": tally.jitter_ms.figures_ms()}
    print_line("result", index, early=stopping.is_set(), own=own, figures=figures, tally=result)
    return tally


def read_options(arguments: Sequence[str] | None) -> tuple[ListenerOptions, int]:
    """Read the command line; returns the options and the index of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m services.loadtest.listeners",
        description="Connect many listeners, measure what arrives, discard it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("url", help="ws://HOST:PORT/ws")
    parser.add_argument("--listeners", type=int, default=100, help="all processes together")
    parser.add_argument("--seconds", type=float, default=60.0, help="of listening, after the ramp")
    parser.add_argument("--ramp", type=float, default=10.0, help="seconds over which listeners start")
    parser.add_argument("--streams", type=int, default=8, help="different streams to spread them over")
    parser.add_argument("--seed", type=int, default=1, help="of the first stream")
    parser.add_argument("--format", choices=get_args(messages.Wire), default="pcm", help="on the wire")
    parser.add_argument("--of", type=int, default=1, help="processes that share the listeners")
    parser.add_argument(
        "--index",
        type=int,
        default=int(os.environ.get("JOB_COMPLETION_INDEX", "0")),
        help="index of this process, from 0",
    )
    read = parser.parse_args(arguments)
    if min(read.listeners, read.of, read.streams) < 1 or not 0 <= read.index < read.of:
        parser.error("--listeners, --of and --streams must be 1 or more, and --index must be less than --of")
    first, count = share(read.listeners, read.of, read.index)
    options = ListenerOptions(
        url=read.url, listeners=count, seconds=read.seconds, ramp_s=read.ramp, streams=read.streams, seed=read.seed,
        first=first, wire=read.format, token=os.environ.get("AURALIS_TOKEN"),
    )  # fmt: skip
    return options, read.index


def raise_file_limit() -> None:
    """Raise the limit of open files as far as the system allows: each listener takes one."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on Windows

        _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 if no listener received audio, else 0."""
    options, index = read_options(arguments)
    raise_file_limit()
    try:
        import uvloop  # noqa: PLC0415 - not installed everywhere
    except ImportError:
        tally = asyncio.run(run(options, index))
    else:
        tally = uvloop.run(run(options, index))
    return 0 if tally.heard else 1


if __name__ == "__main__":
    sys.exit(main())
