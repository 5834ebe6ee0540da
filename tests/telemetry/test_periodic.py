import asyncio

import structlog

from services.telemetry.periodic import run_periodically


async def test_a_round_that_fails_is_logged_once_and_the_next_rounds_follow() -> None:
    rounds = 0
    third = asyncio.Event()

    async def fail() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            third.set()
        raise KeyError("le")

    with structlog.testing.capture_logs() as lines:
        running = asyncio.create_task(run_periodically("test", fail, lambda: 0.0))
        async with asyncio.timeout(10):
            await third.wait()
        running.cancel()
    assert [(line["event"], line["what"]) for line in lines] == [("round failed", "test")]
