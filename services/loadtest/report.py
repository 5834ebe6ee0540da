"""Lines of JSON from many pods into one report: sums, percentiles, a verdict. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.loadtest.tally import Tally


@dataclass(frozen=True)
class Limits:
    """What a report must keep to; loadtests/README.md says why.

    Attributes:
        gap_rate: missing chunks of all that should have come.
        first_audio_p95_ms, jitter_p99_ms: over all listeners; jitter is lateness against the best of the last seconds.
        underrun_rate: underruns of all chunks.
        heard_share: listeners that had sound at all, of those begun.
    """

    gap_rate: float = 0.0001
    first_audio_p95_ms: float = 1000.0
    jitter_p99_ms: float = 50.0
    underrun_rate: float = 0.001
    heard_share: float = 1.0


@dataclass
class PodOutput:
    """What one pod has said.

    Attributes:
        tally: its sums, once it has ended.
        own: seconds, CPU seconds and the loop's lateness of the pod itself.
        moments: its lines of progress.
        early: it was ended before its time.
    """

    index: int
    tally: Tally | None = None
    own: Mapping[str, float] = field(default_factory=dict)
    moments: list[dict[str, Any]] = field(default_factory=list)
    early: bool = False

    @property
    def share(self) -> float:
        """How far it is, 0 to 1."""
        if self.tally is not None:
            return 1.0
        return float(self.moments[-1]["share"]) if self.moments else 0.0

    @property
    def words(self) -> str:
        """How it stands."""
        last = self.moments[-1] if self.moments else {}
        return f"{last.get('listening', 0)} listening, {last.get('missing', 0)} chunks missing"


def read_output(lines: Iterable[str], index: int) -> PodOutput:
    """Read a pod's log; lines that are not ours are skipped.

    Raises:
        ValueError: the result has another form: it comes from another version.
    """
    pod = PodOutput(index)
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if not isinstance(value, dict):
            continue
        if value.get("kind") == "progress":
            pod.moments.append(value)
        elif value.get("kind") == "result":
            try:
                pod.tally = Tally.from_json(value["tally"])
                pod.own = value["own"]
                pod.early = bool(value["early"])
            except KeyError as error:
                raise ValueError(
                    f"Pod {index}: got a result without {error}; the edges' image is of another version than this "
                    "program: use the one that was installed with it"
                ) from error
    return pod


@dataclass(frozen=True)
class Check:
    """A limit, and what was seen."""

    name: str
    seen: float | None
    limit: float
    unit: str
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the limit was kept; what was not seen at all was not."""
        if self.seen is None:
            return False
        return self.seen >= self.limit if self.at_least else self.seen <= self.limit

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        words = {"limit": f"{'>=' if self.at_least else '<='} {self.limit:g}", "kept": self.kept}
        return {
            "name": self.name,
            "seen": None if self.seen is None else round(self.seen, 6),
            "unit": self.unit,
            **words,
        }


