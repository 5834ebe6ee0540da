"""Asking the fleet over the bus (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from services.contract import subjects
from services.contract.errors import ContractError
from services.contract.scrape import ScrapeAnswer
from services.runtime.bus import Bus, BusError
from services.runtime.observability.logging import RepeatLimiter, get_logger
from services.telemetry.fleet.fleet import Fleet, Taken
from services.telemetry.keep_on import keep_on
from services.telemetry.metrics import TelemetryMetrics

_log = get_logger(__name__)

WAIT_S: Final = 1.0
"""No answer is waited for longer."""
NEWCOMERS_S: Final = 0.05
"""When all who are known have answered, those who are not are waited for so long."""
FRESH_S: Final = 1.0
"""Within it a second question is answered from the first one's answers: many scrapers cost as much as one."""
EVERY_S: Final = 5.0
"""Asked so often even when nobody wants to know: a silent instance is shown within 15 s."""


class Scraper:
    """Keeps a `Fleet` up to date.

    Args:
        bus: may be away; then nothing is asked.
        fleet: is told of every answer.
        metrics: counts answers.
        own: this process's own answer, taken without the bus.
        clock: monotonic seconds.

    Attributes:
        asked_s: when everybody was asked last, in seconds of `clock`.
    """

    def __init__(
        self,
        bus: Bus,
        fleet: Fleet,
        *,
        metrics: TelemetryMetrics,
        own: Callable[[], ScrapeAnswer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._fleet = fleet
        self._metrics = metrics
        self._own = own
        self._clock = clock
        self._asking = asyncio.Lock()
        self.asked_s = -1e9
        self._complaints = RepeatLimiter(60.0)

    async def refresh(self, *, max_age_s: float = FRESH_S) -> None:
        """Ask everybody, unless somebody asked within `max_age_s`; callers at the same time share one question."""
        async with self._asking:
            if self._clock() - self.asked_s < max_age_s:
                return
            await self._ask()
            self.asked_s = self._clock()

    async def run(
        self, *, every_s: Callable[[], float] = lambda: EVERY_S, then: Callable[[], None] = lambda: None
    ) -> None:
        """Ask for ever, every five seconds if nothing else is said; `then` is called after each round."""

        async def ask() -> None:
            await self.refresh(max_age_s=every_s() / 2)
            then()

        await keep_on("scrape", ask, every_s)

    async def _ask(self) -> None:
        asked_s = self._clock()
        answer = self._own()
        own = (answer.service, answer.instance)
        self._fleet.record(answer, asked_s=asked_s, now_s=asked_s)
        expected = self._fleet.known(asked_s) - {own}
        answered: set[tuple[str, str]] = set()
        if self._bus.connected:
            everybody = asyncio.Event()
            collecting = asyncio.create_task(self._collect(asked_s, own, answered, expected, everybody))
            waiting = asyncio.create_task(everybody.wait())
            try:
                done, _ = await asyncio.wait({collecting, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if collecting not in done:
                    await asyncio.wait({collecting}, timeout=NEWCOMERS_S)
            finally:
                for task in (collecting, waiting):
                    task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await collecting
        now_s = self._clock()
        self._metrics.missing.inc(len(expected - answered))
        self._metrics.gather_seconds.observe(now_s - asked_s)
        forgotten = self._fleet.forgotten
        self._fleet.forget(now_s)
        self._metrics.forgotten.inc(self._fleet.forgotten - forgotten)
        for (service, state), count in self._fleet.count(now_s).items():
            self._metrics.instances.labels(fleet_service=service, state=state).set(count)

    async def _collect(
        self,
        asked_s: float,
        own: tuple[str, str],
        answered: set[tuple[str, str]],
        expected: frozenset[tuple[str, str]],
        everybody: asyncio.Event,
    ) -> None:
        try:
            async for message in self._bus.gather(subjects.SCRAPE, b"", wait_s=WAIT_S):
                self._take(message.data, asked_s, own, answered)
                if expected and expected <= answered:
                    everybody.set()
        except BusError as error:
            self._complain("fleet not asked", str(error))

    def _take(self, data: bytes, asked_s: float, own: tuple[str, str], answered: set[tuple[str, str]]) -> None:
        try:
            answer = ScrapeAnswer.decode(data)
        except ContractError as error:
            self._metrics.answers.labels(result=str(Taken.MALFORMED)).inc()
            self._complain("scrape answer skipped", str(error))
            return
        key = (answer.service, answer.instance)
        if key == own:
            return  # over the bus too; it was taken without it
        if key in answered:
            taken = Taken.REPEATED
        else:
            taken = self._fleet.record(answer, asked_s=asked_s, now_s=self._clock())
            answered.add(key)
        self._metrics.answers.labels(result=str(taken)).inc()
        if taken in (Taken.MALFORMED, Taken.REFUSED):
            self._complain("scrape answer skipped", f"{answer.service} {answer.instance}: {taken}")

    def _complain(self, event: str, detail: str) -> None:
        held_back = self._complaints.admit(event)
        if held_back is not None:
            _log.warning(event, detail=detail, repeats=held_back)
