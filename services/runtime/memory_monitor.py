"""Watches this process's memory in a thread of its own."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import psutil

from services.runtime.metrics import PrometheusMetrics
from services.runtime.slope import LEAK_MB_PER_HOUR, growth

_MIB: Final = 2**20
HISTORY_SAMPLES: Final = 2880
"""Eight hours at one sample in 10 s; then the oldest is dropped."""


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """Memory at one moment, in MiB.

    Attributes:
        time_s: seconds of the monitor's clock.
        rss_mb: resident memory, shared pages included.
        uss_mb: memory that ending this process would free; equal to `rss_mb` where the system does not tell.
        gpu_allocated_mb: held by tensors on the GPU; 0 without torch or a GPU.
    """

    time_s: float
    rss_mb: float
    uss_mb: float
    gpu_allocated_mb: float


class MemoryMonitor:
    """Samples memory every `sample_interval_sec` seconds between `start` and `stop`.

    Args:
        sample_interval_sec: seconds between two samples.
        history_samples: samples that are kept; overflow drops the oldest.
        metrics: where `memory_usage_mb` and `gpu_memory_allocated_mb` are set at each sample.
        monotonic: seconds from anywhere.
        read: takes one snapshot at a given time; tests give their own.
    """

    def __init__(
        self,
        sample_interval_sec: float = 10.0,
        *,
        history_samples: int = HISTORY_SAMPLES,
        metrics: PrometheusMetrics | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        read: Callable[[float], MemorySnapshot] | None = None,
    ) -> None:
        if sample_interval_sec <= 0 or history_samples < 2:
            raise ValueError(
                f"memory monitor: got an interval of {sample_interval_sec} s and {history_samples} samples, "
                "expected more than 0 and at least 2"
            )
        self._interval_s = sample_interval_sec
        self._metrics = metrics
        self._monotonic = monotonic
        self._read = read or read_memory
        self._history: deque[MemorySnapshot] = deque(maxlen=history_samples)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take a first sample and begin; a second call does nothing."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self.sample()
        self._thread = threading.Thread(target=self._run, name="memory-monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end; a second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        thread.join()
        self.sample()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def sample(self) -> MemorySnapshot:
        """Take one sample now and keep it."""
        snapshot = self._read(self._monotonic())
        with self._lock:
            self._history.append(snapshot)
        if self._metrics is not None:
            self._metrics.memory_usage_mb.set(snapshot.rss_mb)
            self._metrics.gpu_memory_allocated_mb.set(snapshot.gpu_allocated_mb)
        return snapshot

    def get_current_snapshot(self) -> MemorySnapshot:
        """Memory now; not kept."""
        return self._read(self._monotonic())

    def get_memory_growth_report(self) -> dict[str, Any]:
        """What memory did since `start`.

        Returns:
            `initial_rss_mb, final_rss_mb, growth_mb` (medians of the first and last samples after warm-up),
            `growth_rate_mb_per_hour` with its 95 % interval `growth_rate_low_mb_per_hour` and
            `growth_rate_high_mb_per_hour`, `leak_detected` (see services/runtime/slope.py; never within the first
            20 minutes), `confidence` (0 to 1 that memory grows at all), `threshold_mb_per_hour`, `samples`,
            `duration_sec`.
        """
        with self._lock:
            history = list(self._history)
        if not history:
            history = [self.sample()]
        result = growth([each.time_s for each in history], [each.rss_mb for each in history])
        return {
            "initial_rss_mb": result.initial_mb,
            "final_rss_mb": result.final_mb,
            "growth_mb": result.growth_mb,
            "growth_rate_mb_per_hour": result.slope_mb_per_hour,
            "growth_rate_low_mb_per_hour": result.low_mb_per_hour,
            "growth_rate_high_mb_per_hour": result.high_mb_per_hour,
            "leak_detected": result.leak,
            "confidence": result.confidence,
            "threshold_mb_per_hour": LEAK_MB_PER_HOUR,
            "samples": len(history),
            "duration_sec": history[-1].time_s - history[0].time_s,
        }

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.sample()


def read_memory(time_s: float) -> MemorySnapshot:
    """This process's memory now, stamped `time_s`."""
    process = psutil.Process()
    rss = process.memory_info().rss
    try:
        uss = process.memory_full_info().uss
    except (psutil.Error, OSError):  # macOS and hardened containers keep it to themselves
        uss = rss
    return MemorySnapshot(time_s, rss / _MIB, uss / _MIB, _gpu_bytes() / _MIB)


def _gpu_bytes() -> int:
    # Not imported here: a process without torch has no tensors, and importing it costs seconds and 200 MB.
    torch: Any = sys.modules.get("torch")
    try:
        if torch is None:
            return 0
        if torch.cuda.is_initialized():
            return int(torch.cuda.memory_allocated())
        if torch.backends.mps.is_available():
            return int(torch.mps.current_allocated_memory())
    except (AttributeError, RuntimeError):  # another thread is in the middle of importing it, or the driver has gone
        return 0
    return 0
