from __future__ import annotations

import random

import pytest

from services.edge.metrics import NAMED_CLIENTS, EdgeMetrics
from services.runtime.metrics import BusMetrics, MemoryMetrics, PrometheusMetrics
from services.synthesis.metrics import SynthesisMetrics
from services.telemetry.exposition.exposition import Parser
from services.telemetry.metrics import TelemetryMetrics


def everything() -> PrometheusMetrics:
    """A registry with what all services together have."""
    metrics = PrometheusMetrics()
    for make in (EdgeMetrics, SynthesisMetrics, TelemetryMetrics, BusMetrics, MemoryMetrics):
        make(metrics)
    metrics.describe_process(service="edge", clock_offset_s=lambda: 0.0, clock_s=lambda: 0.0)
    return metrics


def test_every_metric_says_in_a_sentence_what_it_is_and_has_its_units_in_its_name() -> None:
    listed = {
        "synthesis_latency_seconds", "buffer_depth_chunks", "chunk_delivery_jitter_ms", "active_websocket_connections",
        "buffer_underruns", "websocket_send_errors", "memory_usage_mb", "gpu_memory_allocated_mb",
        "gpu_memory_total_mb", "chunk_encoding_duration_seconds", "gc_collections",
    }  # fmt: skip
    for family in everything().registry.collect():
        if family.name.startswith(("process_", "python_")):
            continue
        assert family.documentation.endswith("."), family.name
        assert len(family.documentation.split()) >= 4, family.name
        assert family.name in listed or family.name.startswith("auralis_"), family.name
        assert not family.name.startswith("auralis_") or not family.name.endswith(("_ms", "_mb")), family.name


@pytest.mark.parametrize(
    ("histogram", "targets"),
    [
        ("chunk_delivery_jitter_ms", [50.0]),
        ("synthesis_latency_seconds", [0.1]),
        ("auralis_first_audio_seconds", [0.25, 0.3]),
        ("auralis_tick_lateness_seconds", [0.05]),
        ("auralis_block_wait_seconds", [5.0]),
    ],
)
def test_buckets_end_where_the_targets_are_and_lie_close_around_them(histogram: str, targets: list[float]) -> None:
    exposition = Parser().parse(everything().exposition())
    bounds = sorted(
        float(series.label_values()["le"]) for series, _ in exposition[histogram].samples if "le" in series.labels
    )
    for target in targets:
        assert target in bounds, histogram
        below = bounds[bounds.index(target) - 1]
        assert target / below <= 1.7, histogram


def test_series_stay_few_while_ten_thousand_listeners_come_and_go() -> None:
    process = PrometheusMetrics()
    edge = EdgeMetrics(process)
    chance = random.Random(1)
    here: list[int] = []
    most = 0
    for _ in range(10_000):
        slot = edge.client_numbers.take()
        here.append(slot)
        edge.client_numbers.set_depth(slot, 10)
        edge.client_numbers.count_underruns(slot, 1)
        edge.send_errors.labels(error_type="closed").inc()
        while len(here) > 300 or (here and chance.random() < 0.4):
            edge.client_numbers.give_back(here.pop(chance.randrange(len(here))))
        if chance.random() < 0.01:
            most = max(most, process.exposition().count(b"\n"))
    assert most < 700
    for slot in here:
        edge.client_numbers.give_back(slot)
    text = process.exposition().decode()
    # Depth is of present listeners; underruns stay, because a rate needs the past.
    assert "buffer_depth_chunks{" not in text
    assert text.count("buffer_underruns_total{") <= NAMED_CLIENTS
    assert f'client_id="client_{NAMED_CLIENTS}"' not in text
