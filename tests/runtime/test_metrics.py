from __future__ import annotations

import sys

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from services.runtime.metrics import (
    DROP_POLICIES,
    ENCODING_BUCKETS_S,
    JITTER_BUCKETS_MS,
    LATENCY_BUCKETS_S,
    BusMetrics,
    PrometheusMetrics,
    build_version,
)
from tests.support.metrics import sample_value

LISTED = {
    "synthesis_latency_seconds": "histogram",
    "buffer_depth_chunks": "gauge",
    "chunk_delivery_jitter_ms": "histogram",
    "active_websocket_connections": "gauge",
    "buffer_underruns_total": "counter",
    "websocket_send_errors_total": "counter",
    "memory_usage_mb": "gauge",
    "gpu_memory_allocated_mb": "gauge",
    "chunk_encoding_duration_seconds": "histogram",
    "gc_collections_total": "counter",
}


def families(metrics: PrometheusMetrics) -> dict[str, str]:
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(metrics.exposition().decode())
    }


def test_a_process_that_uses_no_metric_exposes_none() -> None:
    assert PrometheusMetrics().exposition() == b""


@pytest.mark.parametrize("name", LISTED)
def test_a_metric_is_exposed_from_its_first_use_on_with_its_type_and_a_help_text(name: str) -> None:
    metrics = PrometheusMetrics()
    getattr(metrics, name)
    assert families(metrics) == {name: LISTED[name]}
    assert f"# HELP {name} ".encode() in metrics.exposition()


def test_every_listed_metric_takes_what_the_services_give_it() -> None:
    metrics = PrometheusMetrics()
    metrics.synthesis_latency_seconds.observe(0.05)
    metrics.buffer_depth_chunks.labels(client_id="client_7").set(12)
    metrics.chunk_delivery_jitter_ms.observe(12)
    metrics.active_websocket_connections.set(5)
    metrics.buffer_underruns_total.labels(client_id="client_7").inc()
    metrics.websocket_send_errors_total.labels(error_type="timeout").inc(2)
    metrics.memory_usage_mb.set(100)
    metrics.gpu_memory_allocated_mb.set(0)
    metrics.chunk_encoding_duration_seconds.observe(5e-5)
    metrics.gc_collections_total.labels(generation="2").inc()
    text = metrics.exposition().decode()
    assert families(metrics) == LISTED
    for line in (
        'synthesis_latency_seconds_bucket{le="0.05"} 1.0',
        'buffer_depth_chunks{client_id="client_7"} 12.0',
        'buffer_underruns_total{client_id="client_7"} 1.0',
        'websocket_send_errors_total{error_type="timeout"} 2.0',
    ):
        assert line in text.splitlines()
    assert "_created" not in text


def test_two_instances_never_collide_and_do_not_touch_the_global_registry() -> None:
    one, two = PrometheusMetrics(), PrometheusMetrics()
    one.active_websocket_connections.set(1)
    two.active_websocket_connections.set(2)
    assert sample_value(one.active_websocket_connections) == 1
    assert sample_value(two.active_websocket_connections) == 2


def test_a_given_registry_is_used() -> None:
    registry = CollectorRegistry()
    PrometheusMetrics(registry).active_websocket_connections.set(3)
    assert registry.get_sample_value("active_websocket_connections") == 3


def test_buckets_have_an_edge_at_every_target() -> None:
    assert {0.1, 0.25, 0.3} <= set(LATENCY_BUCKETS_S)
    assert 50 in JITTER_BUCKETS_MS
    for buckets in (LATENCY_BUCKETS_S, JITTER_BUCKETS_MS, ENCODING_BUCKETS_S):
        assert list(buckets) == sorted(set(buckets))
    assert (LATENCY_BUCKETS_S[0], LATENCY_BUCKETS_S[-1]) == (0.005, 2.0)
    assert (JITTER_BUCKETS_MS[0], JITTER_BUCKETS_MS[-1]) == (1, 500)


def test_a_process_says_which_build_it_is_how_much_memory_it_has_and_how_its_clock_stands() -> None:
    metrics = PrometheusMetrics()
    offset_s = 0.25
    metrics.describe_process(service="edge", clock_offset_s=lambda: offset_s)
    registry = metrics.registry
    python = ".".join(map(str, sys.version_info[:3]))
    labels = {"version": build_version(), "service": "edge", "python": python}
    assert registry.get_sample_value("auralis_build_info", labels) == 1
    assert registry.get_sample_value("auralis_clock_offset_seconds") == 0.25
    memory_mb = registry.get_sample_value("memory_usage_mb")
    assert memory_mb is not None
    assert 10 < memory_mb < 10_000
    offset_s = 0.5
    assert registry.get_sample_value("auralis_clock_offset_seconds") == 0.5
    if sys.platform == "linux":
        assert b"process_open_fds" in metrics.exposition()


def test_every_drop_policy_of_the_bus_is_visible_before_it_first_counts() -> None:
    metrics = PrometheusMetrics()
    bus = BusMetrics(metrics)
    for policy in DROP_POLICIES:
        assert f'auralis_bus_dropped_total{{policy="{policy}"}} 0.0' in metrics.exposition().decode()
    bus.dropped.labels(policy="late_jobs").inc(3)
    assert sample_value(bus.dropped, policy="late_jobs") == 3


def test_a_metric_without_samples_has_no_value() -> None:
    with pytest.raises(LookupError):
        sample_value(PrometheusMetrics().buffer_depth_chunks)