@dataclass(frozen=True)
class Report:
    """Everything about a load test.

    Attributes:
        wanted: listeners that were asked for.
        pods: what each said; those that said nothing are missing.
        expected_pods: how many there should be.
        facts: what the reader wants to know besides: cluster, image, plan.
        interrupted: it was ended by Ctrl-C.
    """

    wanted: int
    pods: Sequence[PodOutput]
    expected_pods: int
    facts: Mapping[str, Any]
    limits: Limits = field(default_factory=Limits)
    interrupted: bool = False

    @property
    def total(self) -> Tally:
        """All pods' sums."""
        total = Tally()
        for pod in self.pods:
            if pod.tally is not None:
                total.add(pod.tally)
        return total

    @property
    def checks(self) -> list[Check]:
        """Every limit."""
        total, limits = self.total, self.limits
        due = total.chunks + total.missing
        done = sum(pod.tally is not None for pod in self.pods)
        return [
            Check("pods with a result", done, self.expected_pods, "", at_least=True),
            Check("listeners with sound", total.heard / self.wanted, limits.heard_share, "of all", at_least=True),
            Check("gap rate", total.missing / due if due else None, limits.gap_rate, "of chunks"),
            Check("underrun rate", total.underruns / due if due else None, limits.underrun_rate, "of chunks"),
            Check("first audio p95", total.first_audio_ms.percentile_ms(0.95), limits.first_audio_p95_ms, "ms"),
            Check("jitter p99", total.jitter_ms.percentile_ms(0.99), limits.jitter_p99_ms, "ms"),
        ]

    @property
    def kept(self) -> bool:
        """Whether the test was whole and every limit was kept."""
        return not self.interrupted and all(check.kept for check in self.checks)

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each pod and one for all: as in HEADINGS."""
        rows = [
            _row(str(pod.index), pod.tally, pod.own) if pod.tally or not pod.moments else _row_so_far(pod)
            for pod in self.pods
        ]
        own = {
            "cpu_s": sum(pod.own.get("cpu_s", 0.0) for pod in self.pods),
            "seconds": max((pod.own.get("seconds", 0.0) for pod in self.pods), default=0.0),
            "late_ms": max((pod.own.get("late_ms", 0.0) for pod in self.pods), default=0.0),
        }
        return [*rows, _row("all", self.total, own)]

    def timeline(self) -> list[dict[str, float]]:
        """A row for each second since the first line; see `timeline` below."""
        return timeline([pod.moments for pod in self.pods])

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        total = self.total
        percentiles = {
            f"{name}_p{round(share * 100)}_ms": _rounded(histogram.percentile_ms(share))
            for name, histogram in (("first_audio", total.first_audio_ms), ("jitter", total.jitter_ms))
            for share in (0.5, 0.95, 0.99)
        }
        return {
            "wanted_listeners": self.wanted,
            "interrupted": self.interrupted,
            "kept": self.kept,
            "facts": dict(self.facts),
            "checks": [check.to_json() for check in self.checks],
            "percentiles": percentiles,
            "total": total.to_json(),
            "pods": [
                {"index": pod.index, "own": dict(pod.own), "tally": pod.tally.to_json() if pod.tally else None}
                for pod in self.pods
            ],
            "timeline": self.timeline(),
        }


HEADINGS: Final = (
    "pod", "heard", "chunks", "missing", "underruns", "back again", "refused", "first p50/p95 ms", "jitter p95/p99 ms",
    "own CPU", "own lateness",
)  # fmt: skip


def _row(name: str, tally: Tally | None, own: Mapping[str, float]) -> tuple[str, ...]:
    if tally is None:
        return (name, "no result", *[""] * (len(HEADINGS) - 2))
    first, jitter = tally.first_audio_ms, tally.jitter_ms
    seconds = own.get("seconds", 0.0)
    return (
        name,
        f"{tally.heard}/{tally.listeners}",
        str(tally.chunks),
        str(tally.missing),
        str(tally.underruns),
        f"{tally.recovered}/{tally.reconnects}" if tally.reconnects else "",
        str(tally.refused) if tally.refused else "",
        f"{_text(first.percentile_ms(0.5))} / {_text(first.percentile_ms(0.95))}",
        f"{_text(jitter.percentile_ms(0.95))} / {_text(jitter.percentile_ms(0.99))}",
        f"{own.get('cpu_s', 0.0) / seconds:.0%}" if seconds else "",
        f"{own.get('late_ms', 0.0):.0f} ms",
    )


def _row_so_far(pod: PodOutput) -> tuple[str, ...]:
    """A pod that has not come to its end: what its newest line of progress tells."""
    last = pod.moments[-1]
    counts = (f"{last['heard']} so far", *(str(last[name]) for name in ("chunks", "missing", "underruns")))
    return (str(pod.index), *counts, *[""] * (len(HEADINGS) - 1 - len(counts)))


def _text(value_ms: float | None) -> str:
    return "-" if value_ms is None else f"{value_ms:.3g}" if value_ms < 1000 else f"{value_ms:.0f}"


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 2)


def timeline(pods: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, float]]:
    """Lines of progress of several pods as one row a second: listening, chunks_per_s, missing, megabytes_per_s.

    A pod counts with its newest line of at most three seconds ago: its clock and its seconds are not the others'.
    """
    times = [line["unix_s"] for pod in pods for line in pod]
    if not times:
        return []
    first_s = min(times)
    rows: list[dict[str, float]] = []
    at = [0] * len(pods)
    before = {"chunks": 0, "bytes": 0}
    for second in range(int(max(times) - first_s) + 1):
        now_s = first_s + second
        sums = {"listening": 0, "chunks": 0, "missing": 0, "bytes": 0}
        for number, pod in enumerate(pods):
            while at[number] < len(pod) and pod[at[number]]["unix_s"] <= now_s:
                at[number] += 1
            if not at[number]:
                continue
            line = pod[at[number] - 1]
            for name in sums:
                if name != "listening" or now_s - line["unix_s"] <= 3.0:
                    sums[name] += line[name]
        rows.append(
            {
                "second": second,
                "listening": sums["listening"],
                "chunks_per_s": sums["chunks"] - before["chunks"],
                "missing": sums["missing"],
                "megabytes_per_s": round((sums["bytes"] - before["bytes"]) / 1e6, 1),
            }
        )
        before = {"chunks": sums["chunks"], "bytes": sums["bytes"]}
    return rows
