"""From start to exit: loop, signals, drain, and an exit code with a sentence (shell)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, Final, NoReturn

from services.runtime.errors import EXIT_FAILED, ServiceError
from services.runtime.observability.logging import configure_logging, get_logger
from services.runtime.settings import Settings, load_settings_or_exit

try:
    import uvloop
except ImportError:  # not on Windows; asyncio's own loop works too, slower
    uvloop = None  # type: ignore[assignment]

_log = get_logger(__name__)

STOP_TIMEOUT_S: Final = 10.0
"""How long a service may take to return after it was told to stop."""


class Lifecycle:
    """A service's states: running, then draining (finish the work, take no new), then stopping.

    Attributes:
        stopping: set when the service should return from its main function.
    """

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._callbacks: list[Callable[[], Awaitable[None]]] = []
        self._drain: asyncio.Task[None] | None = None
        self._stop: asyncio.Task[None] | None = None

    @property
    def draining(self) -> bool:
        """Whether a drain has begun."""
        return self._drain is not None

    def on_drain(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call `callback` once when the drain begins, concurrently with the other callbacks."""
        self._callbacks.append(callback)

    async def drain(self) -> None:
        """Drain; returns when all callbacks have returned. Later callers wait for the same drain."""
        if self._drain is None:
            self._drain = asyncio.create_task(self._run_callbacks(), name="drain")
        # A caller that is cancelled must not cancel the drain of the others.
        await asyncio.shield(self._drain)

    def stop(self, reason: str = "asked to stop") -> None:
        """Start to stop: drain, then set `stopping`. Returns at once; a second call does nothing."""
        if self._stop is None:
            _log.info("stopping", reason=reason)
            self._stop = asyncio.create_task(self._drain_then_stop(), name="stop")

    async def _drain_then_stop(self) -> None:
        try:
            await self.drain()
        finally:
            self.stopping.set()

    async def _run_callbacks(self) -> None:
        results = await asyncio.gather(*(_call(callback) for callback in self._callbacks), return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                # The others have drained; one that failed must not keep the process alive.
                _log.error("drain failed", error=f"{type(result).__name__}: {result}")


def run_service(service: str, serve: Callable[[Settings, Lifecycle], Awaitable[None]]) -> NoReturn:
    """Run a service, configured by the environment, until it ends or is told to; ends the process.

    Args:
        service: "synthesis", "edge" or "telemetry", for the logs.
        serve: the service; slow imports belong inside it, because signals are handled by then.
    """

    async def main(lifecycle: Lifecycle) -> None:
        settings = load_settings_or_exit()
        configure_logging(settings, service=service)
        await serve(settings, lifecycle)

    sys.exit(run_until_stopped(main))


def run_until_stopped(main: Callable[[Lifecycle], Awaitable[None]], *, stop_timeout_s: float = STOP_TIMEOUT_S) -> int:
    """Run `main` in a loop of its own until it ends or is told to; returns the exit code of the process.

    SIGTERM and SIGINT drain and stop; a second one exits at once. `main` should return soon after
    `Lifecycle.stopping` is set and is cancelled `stop_timeout_s` later.

    Args:
        main: the service.
        stop_timeout_s: seconds between `stopping` and the cancellation of `main`.
    """
    _exit_quietly_on_signals()
    loop_factory = None if uvloop is None else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        try:
            return runner.run(_supervise(main, stop_timeout_s))
        except ServiceError as error:
            _log.critical("cannot go on", detail=str(error))
            return error.exit_code
        except OSError as error:
            # Ports, files, addresses: the message is enough, a traceback does not help an operator.
            _log.critical("cannot go on", detail=str(error), error=type(error).__name__)
            return EXIT_FAILED
        except Exception as error:  # noqa: BLE001 - the last place to turn it into a log line and an exit code
            _log.critical("failed unexpectedly", detail=f"{type(error).__name__}: {error}", exc_info=True)
            return EXIT_FAILED


def _exit_quietly_on_signals() -> None:
    """Until the loop takes the signals over, Ctrl-C ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


async def _supervise(main: Callable[[Lifecycle], Awaitable[None]], stop_timeout_s: float) -> int:
    lifecycle = Lifecycle()
    _take_signals(lifecycle)
    running = asyncio.create_task(_serve(main, lifecycle))
    stopping = asyncio.create_task(lifecycle.stopping.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        await asyncio.wait({running}, timeout=stop_timeout_s)
    stopping.cancel()
    if not running.done():
        _log.warning("still busy, cancelled", waited_s=stop_timeout_s)
        running.cancel()
        await asyncio.wait({running}, timeout=stop_timeout_s)
        if not running.done():
            # The runner would wait for it for ever.
            _log.critical("does not end, killed", waited_s=2 * stop_timeout_s)
            _exit_now(EXIT_FAILED)
        return EXIT_FAILED
    return await running


async def _serve(main: Callable[[Lifecycle], Awaitable[None]], lifecycle: Lifecycle) -> int:
    """Run the service; the exit code."""
    try:
        await main(lifecycle)
    except SystemExit as end:
        # The reason has been printed. Out of a task, SystemExit would leave a traceback below it.
        return end.code if isinstance(end.code, int) else EXIT_FAILED if end.code else 0
    return 0


def _take_signals(lifecycle: Lifecycle) -> None:
    seen: list[int] = []

    def arrived(number: int) -> None:
        name = signal.Signals(number).name
        seen.append(number)
        if len(seen) > 1:
            _log.warning("second signal, exiting at once", signal=name)
            _exit_now(128 + number)
        lifecycle.stop(name)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, arrived, number)
        except NotImplementedError:  # Windows' loop has no signal handlers
            signal.signal(number, _threadsafe(loop, arrived))


def _threadsafe(
    loop: asyncio.AbstractEventLoop, arrived: Callable[[int], None]
) -> Callable[[int, FrameType | None], Any]:
    return lambda number, _frame: loop.call_soon_threadsafe(arrived, number)


def _exit_now(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    # sys.exit would wait for tasks and threads, which a second signal is meant to skip.
    os._exit(code)


async def _call(callback: Callable[[], Awaitable[None]]) -> None:
    await callback()
