"""A picture of a soak, by matplotlib (shell): memory, open files and tasks of each process over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from services.local.soak.report import Sample, SoakReport

_PAPER: Final = "#070b18"
_PANEL: Final = "#0f1630"
_INK: Final = "#e8ecff"
_QUIET: Final = "#9aa5cc"
_LINE: Final = "#232d52"
_COLOURS: Final = {"synthesis": "#7db4ff", "edge": "#c79bff", "telemetry": "#58d8c9", "nats": "#ffb86b"}


def draw(report: SoakReport, samples: Mapping[str, Sequence[Sample]], picture: Path) -> None:
    """Draw a soak.

    Args:
        report: the figures.
        samples: of each process, by time.
        picture: file to write; its suffix decides the format.
    """
    names = [each.name for each in report.processes]
    figure = Figure(figsize=(12, 2.1 * len(names) + 2.2), facecolor=_PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(names), 2, width_ratios=(2.2, 1))
    for row, each in enumerate(report.processes):
        colour = _COLOURS.get(each.name, _INK)
        curve = samples[each.name]
        minutes = [sample.time_s / 60 for sample in curve]
        axes = _panel(figure.add_subplot(grid[row, 0]), f"{each.name}: memory, MiB")
        axes.plot(minutes, [sample.rss_mb for sample in curve], color=colour, label="resident")
        axes.plot(minutes, [sample.uss_mb for sample in curve], color=colour, alpha=0.5, dashes=(4, 2), label="unique")
        verdict = "leak" if each.rss.leak else "no leak" if each.rss.confidence else "too short to tell"
        axes.set_title(f"{each.rss.slope_mb_per_hour:+.1f} MiB/h, {verdict}", loc="right", color=_QUIET, fontsize=9)
        axes.legend(loc="lower right", fontsize=8, frameon=False, labelcolor=_QUIET, ncols=2)
        axes = _panel(figure.add_subplot(grid[row, 1]), "open files, threads, tasks")
        axes.plot(minutes, [sample.open_files for sample in curve], color=colour, label="files")
        axes.plot(minutes, [sample.threads for sample in curve], color=_QUIET, label="threads")
        tasks = [(sample.time_s / 60, sample.tasks) for sample in curve if sample.tasks is not None]
        if tasks:
            axes.plot([time for time, _ in tasks], [count for _, count in tasks], color=_INK, alpha=0.7, label="tasks")
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right", fontsize=8, frameon=False, labelcolor=_QUIET, ncols=3)
    p99 = report.jitter_ms.get("p99")
    heading = f"Soak of {report.minutes:.0f} minutes with {report.listeners} listeners at a time; time in minutes"
    if p99 is not None:
        heading += f"; delivery jitter p99 {p99:.1f} ms"
    figure.suptitle(heading, color=_INK)
    figure.savefig(picture, dpi=110)


def _panel(axes: Axes, title: str) -> Axes:
    axes.set_facecolor(_PANEL)
    axes.set_title(title, loc="left", color=_INK, fontsize=10)
    axes.tick_params(colors=_QUIET, labelsize=8)
    axes.grid(visible=True, color=_LINE, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color(_LINE)
    return axes
