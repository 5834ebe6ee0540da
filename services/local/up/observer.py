"""Shows what the services do, and asks them whether they are ready (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from services.local import http_get
from services.local.processes.log_lines import LEVELS, LogLine
from services.local.processes.restarts import GiveUp, Restart
from services.local.processes.supervisor import TAIL_LINES
from services.local.up.plan import SERVICES, Addresses
from services.local.up.readiness import Readiness, why_not_ready
from services.local.up.screen import Screen

_POLL_S: Final = 0.5
"""Pause between two polls of `/readyz`; a log line "ready" ends it."""


class ScreenObserver:
    """The supervisor's observer: prints starts, lines and ends, and polls `/readyz`.

    Args:
        screen: prints without blocking.
        addresses: hosts and ports of `/readyz`.
        verbose: print every line from the start.
        show_info: print informative lines when everything is ready; otherwise warnings and errors only.
        raw_json: print log lines as the services write them.
        clock: monotonic seconds.

    Attributes:
        stopping: everything is being stopped.
    """

    def __init__(
        self,
        screen: Screen,
        *,
        addresses: Addresses,
        verbose: bool,
        show_info: bool,
        raw_json: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen = screen
        self._addresses = addresses
        self._verbose = verbose
        self._show_info = show_info
        self._raw_json = raw_json
        self._clock = clock
        self._readiness = Readiness(SERVICES, now_s=clock())
        # Lines that were not printed, by child; `ended` prints them. The thread of the child appends.
        self._hidden: dict[str, deque[str]] = {}
        self._bars: set[str] = set()
        self._playing = False
        self._poll_now = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stopping = False

    @property
    def waiting(self) -> tuple[str, ...]:
        """Services that have started and are not ready yet."""
        return self._readiness.waiting

    def stop(self) -> None:
        """Everything is being stopped: remove the progress bars, which do not move any more."""
        self.stopping = True
        for name in tuple(self._bars):
            self._screen.end_progress(name)

    # Called by the supervisor.

    def started(self, name: str, pid: int) -> None:
        """A child was started."""
        self._readiness.started(name, self._clock())
        if self._verbose:
            self._screen.say(f"{name} started (pid {pid})", "dim", mark="·", mark_style="dim")

    def line(self, name: str, line: LogLine) -> None:
        """A child wrote a line; called from its thread."""
        if line.event == "progress":
            if self.stopping:
                return
            fraction = line.fields.get("fraction")
            if isinstance(fraction, int | float):
                self._bars.add(name)
                self._screen.progress(name, str(line.fields.get("stage", "warming up")), min(1.0, max(0.0, fraction)))
                return
        if line.event == "ready" and self._loop is not None:
            # At the very end the loop may be closed already.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._poll_now.set)
        shown = self._verbose or line.level >= LEVELS["warning"]
        # nats-server writes no levels: its ordinary lines would all count as informative.
        if self._playing and self._show_info and name != "nats" and not self.stopping:
            shown = shown or line.level >= LEVELS["info"]
        if not shown:
            self._hidden.setdefault(name, deque(maxlen=TAIL_LINES)).append(line.text)
        elif self._raw_json:
            self._screen.raw(line.raw)
        else:
            self._screen.log(name, line)

    def ended(self, name: str, how: str, last_lines: Sequence[str], decision: Restart | GiveUp) -> None:
        """A child ended unasked."""
        self._readiness.ended(name)
        self._bars.discard(name)
        self._screen.end_progress(name)
        restart = ""
        if isinstance(decision, Restart):
            restart = f" It restarts in {decision.delay_s:g} s"
            restart += f" (failure {decision.failures} in a row)." if decision.failures > 1 else "."
        self._screen.say(f"{name} ended: {how}.{restart}", mark="✗", mark_style="bold red")
        hidden = self._hidden.pop(name, ())
        # Errors are on the screen already, with their traces.
        unseen = [text for text in last_lines if text in hidden]
        if unseen:
            self._screen.say("  Its last lines:", "dim")
        for text in unseen:
            self._screen.log(name, LogLine(text))

    # Readiness.

    async def watch_readiness(self, ready: asyncio.Event) -> None:
        """Poll `/readyz` of services that are not ready, for ever; set `ready` when all are, the first time."""
        self._loop = asyncio.get_running_loop()
        while True:
            names = self.waiting
            reasons = await asyncio.gather(*(self.why_not_ready(name) for name in names))
            now_s = self._clock()
            for name, reason in zip(names, reasons, strict=True):
                took_s = self._readiness.answered(name, reason, now_s)
                if took_s is not None:
                    self._bars.discard(name)
                    self._screen.end_progress(name)
                    self._screen.say(f"{name} is ready ({took_s:.1f} s)", mark="✓")
            if not ready.is_set() and self._readiness.all_ready:
                self._playing = True
                ready.set()
            self._report_waits(now_s)
            self._poll_now.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._poll_now.wait(), _POLL_S)

    async def why_not_ready(self, name: str) -> str | None:
        """Ask `/readyz` of a service; None when it is ready."""
        host, port = self._addresses.readyz(name)
        response = await http_get.get(host, port, "/readyz", timeout_s=2.0)
        if response is None:
            return "starting"
        if response.status == 200:
            return None
        return why_not_ready(response.body)

    def _report_waits(self, now_s: float) -> None:
        waits = [
            f"{wait.name} for {wait.waited_s:.0f} s ({wait.reason})"
            for wait in self._readiness.overdue(now_s)
            # A moving bar says more.
            if not (self._show_info and wait.name in self._bars)
        ]
        if waits:
            self._screen.say(f"waiting for {', '.join(waits)}", "dim", mark="…")
