"""The result of a soak, as text and as JSON: slopes of each process, figures of the listeners. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from services.runtime.slope import Growth, growth

MAX_ERRORS: Final = 50
"""Different error messages that are counted; overflow: later ones count as "others"."""
MAX_ERROR_LENGTH: Final = 120
"""Characters of an error message that are kept; servers may send anything."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment.

    Attributes:
        time_s: seconds since the soak began.
        rss_mb, uss_mb: resident and unique memory, in MiB.
        open_files: files, sockets and pipes.
        threads: of the process.
        tasks: asyncio tasks; None for NATS.
    """

    time_s: float
    rss_mb: float
    uss_mb: float
    open_files: int
    threads: int
    tasks: int | None = None


@dataclass(slots=True)
class ListenerCounts:
    """Figures of all listeners of a soak.

    Attributes:
        sessions: connections that began, by format.
        chunks: chunks of 100 ms that arrived over WebSocket.
        http_bytes: bytes that arrived over HTTP.
        gaps: chunks that were missing between two that arrived.
        steered: changes of a stream while listening.
        underruns: as the listeners report them.
        errors: sessions that failed, by message.
    """

    sessions: dict[str, int] = field(default_factory=dict)
    chunks: int = 0
    http_bytes: int = 0
    gaps: int = 0
    steered: int = 0
    underruns: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def began(self, format_: str) -> None:
        """A session began."""
        self.sessions[format_] = self.sessions.get(format_, 0) + 1

    def failed(self, message: str) -> None:
        """A session failed."""
        key = message[:MAX_ERROR_LENGTH] if len(self.errors) < MAX_ERRORS else "others"
        self.errors[key] = self.errors.get(key, 0) + 1


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One process over the whole soak.

    Attributes:
        name: of the process.
        rss, uss: growth of resident and unique memory, in MiB.
        open_files, threads, tasks: at the first and last sample.
    """

    name: str
    rss: Growth
    uss: Growth
    open_files: tuple[int, int]
    threads: tuple[int, int]
    tasks: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class SoakReport:
    """The result of a soak.

    Attributes:
        minutes: how long it took.
        listeners: how many listened at a time.
        counts: figures of the listeners.
        processes: figures of each process.
        jitter_ms: lateness of all chunks that edges wrote, by percentile.
        late_ratio: share of these chunks that were more than 50 ms late; None without chunks.
    """

    minutes: float
    listeners: int
    counts: ListenerCounts
    processes: list[ProcessReport]
    jitter_ms: dict[str, float | None]
    late_ratio: float | None

    @property
    def leaks(self) -> list[str]:
        """Names of the processes whose memory leaks, with statistical certainty."""
        return [each.name for each in self.processes if each.rss.leak]

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return asdict(self) | {"leaks": self.leaks}


def soak_report(
    samples: Mapping[str, Sequence[Sample]],
    counts: ListenerCounts,
    *,
    minutes: float,
    listeners: int,
    jitter_before: Mapping[float, float],
    jitter_after: Mapping[float, float],
) -> SoakReport:
    """Make the report.

    Args:
        samples: of each process, by time.
        counts: figures of the listeners.
        minutes: how long the soak took.
        listeners: how many listened at a time.
        jitter_before, jitter_after: the edges' histogram of lateness in ms, at the beginning and the end: cumulative
            counts by upper bound.
    """
    from services.telemetry.exposition.histograms import increase, quantile  # noqa: PLC0415 - `auralis --help` does not need it

    jitter = increase(jitter_before, jitter_after)
    total, in_time = jitter.get(float("inf"), 0.0), jitter.get(50.0, 0.0)
    return SoakReport(
        minutes=round(minutes, 2),
        listeners=listeners,
        counts=counts,
        processes=[_process(name, each) for name, each in samples.items() if each],
        jitter_ms={f"p{percent}": quantile(jitter, percent / 100) for percent in (50, 95, 99)},
        late_ratio=1 - in_time / total if total > 0 else None,
    )


def lines(report: SoakReport) -> list[str]:
    """The report as lines of text."""
    counts = report.counts
    formats = ", ".join(f"{name} {number}" for name, number in sorted(counts.sessions.items()))
    http_mb = counts.http_bytes / 2**20
    found = [
        f"Soak of {report.minutes:g} minutes with {report.listeners} listeners at a time",
        "",
        f"  sessions          {sum(counts.sessions.values())} ({formats})",
        f"  heard             {counts.chunks / 36_000:.2f} hours over WebSocket, {http_mb:.1f} MiB over HTTP",
        f"  steered           {counts.steered} times",
        f"  gaps, underruns   {counts.gaps}, {counts.underruns}",
    ]
    jitter = ", ".join(f"{name} {value:.1f} ms" for name, value in report.jitter_ms.items() if value is not None)
    if report.late_ratio is not None:
        found.append(f"  delivery jitter   {jitter}; {100 * (1 - report.late_ratio):.2f} % within 50 ms")
    for message, number in sorted(counts.errors.items()):
        found.append(f"  error             {number} x {message}")
    found += [
        "",
        (
            f"  {'process':<12}{'RSS MiB':>18}{'slope MiB/h':>13}{'95 % interval':>18}{'open files':>13}"
            f"{'threads':>11}{'tasks':>11}  verdict"
        ),
    ]
    for each in report.processes:
        rss = each.rss
        interval = f"{rss.low_mb_per_hour:+.0f} … {rss.high_mb_per_hour:+.0f}"
        tasks = "" if each.tasks is None else f"{each.tasks[0]} → {each.tasks[1]}"
        judged = "LEAK" if rss.leak else "no leak" if rss.confidence else "too short to tell"
        found.append(
            f"  {each.name:<12}{f'{rss.initial_mb:.0f} → {rss.final_mb:.0f}':>18}{rss.slope_mb_per_hour:>+13.1f}"
            f"{interval:>18}{f'{each.open_files[0]} → {each.open_files[1]}':>13}"
            f"{f'{each.threads[0]} → {each.threads[1]}':>11}{tasks:>11}  {judged}"
        )
    return found


def _process(name: str, samples: Sequence[Sample]) -> ProcessReport:
    times = [each.time_s for each in samples]
    tasks = [each.tasks for each in samples if each.tasks is not None]
    return ProcessReport(
        name=name,
        rss=growth(times, [each.rss_mb for each in samples]),
        uss=growth(times, [each.uss_mb for each in samples]),
        open_files=(samples[0].open_files, samples[-1].open_files),
        threads=(samples[0].threads, samples[-1].threads),
        tasks=(tasks[0], tasks[-1]) if tasks else None,
    )
