"""The asks of an edge: published in the background, each result counted, each trouble logged."""

from __future__ import annotations

import pytest
from structlog.testing import CapturingLogger

from services.contract.job import RenderJob
from services.contract.spec import StreamSpec
from services.edge.fanout import ask_queue
from services.edge.fanout.ask_queue import QUEUE_ASKS, AskQueue
from services.edge.metrics import EdgeMetrics
from services.edge.stream.demand import Ask
from services.edge.tasks import Tasks
from services.runtime.bus import BusError, BusFullError
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.metrics import PrometheusMetrics
from services.runtime.observability.rate_limited_log import RateLimitedLog
from tests.edge.support import StillClock
from tests.support.metrics import sample_value
from tests.support.waiting import until


class AnsweringBus(MemoryBus):
    """A bus that answers every ask in the same way: "accepted", "duplicate" or an error."""

    def __init__(self, answer: str | BusError) -> None:
        super().__init__(MemoryBroker())
        self.answer = answer
        self.waits_s: list[object] = []

    async def ask(self, *_: object, **named: object) -> bool:
        self.waits_s.append(named["wait_s"])
        if isinstance(self.answer, BusError):
            raise self.answer
        return self.answer == "accepted"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    captured = CapturingLogger()
    monkeypatch.setattr(ask_queue, "_rare_log", RateLimitedLog(captured, 10.0))  # type: ignore[arg-type]
    return captured


def asks(count: int) -> list[Ask]:
    return [Ask("r1", "now", RenderJob(StreamSpec(), 1_700_000_000 + number), 5.0) for number in range(count)]


@pytest.mark.parametrize(
    ("answer", "result", "event"),
    [
        ("accepted", "accepted", None),
        ("duplicate", "duplicate", None),
        (BusFullError("no room"), "full", "render queue is full"),
        (BusError("no answer"), "error", "ask failed"),
    ],
    ids=["accepted", "duplicate", "full", "error"],
)
async def test_each_result_is_counted_and_the_first_trouble_is_logged(
    logged: CapturingLogger, answer: str | BusError, result: str, event: str | None
) -> None:
    metrics, tasks = EdgeMetrics(PrometheusMetrics()), Tasks()
    queue = AskQueue(bus=AnsweringBus(answer), clock=StillClock(), metrics=metrics)
    queue.start(tasks)
    for ask in asks(20):
        queue.put(ask)
    await until(lambda: sample_value(metrics.asks, lane="now", result=result) == 20)
    await tasks.stop()
    assert [call.args[0] for call in logged.calls] == ([event] if event else [])
    if event == "render queue is full":
        assert logged.calls[0].kwargs["stream"] == StreamSpec().stream_id
    if event == "ask failed":
        assert logged.calls[0].kwargs["detail"] == "no answer"


async def test_an_ask_that_waited_here_can_wait_the_less_for_its_answer() -> None:
    tasks, clock, bus = Tasks(), StillClock(), AnsweringBus("accepted")
    queue = AskQueue(bus=bus, clock=clock, metrics=EdgeMetrics(PrometheusMetrics()))
    queue.put(asks(1)[0])
    clock.forward(1.5)
    queue.start(tasks)
    await until(lambda: bus.waits_s == [pytest.approx(3.5)])
    await tasks.stop()


async def test_an_ask_too_many_is_dropped_and_counted() -> None:
    metrics = EdgeMetrics(PrometheusMetrics())
    queue = AskQueue(bus=AnsweringBus("accepted"), clock=StillClock(), metrics=metrics)
    for ask in asks(QUEUE_ASKS):
        queue.put(ask)
    assert sample_value(metrics.asks, lane="now", result="dropped") == 0
    queue.put(asks(1)[0])
    assert sample_value(metrics.asks, lane="now", result="dropped") == 1
