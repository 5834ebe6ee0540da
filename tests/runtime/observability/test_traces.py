from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.runtime.errors import ServiceError
from services.runtime.observability import traces
from services.runtime.observability.traces import BlockTraces, close_traces, open_traces
from services.runtime.settings import Settings

STREAM = "c-dorian-70-50-drift-0"


@pytest.fixture(autouse=True)
def off_afterwards() -> Iterator[None]:
    yield
    close_traces()


def opened(share: float = 1.0, service: str = "edge") -> tuple[BlockTraces, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    found = open_traces(Settings(traces="otlp", traces_share=share), service=service, instance="i-1", exporter=exporter)
    assert found is not None
    assert traces.active is found
    return found, exporter


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    # Closing sends what waits.
    close_traces()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_they_are_off_unless_asked_for() -> None:
    assert open_traces(Settings(), service="edge", instance="i-1") is None
    assert traces.active is None


def test_steps_of_a_block_told_by_two_services_are_one_trace_below_its_asking() -> None:
    edge, told_by_edge = opened()
    edge.add("ask", STREAM, 7, 100.0, 100.002, lane="now")
    edge.add("arrive", STREAM, 7, 100.08, 100.081)
    found = spans(told_by_edge)
    synthesis, told_by_synthesis = opened(service="synthesis")
    synthesis.add("render", STREAM, 7, 100.01, 100.07, batch=3)
    found |= spans(told_by_synthesis)
    ids = {span.context.trace_id for span in found.values()}
    assert len(ids) == 1
    ask = found["ask"]
    assert ask.parent is None
    for name in ("arrive", "render"):
        parent = found[name].parent
        assert parent is not None
        assert parent.span_id == ask.context.span_id
    render = found["render"]
    assert (render.start_time, render.end_time) == (100_010_000_000, 100_070_000_000)
    assert dict(render.attributes or {}) == {"auralis.stream": STREAM, "auralis.block": 7, "batch": 3}
    assert render.resource.attributes["service.name"] == "auralis-synthesis"
    assert render.resource.attributes["deployment.environment.name"] == "development"


def test_the_same_share_of_blocks_is_traced_everywhere() -> None:
    told = []
    for service in ("edge", "synthesis"):
        found, exporter = opened(share=0.1, service=service)
        for block in range(3000):
            found.add("render", STREAM, block, 0.0, 0.1)
        close_traces()
        told.append({(span.attributes or {})["auralis.block"] for span in exporter.get_finished_spans()})
    assert told[0] == told[1]
    # The exporter's queue holds 2048: ten per cent of 3000 fit.
    assert 220 < len(told[0]) < 380


def test_of_many_listeners_one_write_is_told() -> None:
    found, exporter = opened()
    for listener in range(50):
        found.add("write", STREAM, 7, 100.0, 100.0 + listener / 1000, once=True)
    found.add("write", STREAM, 8, 101.0, 101.001, once=True)
    close_traces()
    assert [(span.attributes or {})["auralis.block"] for span in exporter.get_finished_spans()] == [7, 8]


def test_what_is_remembered_is_bounded() -> None:
    found, _ = opened()
    for block in range(traces.MAX_REMEMBERED + 500):
        found.add("write", STREAM, block, 0.0, 0.1, once=True)
    assert len(found._reported) == traces.MAX_REMEMBERED


def test_a_missing_library_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ServiceError, match=r"uv pip install -e '\.\[traces\]'"):
        open_traces(Settings(traces="console"), service="edge", instance="i-1")
