import asyncio

import structlog

from services.telemetry.keep_on import keep_on


async def test_after_a_round_that_fails_the_next_one_comes_and_the_log_says_why_once() -> None:
    rounds = 0
    third = asyncio.Event()

    async def do() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            third.set()
        raise KeyError("le")

    with structlog.testing.capture_logs() as lines:
        running = asyncio.create_task(keep_on("test", do, lambda: 0.0))
        async with asyncio.timeout(10):
            await third.wait()
        running.cancel()
    assert [(line["event"], line["what"]) for line in lines] == [("round failed", "test")]
