"""A report as a picture, by matplotlib (shell)."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from services.loadtest.report import Report
from services.loadtest.tally import Histogram

_SHARES = [number / 200 for number in range(1, 200)]
"""Points of a distribution's curve."""


def draw(report: Report, path: Path) -> None:
    """Draw listeners and chunks over time, and the distributions of first audio and jitter.

    Args:
        report: the figures.
        path: file to write; its suffix decides the format.
    """
    figure = Figure(figsize=(11, 7), layout="constrained")
    over_time, amounts = figure.add_subplot(2, 2, 1), figure.add_subplot(2, 2, 2)
    rows = report.timeline()
    seconds = [row["second"] for row in rows]
    over_time.plot(seconds, [row["listening"] for row in rows], color="tab:blue")
    over_time.set(title="Listeners", xlabel="seconds", ylabel="listening")
    over_time.set_ylim(bottom=0)
    amounts.plot(seconds, [row["chunks_per_s"] for row in rows], color="tab:green", label="chunks a second")
    amounts.plot(seconds, [10 * row["listening"] for row in rows], color="0.6", linestyle=":", label="10 x listeners")
    amounts.plot(seconds, [row["missing"] for row in rows], color="tab:red", label="missing so far")
    amounts.set(title="Chunks", xlabel="seconds")
    amounts.legend(frameon=False)
    total = report.total
    limits = report.limits
    for place, title, histogram, limit_ms, share in (
        (3, "First audio", total.first_audio_ms, limits.first_audio_p95_ms, 0.95),
        (4, "Jitter", total.jitter_ms, limits.jitter_p99_ms, 0.99),
    ):
        axes = figure.add_subplot(2, 2, place)
        axes.plot(*_distribution(histogram), color="tab:purple")
        axes.axvline(limit_ms, color="tab:red", linestyle="--", label=f"limit for p{share:.0%}".replace("%", ""))
        axes.axhline(share, color="0.8", linewidth=0.8)
        axes.set(title=title, xlabel="ms", ylabel="share of all", xscale="log", ylim=(0, 1.02))
        axes.legend(frameon=False, loc="upper left")
    verdict = "kept" if report.kept else "NOT kept"
    figure.suptitle(f"{total.heard} of {report.wanted} listeners, {report.expected_pods} pods: limits {verdict}")
    figure.savefig(path, dpi=110)


def _distribution(histogram: Histogram) -> tuple[list[float], list[float]]:
    points = [(histogram.percentile_ms(share), share) for share in _SHARES]
    seen = [(value, share) for value, share in points if value is not None]
    return [value for value, _ in seen], [share for _, share in seen]
