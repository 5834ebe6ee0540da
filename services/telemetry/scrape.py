"""Asks all instances for their metrics over the bus (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from typing import Final

from services.contract import subjects
from services.contract.errors import ContractError
from services.contract.scrape import ScrapeAnswer
from services.runtime.bus import Bus, BusError
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog
from services.telemetry.fleet.fleet import AnswerResult, Fleet
from services.telemetry.metrics import TelemetryMetrics
from services.telemetry.periodic import run_periodically

_log = get_logger(__name__)

WAIT_S: Final = 1.0
"""How long a scrape waits for answers."""
NEWCOMERS_S: Final = 0.05
"""How long a scrape waits for unknown instances after all known ones have answered."""
FRESH_S: Final = 1.0
"""A scrape within this time after another uses its answers: many scrapers cost as much as one."""
EVERY_S: Final = 5.0
"""Time between two scrapes, even without any reader: a silent instance shows within 15 s."""
LOGGED_EVERY_S: Final = 60.0
"""Time between two log lines of the same fault."""


class Scraper:
    """Keeps a `Fleet` up to date.

    Args:
        bus: may be disconnected; then only this process's own answer is recorded.
        fleet: records the answers.
        metrics: counts the answers.
        own: gives this process's own answer, which does not take the bus.
        clock: monotonic seconds.
        unix: seconds since the epoch, with which the clocks of the instances are compared.

    Attributes:
        scraped_s: end of the last scrape, in seconds of `clock`.
    """

    def __init__(
        self,
        bus: Bus,
        fleet: Fleet,
        *,
        metrics: TelemetryMetrics,
        own: Callable[[], ScrapeAnswer],
        clock: Callable[[], float] = time.monotonic,
        unix: Callable[[], float] = time.time,
    ) -> None:
        self._bus = bus
        self._fleet = fleet
        self._metrics = metrics
        self._own = own
        self._clock = clock
        self._unix = unix
        self._scraping = asyncio.Lock()
        self.scraped_s = -math.inf
        self._rare = RateLimitedLog(_log, LOGGED_EVERY_S)

    async def refresh(self, *, max_age_s: float = FRESH_S) -> None:
        """Scrape, unless the last scrape is younger than `max_age_s`; concurrent callers share one scrape."""
        async with self._scraping:
            if self._clock() - self.scraped_s < max_age_s:
                return
            await self._scrape()
            self.scraped_s = self._clock()

    async def run(
        self, *, every_s: Callable[[], float] = lambda: EVERY_S, then: Callable[[], None] = lambda: None
    ) -> None:
        """Scrape for ever.

        Args:
            every_s: gives the seconds between two scrapes.
            then: called after each scrape.
        """

        async def scrape() -> None:
            await self.refresh(max_age_s=every_s() / 2)
            then()

        await run_periodically("scrape", scrape, every_s)

    async def _scrape(self) -> None:
        began_s = self._clock()
        answer = self._own()
        own = (answer.service, answer.instance)
        self._fleet.record(answer, asked_s=began_s, now_s=began_s)
        expected = self._fleet.known(began_s) - {own}
        answered: set[tuple[str, str]] = set()
        if self._bus.connected:
            complete = asyncio.Event()
            collecting = asyncio.create_task(self._collect(began_s, own, answered, expected, complete))
            waiting = asyncio.create_task(complete.wait())
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
        self._metrics.gather_seconds.observe(now_s - began_s)
        forgotten = self._fleet.forgotten
        self._fleet.forget(now_s)
        self._metrics.forgotten.inc(self._fleet.forgotten - forgotten)
        for (service, state), count in self._fleet.count(now_s).items():
            self._metrics.instances.labels(fleet_service=service, state=state).set(count)

    async def _collect(
        self,
        began_s: float,
        own: tuple[str, str],
        answered: set[tuple[str, str]],
        expected: frozenset[tuple[str, str]],
        complete: asyncio.Event,
    ) -> None:
        """Record answers; sets `complete` when all expected instances have answered."""
        try:
            async for message in self._bus.gather(subjects.SCRAPE, b"", wait_s=WAIT_S):
                self._record(message.data, began_s, own, answered)
                if expected and expected <= answered:
                    complete.set()
        except BusError as error:
            self._rare.warning("scrape failed", detail=str(error))

    def _record(self, data: bytes, began_s: float, own: tuple[str, str], answered: set[tuple[str, str]]) -> None:
        try:
            answer = ScrapeAnswer.decode(data)
        except ContractError as error:
            self._metrics.answers.labels(result=str(AnswerResult.MALFORMED)).inc()
            self._rare.warning("scrape answer skipped", detail=str(error))
            return
        key = (answer.service, answer.instance)
        if key == own:
            return  # recorded already, without the bus
        if key in answered:
            result = AnswerResult.REPEATED
        else:
            result = self._fleet.record(answer, asked_s=began_s, now_s=self._clock(), unix_s=self._unix())
            answered.add(key)
        self._metrics.answers.labels(result=str(result)).inc()
        if result in (AnswerResult.MALFORMED, AnswerResult.REFUSED):
            self._rare.warning("scrape answer skipped", detail=f"{answer.service} {answer.instance}: {result}")
