"""Watches this process's memory in a thread of its own (shell: psutil)."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import psutil

from services.runtime.metrics import MemoryMetrics, PrometheusMetrics
from services.runtime.observability.logging import get_logger
from services.runtime.slope import LEAK_MB_PER_HOUR, WARM_UP_S, Growth, growth, recent

_log = get_logger(__name__)

_MIB: Final = 2**20
HISTORY_SAMPLES: Final = 2880
"""Samples that are kept, eight hours at one in 10 s; overflow drops the oldest."""
_JUDGED_EVERY: Final = 6
"""Samples between two verdicts: a minute at one sample in 10 s."""
_TYPES_LOGGED: Final = 8
"""Types of objects that the log line of a leak names."""


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """Memory at one moment, in MiB.

    Attributes:
        time_s: seconds of the monitor's clock.
        rss_mb: resident memory, shared pages included.
        uss_mb: memory that only this process uses; equal to `rss_mb` where the system does not provide it.
        gpu_allocated_mb: held by tensors on the GPU; 0 without torch or a GPU.
        python_blocks: memory blocks that Python's objects hold; a leak of objects shows here, a leak in a library does
            not.
    """

    time_s: float
    rss_mb: float
    uss_mb: float
    gpu_allocated_mb: float
    python_blocks: int = 0


class MemoryMonitor:
    """Samples memory every `sample_interval_sec` seconds between `start` and `stop`.

    Args:
        sample_interval_sec: seconds between two samples.
        history_samples: samples that are kept; overflow drops the oldest.
        metrics: exposes memory, growth and verdict; None: nothing is exposed.
        monotonic: seconds from anywhere.
        read: takes one snapshot at a given time; tests give their own.
        census: counts live objects by the name of their type, at the end of warm-up and when a leak is found.
    """

    def __init__(
        self,
        sample_interval_sec: float = 10.0,
        *,
        history_samples: int = HISTORY_SAMPLES,
        metrics: PrometheusMetrics | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        read: Callable[[float], MemorySnapshot] | None = None,
        census: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        if sample_interval_sec <= 0 or history_samples < 2:
            raise ValueError(
                f"memory monitor: got an interval of {sample_interval_sec} s and {history_samples} samples, "
                "expected more than 0 and at least 2"
            )
        self._interval_s = sample_interval_sec
        self._metrics = None if metrics is None else MemoryMetrics(metrics)
        self._monotonic = monotonic
        self._read = read or read_memory
        self._census = census or count_objects
        self._history: deque[MemorySnapshot] = deque(maxlen=history_samples)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._samples = 0
        self._began_s: float | None = None
        self._objects_then: Mapping[str, int] | None = None
        self._leaking = False

    def start(self) -> None:
        """Take a first sample and start sampling; a second call does nothing."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self.sample()
        self._thread = threading.Thread(target=self._run, name="memory-monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and stop sampling; a second call does nothing."""
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
        """Take a sample now and keep it."""
        snapshot = self._read(self._monotonic())
        with self._lock:
            self._history.append(snapshot)
            self._samples += 1
            judged = self._samples % _JUDGED_EVERY == 0
            if self._began_s is None:
                self._began_s = snapshot.time_s
        if self._metrics is not None:
            self._metrics.resident_mb.set(snapshot.rss_mb)
            self._metrics.gpu_mb.set(snapshot.gpu_allocated_mb)
            self._metrics.gpu_total_bytes.set(_gpu_total_bytes())
            self._metrics.unique_bytes.set(snapshot.uss_mb * _MIB)
            self._metrics.python_blocks.set(snapshot.python_blocks)
            if judged:
                self._judge(self._metrics)
        return snapshot

    def get_current_snapshot(self) -> MemorySnapshot:
        """Memory now; the sample is not kept."""
        return self._read(self._monotonic())

    def get_memory_growth_report(self) -> dict[str, Any]:
        """The growth of memory since `start`.

        Returns:
            Of resident memory: `initial_rss_mb, final_rss_mb, growth_mb` (medians of the first and last samples after
            warm-up), `growth_rate_mb_per_hour` with its 95 % interval `growth_rate_low_mb_per_hour` and
            `growth_rate_high_mb_per_hour`. `unique_rate_mb_per_hour` (USS), `gpu_rate_mb_per_hour` and
            `python_blocks_per_hour` are slopes of the others. `leak_detected` is the verdict about resident and GPU
            memory (see services/runtime/slope.py; never within the first 20 minutes), `confidence` is 0 to 1 that
            memory grows at all. `threshold_mb_per_hour`, `samples`, `duration_sec`.
        """
        history = self._past() or [self.sample()]
        resident, unique, gpu, blocks = _growths(history)
        return {
            "initial_rss_mb": resident.initial_mb,
            "final_rss_mb": resident.final_mb,
            "growth_mb": resident.growth_mb,
            "growth_rate_mb_per_hour": resident.slope_mb_per_hour,
            "growth_rate_low_mb_per_hour": resident.low_mb_per_hour,
            "growth_rate_high_mb_per_hour": resident.high_mb_per_hour,
            "unique_rate_mb_per_hour": unique.slope_mb_per_hour,
            "gpu_rate_mb_per_hour": gpu.slope_mb_per_hour,
            "python_blocks_per_hour": blocks.slope_mb_per_hour,
            "leak_detected": resident.leak or gpu.leak,
            "confidence": max(resident.confidence, gpu.confidence),
            "threshold_mb_per_hour": LEAK_MB_PER_HOUR,
            "samples": len(history),
            "duration_sec": history[-1].time_s - history[0].time_s,
        }

    def _past(self) -> list[MemorySnapshot]:
        with self._lock:
            return list(self._history)

    def _judge(self, metrics: MemoryMetrics) -> None:
        history = self._past()
        began_s = history[0].time_s if self._began_s is None else self._began_s
        if self._objects_then is None and history[-1].time_s - began_s >= WARM_UP_S:
            self._objects_then = self._census()
        # A leak that began this hour would be lost among eight hours.
        resident, unique, gpu, _ = max(
            (_growths(part) for part in (history, recent(history, _time_of))), key=lambda each: each[0].leak
        )
        for kind, each in (("resident", resident), ("unique", unique), ("gpu", gpu)):
            metrics.growth.labels(kind=kind).set(each.slope_mb_per_hour * _MIB)
        leaking = resident.leak or gpu.leak
        metrics.confidence.set(max(resident.confidence, gpu.confidence))
        metrics.leak.set(leaking)
        if leaking and not self._leaking:
            worst = gpu if gpu.leak and not resident.leak else resident
            _log.warning(
                "memory leak suspected",
                kind="gpu" if worst is gpu else "resident",
                growth_mb_per_hour=round(worst.slope_mb_per_hour, 1),
                confidence=round(worst.confidence, 3),
                grown_types=grown(self._objects_then or {}, self._census()),
            )
        self._leaking = leaking

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.sample()


def _time_of(snapshot: MemorySnapshot) -> float:
    return snapshot.time_s


def _growths(history: Sequence[MemorySnapshot]) -> tuple[Growth, Growth, Growth, Growth]:
    """Growth of resident memory, unique memory, GPU memory and Python's blocks (in blocks, not MiB)."""
    times = [each.time_s for each in history]
    return (
        growth(times, [each.rss_mb for each in history]),
        growth(times, [each.uss_mb for each in history]),
        growth(times, [each.gpu_allocated_mb for each in history]),
        growth(times, [float(each.python_blocks) for each in history]),
    )


def read_memory(time_s: float) -> MemorySnapshot:
    """This process's memory now, stamped `time_s`."""
    process = psutil.Process()
    rss = process.memory_info().rss
    try:
        uss = process.memory_full_info().uss
    except (psutil.Error, OSError):  # not permitted on macOS and in hardened containers
        uss = rss
    return MemorySnapshot(time_s, rss / _MIB, uss / _MIB, _gpu_bytes() / _MIB, sys.getallocatedblocks())


def count_objects() -> Mapping[str, int]:
    """Live objects that the garbage collector follows and has not frozen, by the name of their type."""
    return Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())


def grown(then: Mapping[str, int], now: Mapping[str, int]) -> str:
    """Types with more objects now than then, greatest growth first: "builtins.dict +1200, …"."""
    more = {name: count - then.get(name, 0) for name, count in now.items() if count > then.get(name, 0)}
    most = sorted(more.items(), key=lambda each: (-each[1], each[0]))[:_TYPES_LOGGED]
    return ", ".join(f"{name} +{count}" for name, count in most)


def _gpu_bytes() -> int:
    # Not imported here: a process without torch has no tensors, and importing torch takes seconds and 200 MB.
    torch: Any = sys.modules.get("torch")
    try:
        if torch is None:
            return 0
        if torch.cuda.is_initialized():
            return int(torch.cuda.memory_allocated())
        if torch.backends.mps.is_available():
            return int(torch.mps.current_allocated_memory())
    except (AttributeError, RuntimeError):  # another thread is still importing it, or the driver has failed
        return 0
    return 0


def _gpu_total_bytes() -> int:
    torch: Any = sys.modules.get("torch")
    try:
        if torch is not None and torch.cuda.is_initialized():
            return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    except (AttributeError, RuntimeError):  # as in `_gpu_bytes`
        return 0
    return 0
