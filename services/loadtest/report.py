"""The report of a load test from the lines of its pods: sums, percentiles, a verdict. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.loadtest.tally import Tally

FRESH_LINE_S: Final = 3.0
"""How long a pod counts as listening after its newest line of progress."""


@dataclass(frozen=True)
class Limits:
    """Limits of a load test; loadtests/README.md says why these.

    Attributes:
        gap_rate: greatest share of missing chunks, of all that were due.
        first_audio_p95_ms: greatest time to the first chunk, for 95 % of listeners.
        jitter_p99_ms: greatest lateness against the least delay of the last seconds, for 99 % of chunks.
        underrun_rate: most underruns, as a share of all chunks that were due.
        heard_share: least share of listeners that received audio.
    """

    gap_rate: float = 0.0001
    first_audio_p95_ms: float = 1000.0
    jitter_p99_ms: float = 50.0
    underrun_rate: float = 0.001
    heard_share: float = 1.0


@dataclass
class PodOutput:
    """The output of one pod.

    Attributes:
        index: of the pod.
        tally: its figures; None before its end.
        own: figures of the process: "seconds", "cpu_s", and "late_ms", the lateness of its event loop.
        progress: its lines of progress.
        early: it was stopped before its time.
    """

    index: int
    tally: Tally | None = None
    own: Mapping[str, float] = field(default_factory=dict)
    progress: list[dict[str, Any]] = field(default_factory=list)
    early: bool = False

    @property
    def share(self) -> float:
        """Share of the test that is done, 0 to 1."""
        if self.tally is not None:
            return 1.0
        return float(self.progress[-1]["share"]) if self.progress else 0.0

    @property
    def status(self) -> str:
        """The newest line of progress in words."""
        last = self.progress[-1] if self.progress else {}
        return f"{last.get('listening', 0)} listening, {last.get('missing', 0)} chunks missing"


def read_output(lines: Iterable[str], index: int) -> PodOutput:
    """Read a pod's log; other lines are skipped.

    Raises:
        ValueError: the result comes from another version.
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
            pod.progress.append(value)
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
    """A limit and the observed value; None if nothing was observed."""

    name: str
    observed: float | None
    limit: float
    unit: str
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the limit was kept; without an observed value it was not."""
        if self.observed is None:
            return False
        return self.observed >= self.limit if self.at_least else self.observed <= self.limit

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "name": self.name,
            "seen": None if self.observed is None else round(self.observed, 6),
            "unit": self.unit,
            "limit": f"{'>=' if self.at_least else '<='} {self.limit:g}",
            "kept": self.kept,
        }


@dataclass(frozen=True)
class Report:
    """The result of a load test.

    Attributes:
        wanted: number of listeners in the plan.
        pods: outputs of the pods; silent pods are missing.
        expected_pods: number of pods in the plan.
        facts: cluster, image and plan, for the reader.
        limits: of the test.
        interrupted: the test was stopped by Ctrl-C.
    """

    wanted: int
    pods: Sequence[PodOutput]
    expected_pods: int
    facts: Mapping[str, Any]
    limits: Limits = field(default_factory=Limits)
    interrupted: bool = False

    @property
    def total(self) -> Tally:
        """The figures of all pods together."""
        total = Tally()
        for pod in self.pods:
            if pod.tally is not None:
                total.add(pod.tally)
        return total

    @property
    def checks(self) -> list[Check]:
        """All limits with their observed values."""
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
        """Whether the test ran to its end and every limit was kept."""
        return not self.interrupted and all(check.kept for check in self.checks)

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each pod and one for all of them; columns as in `HEADINGS`."""
        rows = [
            _row(str(pod.index), pod.tally, pod.own) if pod.tally or not pod.progress else _unfinished_row(pod)
            for pod in self.pods
        ]
        own = {
            "cpu_s": sum(pod.own.get("cpu_s", 0.0) for pod in self.pods),
            "seconds": max((pod.own.get("seconds", 0.0) for pod in self.pods), default=0.0),
            "late_ms": max((pod.own.get("late_ms", 0.0) for pod in self.pods), default=0.0),
        }
        return [*rows, _row("all", self.total, own)]

    def timeline(self) -> list[dict[str, float]]:
        """A row for each second; see the function `timeline`."""
        return timeline([pod.progress for pod in self.pods])

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


def _unfinished_row(pod: PodOutput) -> tuple[str, ...]:
    """The row of a pod without a result: the counts of its newest line of progress."""
    last = pod.progress[-1]
    counts = (f"{last['heard']} so far", *(str(last[name]) for name in ("chunks", "missing", "underruns")))
    return (str(pod.index), *counts, *[""] * (len(HEADINGS) - 1 - len(counts)))


def _text(value_ms: float | None) -> str:
    return "-" if value_ms is None else f"{value_ms:.3g}" if value_ms < 1000 else f"{value_ms:.0f}"


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 2)


def timeline(pods: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, float]]:
    """Add the pods' lines of progress up, second by second.

    Args:
        pods: lines of progress of each pod. Their clocks and seconds differ, so that each pod counts with its newest
            line; its `listening` only if that line is at most `FRESH_LINE_S` old.

    Returns:
        A row for each second since the first line: second, listening, chunks_per_s, missing, megabytes_per_s.
    """
    times = [line["unix_s"] for pod in pods for line in pod]
    if not times:
        return []
    first_s = min(times)
    rows: list[dict[str, float]] = []
    read = [0] * len(pods)
    before = {"chunks": 0, "bytes": 0}
    for second in range(int(max(times) - first_s) + 1):
        now_s = first_s + second
        sums = {"listening": 0, "chunks": 0, "missing": 0, "bytes": 0}
        for number, pod in enumerate(pods):
            while read[number] < len(pod) and pod[read[number]]["unix_s"] <= now_s:
                read[number] += 1
            if not read[number]:
                continue
            line = pod[read[number] - 1]
            for name in sums:
                if name != "listening" or now_s - line["unix_s"] <= FRESH_LINE_S:
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
