"""Load for tests of a whole running system: listeners, and slowed processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import psutil

from services.client import Client, ClientError
from services.contract.spec import StreamSpec


@contextlib.contextmanager
def listeners(ws_url: str, number: int) -> Iterator[None]:
    """`number` listeners, each with a stream of its own, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen(seed: int) -> None:
        with contextlib.suppress(ClientError):
            async with Client(ws_url, StreamSpec.from_params({"seed": seed})) as client:
                async for _ in client:
                    pass

    for seed in range(number):
        asyncio.run_coroutine_threadsafe(listen(seed), loop)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end_all() -> None:
    """Cancel all other tasks of this loop, and wait until each client has closed."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def process_of(parent: int, module: str) -> psutil.Process:
    """The process below `parent` that runs a module."""
    for each in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if module in each.cmdline():
                return each
    raise AssertionError(f"no process below {parent} runs {module}")


@contextlib.contextmanager
def slowed(process: psutil.Process, *, stopped_s: float = 0.15, running_s: float = 0.012) -> Iterator[None]:
    """Stop a process most of the time; between stops it runs for less than the time of a few blocks."""
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
