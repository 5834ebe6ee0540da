from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from services.runtime.gc_config import THRESHOLDS, RealTimeGCConfig
from services.runtime.metrics import PrometheusMetrics
from tests.support.metrics import sample_value


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics()


@pytest.fixture
def config(metrics: PrometheusMetrics) -> Iterator[RealTimeGCConfig]:
    config = RealTimeGCConfig(metrics)
    yield config
    config.restore()


def test_the_thresholds_are_set_and_restored(config: RealTimeGCConfig) -> None:
    before = gc.get_threshold()
    config.configure()
    assert gc.get_threshold() == THRESHOLDS == (50_000, 500, 1_000)
    config.restore()
    assert gc.get_threshold() == before


def test_collections_and_their_pauses_are_counted_by_generation(
    config: RealTimeGCConfig, metrics: PrometheusMetrics
) -> None:
    config.configure()
    before = list(config.collections)
    gc.collect(0)
    gc.collect(2)
    gc.collect(2)
    assert [now - then for now, then in zip(config.collections, before, strict=True)] == [1, 0, 2]
    assert config.longest_pause_s > 0
    text = metrics.exposition().decode()
    assert 'auralis_gc_pause_seconds_total{generation="2"}' in text
    assert "auralis_gc_longest_pause_seconds " in text
    shown = sample_value(metrics.gc_collections_total, generation="2")
    assert shown == config.collections[2]
    gc.collect(2)
    metrics.exposition()
    assert sample_value(metrics.gc_collections_total, generation="2") >= shown + 1


def test_configuring_twice_counts_each_collection_once(config: RealTimeGCConfig) -> None:
    config.configure()
    config.configure()
    before = config.collections[2]
    gc.collect(2)
    assert config.collections[2] == before + 1


def test_freezing_leaves_what_is_alive_out_of_later_collections(config: RealTimeGCConfig) -> None:
    config.configure()
    kept = [[] for _ in range(1000)]
    assert config.freeze() > 1000
    assert gc.get_freeze_count() > 1000
    config.restore()
    assert gc.get_freeze_count() == 0
    assert len(kept) == 1000


def test_garbage_of_cycles_is_still_collected_after_freezing(config: RealTimeGCConfig) -> None:
    config.configure()
    config.freeze()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1


def test_it_works_without_metrics() -> None:
    config = RealTimeGCConfig()
    config.configure()
    gc.collect(1)
    assert config.collections[1] >= 1
    config.restore()
