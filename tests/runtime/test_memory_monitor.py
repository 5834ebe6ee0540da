from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import pytest

from services.runtime.memory_monitor import MemoryMonitor, MemorySnapshot, count_objects, grown, read_memory
from services.runtime.metrics import PrometheusMetrics
from services.runtime.observability.logging import configure_logging
from services.runtime.settings import Settings
from tests.support.metrics import sample_value
from tests.support.waiting import wait_until


class Memory:
    """A process's memory, turned by hand."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.rss_mb = 100.0

    def monitor(self, **options: object) -> MemoryMonitor:
        return MemoryMonitor(10, monotonic=lambda: self.time_s, read=self.read, **options)  # type: ignore[arg-type]

    def read(self, time_s: float) -> MemorySnapshot:
        return MemorySnapshot(time_s, self.rss_mb, self.rss_mb - 10, 2.0)


def test_memory_is_sampled_in_a_thread_between_start_and_stop() -> None:
    monitor = MemoryMonitor(sample_interval_sec=0.01)
    monitor.start()
    monitor.start()
    threads = [thread for thread in threading.enumerate() if thread.name == "memory-monitor"]
    assert len(threads) == 1
    assert threads[0].daemon
    wait_until(lambda: monitor.get_memory_growth_report()["samples"] >= 4, 10)
    monitor.stop()
    monitor.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "memory-monitor"]
    report = monitor.get_memory_growth_report()
    assert report["initial_rss_mb"] > 10
    assert report["leak_detected"] is False


def test_a_snapshot_is_this_processs_real_memory() -> None:
    snapshot = MemoryMonitor().get_current_snapshot()
    assert 10 < snapshot.rss_mb < 100_000
    assert 0 < snapshot.uss_mb <= snapshot.rss_mb + 1
    before_mb = snapshot.rss_mb
    ballast = bytearray(b"x") * (64 * 2**20)
    assert MemoryMonitor().get_current_snapshot().rss_mb > before_mb + 40
    del ballast


def test_the_report_finds_a_leak_and_says_how_sure_it_is() -> None:
    memory = Memory()
    monitor = memory.monitor()
    for _ in range(240):
        monitor.sample()
        memory.time_s += 10
        memory.rss_mb += 60 / 360
    report = monitor.get_memory_growth_report()
    assert report["leak_detected"] is True
    assert report["confidence"] > 0.99
    assert report["growth_rate_mb_per_hour"] == pytest.approx(60)
    assert report["growth_mb"] == pytest.approx(report["final_rss_mb"] - report["initial_rss_mb"])
    assert report["growth_mb"] == pytest.approx(60 * 35 / 60, rel=0.05)
    assert (report["samples"], report["duration_sec"]) == (240, 2390)


def test_steady_memory_is_no_leak() -> None:
    memory = Memory()
    monitor = memory.monitor()
    for _ in range(240):
        monitor.sample()
        memory.time_s += 10
    report = monitor.get_memory_growth_report()
    assert report["leak_detected"] is False
    assert report["growth_mb"] == 0


def test_the_history_is_bounded_and_drops_the_oldest() -> None:
    memory = Memory()
    monitor = memory.monitor(history_samples=5)
    for number in range(20):
        memory.rss_mb = float(number)
        memory.time_s = 10.0 * number
        monitor.sample()
    report = monitor.get_memory_growth_report()
    assert (report["samples"], report["duration_sec"]) == (5, 40)
    assert report["initial_rss_mb"] >= 15


def test_a_report_before_any_sample_takes_one() -> None:
    memory = Memory()
    assert memory.monitor().get_memory_growth_report()["initial_rss_mb"] == 100


def test_samples_are_shown_as_metrics() -> None:
    metrics = PrometheusMetrics()
    Memory().monitor(metrics=metrics).sample()
    assert sample_value(metrics.memory_usage_mb) == 100
    assert sample_value(metrics.gpu_memory_allocated_mb) == 2


def test_it_is_a_context_manager() -> None:
    with MemoryMonitor(60) as monitor:
        pass
    assert monitor.get_memory_growth_report()["samples"] == 2


@pytest.mark.parametrize(("interval_s", "samples"), [(0, 10), (-1, 10), (10, 1)])
def test_nonsense_is_refused(interval_s: float, samples: int) -> None:
    with pytest.raises(ValueError, match="memory monitor: got"):
        MemoryMonitor(interval_s, history_samples=samples)


def test_torch_is_asked_only_where_somebody_has_imported_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert read_memory(0).gpu_allocated_mb == 0
    assert "torch" not in sys.modules


def gpu(*, cuda: bool = False, mps: bool = False, allocated: int = 3 * 2**20) -> SimpleNamespace:
    return SimpleNamespace(
        cuda=SimpleNamespace(is_initialized=lambda: cuda, memory_allocated=lambda: allocated),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
        mps=SimpleNamespace(current_allocated_memory=lambda: allocated),
    )


@pytest.mark.parametrize(
    ("torch", "expected_mb"),
    [(gpu(cuda=True), 3.0), (gpu(mps=True), 3.0), (gpu(), 0.0), (SimpleNamespace(), 0.0)],
    ids=["cuda", "mps", "cpu", "half imported"],
)
def test_gpu_memory_is_what_torch_says(
    monkeypatch: pytest.MonkeyPatch, torch: SimpleNamespace, expected_mb: float
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    assert read_memory(0).gpu_allocated_mb == expected_mb


def grow(memory: Memory, monitor: MemoryMonitor, hours: float, mb_per_hour: float) -> None:
    for _ in range(round(hours * 360)):
        monitor.sample()
        memory.time_s += 10
        memory.rss_mb += mb_per_hour / 360


def test_growth_verdict_and_confidence_are_shown_as_metrics() -> None:
    metrics = PrometheusMetrics()
    memory = Memory()
    monitor = memory.monitor(metrics=metrics, census=dict)
    grow(memory, monitor, 0.25, 60)
    assert "auralis_memory_leak 0.0" in metrics.exposition().decode()
    grow(memory, monitor, 0.25, 60)
    text = metrics.exposition().decode()
    assert "auralis_memory_leak 1.0" in text
    shown = {(each.name, *each.labels.values()): each.value for f in metrics.registry.collect() for each in f.samples}
    assert shown["auralis_memory_growth_bytes_per_hour", "resident"] == pytest.approx(60 * 2**20)
    assert shown["auralis_memory_growth_bytes_per_hour", "gpu"] == 0
    assert shown["auralis_memory_growth_confidence_ratio",] > 0.99
    assert shown["auralis_memory_unique_bytes",] == pytest.approx((memory.rss_mb - 10) * 2**20, rel=0.01)


def test_a_leak_that_begins_after_seven_hours_is_found_within_two_more() -> None:
    metrics = PrometheusMetrics()
    memory = Memory()
    monitor = memory.monitor(metrics=metrics, census=dict)
    grow(memory, monitor, 7, 0)
    assert sample_value(monitor._metrics.leak) == 0  # type: ignore[union-attr] # it was given metrics
    grow(memory, monitor, 2, 40)
    assert sample_value(monitor._metrics.leak) == 1  # type: ignore[union-attr] # as above


def test_what_has_grown_is_logged_once_when_a_leak_is_found(caplog: pytest.LogCaptureFixture) -> None:
    configure_logging(Settings(), service="test")
    counts = iter([{"builtins.dict": 10, "a.Listener": 5}, {"builtins.dict": 500, "a.Listener": 45, "b.New": 1}])
    memory = Memory()
    monitor = memory.monitor(metrics=PrometheusMetrics(), census=lambda: next(counts))
    grow(memory, monitor, 1, 60)
    lines = [record.getMessage() for record in caplog.records if "memory leak suspected" in record.getMessage()]
    assert len(lines) == 1
    assert "builtins.dict +490, a.Listener +40, b.New +1" in lines[0]


def test_objects_that_are_kept_show_in_the_census_and_in_pythons_blocks() -> None:
    class Kept:
        pass

    before, blocks = count_objects(), read_memory(0).python_blocks
    kept = [Kept() for _ in range(5000)]
    assert "Kept +5000" in grown(before, count_objects())
    assert read_memory(0).python_blocks >= blocks + 5000
    del kept
