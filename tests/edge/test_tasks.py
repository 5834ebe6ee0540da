from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from services.edge import tasks as module
from services.edge.tasks import Tasks


async def test_a_failing_task_is_logged_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Mock()
    monkeypatch.setattr(module, "_log", log)
    tasks = Tasks()
    go_on = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("a planted fault")

    async def wait() -> None:
        await go_on.wait()

    failing, waiting = tasks.spawn(fail(), "failing"), tasks.spawn(wait(), "waiting")
    await asyncio.wait([failing])
    await asyncio.sleep(0)
    log.error.assert_called_once()
    assert log.error.call_args.kwargs["task"] == "failing"
    go_on.set()
    await waiting
    await tasks.stop()


async def test_a_stop_cancels_all_tasks_waits_for_them_and_may_be_repeated() -> None:
    tasks = Tasks()
    ended = []

    async def run(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    for number in range(3):
        tasks.spawn(run(number), f"run {number}")
    await asyncio.sleep(0)
    await tasks.stop()
    await tasks.stop()
    assert sorted(ended) == [0, 1, 2]
