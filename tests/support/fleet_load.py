"""What tests of a whole running system need: listeners, and a renderer that is slower than it should be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

import psutil

from services.client import Client, ClientError
from services.contract.spec import StreamSpec


@contextlib.contextmanager
def listeners(ws_url: str, number: int) -> Iterator[None]:
    """So many listeners, each with a stream of its own, in a thread of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen(seed: int) -> None:
        with contextlib.suppress(ClientError):
            async with Client(ws_url, StreamSpec.from_params({"seed": seed})) as client:
                async for _ in client:
                    pass

    tasks = [asyncio.run_coroutine_threadsafe(listen(seed), loop) for seed in range(number)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        # The clients say goodbye before their loop ends.
        time.sleep(0.5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def process_of(parent: int, module: str) -> psutil.Process:
    """The process below `parent` that runs a module."""
    for each in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if module in each.cmdline():
                return each
    raise AssertionError(f"no process below {parent} runs {module}")


@contextlib.contextmanager
def slowed(process: psutil.Process, *, stopped_s: float = 0.3, running_s: float = 0.1) -> Iterator[None]:
    """A process that stands still most of the time, as one that has to share its processor."""
    ending = threading.Event()

    def stop_and_go() -> None:
        while not ending.is_set():
            os.kill(process.pid, signal.SIGSTOP)
            ending.wait(stopped_s)
            os.kill(process.pid, signal.SIGCONT)
            ending.wait(running_s)

    thread = threading.Thread(target=stop_and_go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(5)
        os.kill(process.pid, signal.SIGCONT)
