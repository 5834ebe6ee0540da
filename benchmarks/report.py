"""All benchmarks in one run: one file of results, one page with ratios, two pictures.

    make bench                                             (about ten minutes on two cores, nothing beside it)
    make bench QUICK=1                                     (two minutes: shows that everything runs; no valid figures)
    .venv/bin/python benchmarks/report.py --render         (page and pictures again, from the last results)

Writes benchmarks/results/<machine>.json and .md; pictures go to docs/images. Each part names the command that measured
it. A part that fails is named with the last line of its output, and the others continue.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

REPO: Final = Path(__file__).parents[1]
RESULTS: Final = REPO / "benchmarks" / "results"
IMAGES: Final = REPO / "docs" / "images"
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One program that measures.

    Attributes:
        name: heading of its rows in the results.
        arguments, quick: command lines of the full and of the short run.
        limit_s: time limit in seconds.
    """

    name: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...]
    limit_s: float

    def command(self, *, quick: bool) -> str:
        """The command line for people."""
        return " ".join((".venv/bin/python", *(self.quick if quick else self.arguments)))


_EDGE: Final = "benchmarks/edge.py"
PARTS: Final = (
    Part(
        "rendering",
        ("benchmarks/synthesis.py", "--only", "streams,half-load,phrases,peers,memory"),
        ("benchmarks/synthesis.py", "--only", "streams", "--batches", "8,64", "--blocks", "3"),
        420.0,
    ),
    Part(
        "sending",
        (_EDGE, "--only", "writev,auralis,centrifuge,icecast", "--sizes", "1600", "--listeners", "400,2000,5000",
         "--seconds", "5"),
        (_EDGE, "--only", "writev,auralis", "--sizes", "1600", "--listeners", "100,400", "--seconds", "2"),
        540.0,
    ),
    Part("telemetry", ("benchmarks/fleet.py", "--seconds", "20"), ("benchmarks/fleet.py", "--seconds", "10"), 120.0),
    Part("leaks", ("benchmarks/leaks.py", "--curves", "20"), ("benchmarks/leaks.py", "--curves", "2"), 120.0),
    Part(
        "protocol",
        ("-m", "services.simulation", "--json", "--edges", "1000", "--streams", "100", "--workers", "20"),
        ("-m", "services.simulation", "--json", "--edges", "40", "--streams", "8", "--workers", "2", "--seconds", "40"),
        180.0,
    ),
)  # fmt: skip


# --- pure: rows into words and lines ---------------------------------------------------------------------------------


