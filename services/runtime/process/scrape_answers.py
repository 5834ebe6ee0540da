"""An instance's side of the scrape over the bus: it answers with its exposition (shell: asyncio)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from services.contract import subjects
from services.contract.scrape import MAX_BYTES, ScrapeAnswer
from services.runtime.bus import Bus, BusError, Message, Subscription
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog

_log = get_logger(__name__)

MAX_PENDING: Final = 4
"""Answers under way; overflow: a further question is not answered, and telemetry asks again."""


async def answer_scrapes(
    bus: Bus,
    *,
    service: str,
    instance: str,
    exposition: Callable[[], bytes],
    on_overflow: Callable[[], object] = lambda: None,
) -> Subscription:
    """Answer each question on `auralis.scrape` with `exposition()`.

    Args:
        bus: connected or not; the subscription survives reconnection.
        service: "synthesis", "edge" or "telemetry".
        instance: this instance's name.
        exposition: returns Prometheus text; called in the loop for each question.
        on_overflow: called for each question that is not answered because too many answers are under way.

    Returns:
        The subscription; close it to stop answering.
    """
    pending: set[asyncio.Task[None]] = set()
    rare_log = RateLimitedLog(_log, 60.0)

    async def answer(reply: str) -> None:
        try:
            data = ScrapeAnswer(service, instance, exposition()).encode()
            if len(data) > MAX_BYTES:
                rare_log.warning("scrape answer too big", detail=f"{len(data)} bytes, at most {MAX_BYTES}; not sent")
                return
            await bus.publish(reply, data)
        except BusError as error:
            rare_log.warning("scrape not answered", detail=str(error))
        except Exception as error:  # noqa: BLE001 - a broken gauge must be logged
            rare_log.warning("exposition failed", detail=f"{type(error).__name__}: {error}")

    def asked(message: Message) -> None:
        if not subjects.is_inbox(message.reply):
            return  # an answer elsewhere would be a use of this service's rights by another
        if len(pending) >= MAX_PENDING:
            on_overflow()
            rare_log.warning("scrape not answered", detail=f"{MAX_PENDING} answers are still under way")
            return
        task = asyncio.get_running_loop().create_task(answer(message.reply))
        pending.add(task)
        task.add_done_callback(pending.discard)

    return await bus.subscribe(subjects.SCRAPE, asked)
