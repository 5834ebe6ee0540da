import math

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from services.telemetry.exposition.exposition import Parser
from services.telemetry.exposition.histograms import MAX_BOUNDS, buckets, increase, quantile, sum_histograms


def read(*samples: str) -> dict[float, float]:
    text = "# TYPE jitter_ms histogram\n" + "".join(f"jitter_ms_bucket{sample}\n" for sample in samples)
    return buckets(Parser().parse(text.encode()), "jitter_ms")


def test_a_histograms_buckets_are_read() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("jitter_ms", "Jitter.", buckets=(1, 2, 5), registry=registry)
    for observed in (0.5, 1.5, 3, 9):
        histogram.observe(observed)
    assert buckets(Parser().parse(generate_latest(registry)), "jitter_ms") == {1.0: 1, 2.0: 2, 5.0: 3, math.inf: 4}
    assert buckets({}, "jitter_ms") == {}


def test_series_of_one_histogram_are_summed() -> None:
    assert read('{k="a",le="1"} 1', '{k="a",le="+Inf"} 2', '{k="b",le="1"} 3', '{k="b",le="+Inf"} 3') == {
        1.0: 4,
        math.inf: 5,
    }


@pytest.mark.parametrize(
    "samples",
    [
        (" 3",),
        ('{le="wide"} 3', '{le="+Inf"} 3'),
        ('{le="NaN"} 3', '{le="+Inf"} 3'),
        ('{le="5"} 3',),
        ('{le="5"} 3', '{le="+Inf"} 2'),
        ('{le="5"} -1', '{le="+Inf"} 2'),
        ('{le="5"} 1', '{le="+Inf"} +Inf'),
        ('{le="5"} NaN', '{le="+Inf"} 2'),
        ('{le="5"} 1', '{le="+Inf"} 1e300'),
        (*(f'{{le="{bound}"}} 1' for bound in range(MAX_BOUNDS)), '{le="+Inf"} 1'),
    ],
)
def test_a_malformed_histogram_is_empty(samples: tuple[str, ...]) -> None:
    assert read(*samples) == {}


def test_a_quantile_is_linear_within_a_bucket() -> None:
    counted = {1.0: 0.0, 2.0: 50.0, 5.0: 100.0, math.inf: 100.0}
    assert quantile(counted, 0.5) == pytest.approx(2.0)
    assert quantile(counted, 0.75) == pytest.approx(3.5)
    assert quantile({1.0: 1.0, 2.0: 2.0, math.inf: 4.0}, 0.125) == pytest.approx(0.5)
    assert quantile({1.0: 0.0, math.inf: 0.0}, 0.5) is None
    assert quantile({}, 0.5) is None


def test_above_the_last_bound_a_quantile_is_that_bound() -> None:
    assert quantile({1.0: 0.0, 5.0: 1.0, math.inf: 10.0}, 0.9) == 5.0


def test_an_increase_is_a_difference_and_after_a_restart_all_of_it() -> None:
    before, now = {1.0: 100.0, math.inf: 100.0}, {1.0: 120.0, math.inf: 150.0}
    assert increase(before, now) == {1.0: 20.0, math.inf: 50.0}
    assert increase(now, before) == before
    assert increase({2.0: 1.0, math.inf: 1.0}, now) == now


def test_histograms_with_the_same_bounds_are_summed_bucket_by_bucket() -> None:
    assert sum_histograms([{1.0: 1.0, math.inf: 2.0}, {1.0: 3.0, math.inf: 3.0}]) == {1.0: 4.0, math.inf: 5.0}
    assert sum_histograms([]) == {}


def test_different_bounds_make_no_chunk_late_that_was_not() -> None:
    older = {40.0: 90.0, 60.0: 100.0, math.inf: 100.0}
    newer = {50.0: 100.0, math.inf: 100.0}
    both = sum_histograms([older, newer])
    assert both == {40.0: 90.0 + 80.0, 50.0: 95.0 + 100.0, 60.0: 200.0, math.inf: 200.0}
    assert quantile(both, 0.99) == pytest.approx(50.0 + 10.0 * 3 / 5)


def test_counts_above_a_histograms_last_bound_stay_above_all_bounds() -> None:
    assert sum_histograms([{10.0: 1.0, math.inf: 5.0}, {20.0: 2.0, math.inf: 2.0}]) == {
        10.0: 2.0,
        20.0: 3.0,
        math.inf: 7.0,
    }