def read_rows(output: str) -> list[Row]:
    """The rows in a benchmark's output: its JSON lines. Other lines are for people."""
    rows: list[Row] = []
    for line in output.splitlines():
        if line.startswith("{"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def machine_name(cpu_model: str, cores: int) -> str:
    """A file name for the kind of machine, without its owner: `amd-epyc-7763-2-cores`."""
    words = re.sub(r"\((r|tm)\)|@.*|\b(cpu|processor|\d+-core)\b", " ", cpu_model.lower())
    name = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "unknown"
    return f"{name}-{cores}-cores"


def markdown_table(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A table of `rows`; `columns` maps keys to headings. A missing value is an empty cell."""
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(key)) for key in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def with_ratios(rows: Iterable[Row], key: str, *, against: str, name_key: str, groups: Sequence[str] = ()) -> list[Row]:
    """Add a ratio to each row.

    Args:
        rows: they stay unchanged.
        key: of the value that is divided.
        against: the divisor is the value of the first row in the same groups whose name begins so.
        name_key: key of the name.
        groups: keys whose values must be equal.

    Returns:
        The rows with `ratio`; None if a value or the divisor is missing.
    """
    rows = list(rows)
    bases: dict[tuple[object, ...], Any] = {}
    for row in rows:
        if str(row.get(name_key, "")).startswith(against):
            bases.setdefault(tuple(row.get(group) for group in groups), row.get(key))
    found = []
    for row in rows:
        base = bases.get(tuple(row.get(group) for group in groups))
        value = row.get(key)
        found.append({**row, "ratio": round(value / base, 3) if value is not None and base else None})
    return found


def page(results: Mapping[str, Any]) -> str:
    """The results as a page of Markdown."""
    about = results["about"]
    sections = [
        f"# Measurements on {about['machine']}\n",
        (
            f"{about['cpu']}, {about['cores']} cores; commit {about['commit']}, {about['date']}; load at the beginning "
            f"{about['load']}. Written by `make bench`; compare ratios, the machine may be shared."
        ),
    ]
    if about["quick"]:
        sections.append("**A short run: it shows that everything runs. Do not quote its figures.**")
    for part in results["parts"]:
        commits = sorted({row["commit"] for row in part["rows"] if "commit" in row} or {about["commit"]})
        when = f", at commit {', '.join(commits)}" if commits != [about["commit"]] else ""
        text = [f"## {part['name'].capitalize()}\n", f"`{part['command']}` ({part['seconds']:.0f} s{when})"]
        if part["failed"]:
            text.append(f"Incomplete: {part['failed']}")
        text += tables(part["name"], part["rows"])
        sections.append("\n\n".join(text).replace("\n\n\n", "\n\n"))
    return "\n\n".join(sections).replace("\n\n\n", "\n\n") + "\n"


def tables(name: str, rows: Sequence[Row]) -> list[str]:
    """The tables of one part."""
    if not rows:
        return []
    if name == "rendering":
        return _rendering(rows)
    if name == "sending":
        columns = {
            "server": "server", "listeners": "listeners", "cpu_us_per_message": "µs per message", "ratio": "times C",
            "core_percent": "% of a core", "delivered_percent": "% delivered", "p99_lateness_ms": "p99 lateness, ms",
            "memory_kb_per_listener": "KB per listener",
        }  # fmt: skip
        groups = ("message_bytes", "listeners")
        rows = with_ratios(rows, "cpu_us_per_message", against="writev", name_key="server", groups=groups)
        return [markdown_table(rows, columns)]
    if name == "protocol":
        flat = [{"figure": key, "value": value} for key, value in rows[0].items() if isinstance(value, int | float)]
        return [markdown_table(flat, {"figure": "figure", "value": "value"})]
    unwanted = {"benchmark", "commit", "cores", "machine"}
    return [markdown_table(rows, {key: key.replace("_", " ") for key in rows[0] if key not in unwanted})]


def _rendering(rows: Sequence[Row]) -> list[str]:
    columns: dict[str, dict[str, str]] = {
        "streams": {
            "batch": "streams together", "intensity": "intensity", "streams_in_real_time": "in real time",
            "streams_by_cpu_time": "by processor time", "cpu_ms_per_stream_s": "ms per stream-second",
            "partials_per_stream": "partials per stream",
        },
        "half-load": {"streams": "streams", "block_p50_ms": "block, median ms", "block_p99_ms": "p99, ms"},
        "phrases": {"phrase": "the guide's phrase", "p50_ms": "median ms", "p99_ms": "p99, ms", "ratio": "to batch 8"},
        "peers": {
            "renderer": "per core", "streams_per_core": "streams", "million_voice_samples_per_s": "million partials/s",
            "ratio": "partials, as a share of ours", "remark": "",
        },
        "memory": {
            "streams": "streams", "mb_per_stream": "MB per stream", "blocks": "blocks", "growth_mb": "growth, MB",
            "growth_second_half_mb": "of it in the second half",
        },
    }  # fmt: skip
    found = []
    for kind, wanted in columns.items():
        of_kind = [row for row in rows if row.get("part") == kind]
        if kind == "phrases":
            of_kind = with_ratios(of_kind, "p50_ms", against="batch 8", name_key="phrase")
        if kind == "peers":
            of_kind = with_ratios(of_kind, "million_voice_samples_per_s", against="Auralis", name_key="renderer")
        if of_kind:
            found.append(markdown_table(of_kind, wanted))
    return found


def cost_of_streams(results: Mapping[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Line -> (streams together, milliseconds of a core for a second of one stream)."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in _rows(results, "rendering"):
        if row.get("part") == "streams":
            name = f"Auralis, intensity {row['intensity']}"
            lines.setdefault(name, []).append((row["batch"], row["cpu_ms_per_stream_s"]))
    return {name: sorted(points) for name, points in lines.items()}


def cost_of_listeners(results: Mapping[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Server -> (listeners, per cent of a core)."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in _rows(results, "sending"):
        lines.setdefault(SERVER_NAMES.get(row["server"], row["server"]), []).append(
            (row["listeners"], row["core_percent"])
        )
    return {name: sorted(points) for name, points in lines.items()}


SERVER_NAMES: Final = {"writev": "C, writev in a loop", "auralis": "Auralis"}


def _rows(results: Mapping[str, Any], name: str) -> list[Row]:
    return [row for part in results["parts"] if part["name"] == name for row in part["rows"]]


# --- shell: programs, files, pictures --------------------------------------------------------------------------------


def run(part: Part, *, quick: bool) -> dict[str, Any]:
    """Measure one part."""
    arguments = part.quick if quick else part.arguments
    began_s = time.monotonic()
    failed = ""
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and programs
            [sys.executable, *arguments], cwd=REPO, capture_output=True, text=True, timeout=part.limit_s, check=False
        )
        output = done.stdout
        if done.returncode:
            last_line = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            failed = f"ended with {done.returncode}: {last_line[:200]}"
    except subprocess.TimeoutExpired as error:
        # Rows that the program has printed so far; some print them to standard error.
        output = _text(error.stdout) + _text(error.stderr)
        failed = f"took longer than {part.limit_s:.0f} s"
    rows = read_rows(output)
    return {
        "name": part.name,
        "command": part.command(quick=quick),
        "seconds": round(time.monotonic() - began_s, 1),
        "failed": failed or ("" if rows else "printed no row"),
        "rows": rows,
    }


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def cpu_model() -> str:
    """The processor's own name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def about(*, quick: bool) -> dict[str, Any]:
    """The machine, the commit and the time."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git from PATH, for a label
        cwd=REPO, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    cores = os.cpu_count() or 1
    return {
        "machine": machine_name(cpu_model(), cores),
        "cpu": cpu_model(),
        "cores": cores,
        "commit": commit,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": round(os.getloadavg()[0], 1),
        "quick": quick,
    }


def draw(lines: Mapping[str, Sequence[tuple[float, float]]], path: Path, *, x: str, y: str, title: str) -> None:
    """Draw lines of points; without points, nothing."""
    if not any(len(points) > 1 for points in lines.values()):
        return
    import matplotlib as mpl  # noqa: PLC0415 - only drawing needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, axes = plt.subplots(figsize=(7, 3.8), dpi=130, layout="constrained")
    for name, points in lines.items():
        ours = name.startswith("Auralis")
        axes.plot(*zip(*points, strict=True), marker="o", label=name, linewidth=2.2 if ours else 1.3)
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def write(results: Mapping[str, Any], folder: Path, images: Path) -> list[Path]:
    """Write results, page and pictures; returns the files. A short run does not touch the README's pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    name = results["about"]["machine"] + ("-quick" if results["about"]["quick"] else "")
    written = [folder / f"{name}.json", folder / f"{name}.md"]
    written[0].write_text(json.dumps(results, indent=1) + "\n")
    written[1].write_text(page(results))
    pictures = folder if results["about"]["quick"] else images
    where = results["about"]["cpu"]
    listeners, streams = pictures / "cost-of-listeners.png", pictures / "cost-of-streams.png"
    draw(
        cost_of_listeners(results), listeners,
        x="listeners of one stream (Opus, 1.6 KB ten times a second)", y="% of one core", title=f"Sending, {where}",
    )  # fmt: skip
    draw(
        cost_of_streams(results), streams,
        x="streams rendered together", y="ms of a core for a second of one stream", title=f"Rendering, {where}",
    )  # fmt: skip
    return [*written, *(path for path in (listeners, streams) if path.exists())]


def main() -> None:
    """Measure, or only render again, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two minutes, without valid figures")
    parser.add_argument(
        "--only",
        default=",".join(part.name for part in PARTS),
        help="parts, separated by commas; the others keep their rows",
    )
    parser.add_argument("--render", action="store_true", help="do not measure; write page and pictures again")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--images", type=Path, default=IMAGES)
    options = parser.parse_args()
    present = about(quick=options.quick)
    path = options.results / f"{present['machine']}{'-quick' if options.quick else ''}.json"
    if options.render:
        if not path.exists():
            parser.error(f"{path.name} is not in {options.results.name}; measure first (make bench)")
        results = json.loads(path.read_text())
    else:
        wanted = options.only.split(",")
        unknown = set(wanted) - {part.name for part in PARTS}
        if unknown:
            parser.error(
                f"--only: got {', '.join(sorted(unknown))}, expected some of {', '.join(p.name for p in PARTS)}"
            )
        # Parts that are not measured now keep their rows.
        kept = json.loads(path.read_text())["parts"] if path.exists() else []
        results = {"about": present, "parts": [part for part in kept if part["name"] not in wanted]}
        order = [part.name for part in PARTS]
        for part in PARTS:
            if part.name in wanted:
                print(f"{part.name}: {part.command(quick=options.quick)}", flush=True)
                done = run(part, quick=options.quick)
                print(f"  {len(done['rows'])} rows in {done['seconds']:.0f} s {done['failed']}", flush=True)
                results["parts"] = sorted([*results["parts"], done], key=lambda each: order.index(each["name"]))
                # Written after each part, so that an interrupted run keeps its rows.
                write(results, options.results, options.images)
    for written in write(results, options.results, options.images):
        print(written.relative_to(REPO) if written.is_relative_to(REPO) else written)
    raise SystemExit(1 if any(part["failed"] for part in results["parts"]) else 0)


if __name__ == "__main__":
    main()
