"""The table of the report in Markdown, and what is read from it at a glance. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.music_report.limits import LIMITS, OF_ONE_PRESET, SHORT
from benchmarks.music_report.results import ALL, PEER, PRESET, ROWS, Results, Row


def page(results: Results, about: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """The report: what was run, the table, what was not measured and why, the pictures."""
    lines = [
        "# Listening report",
        "",
        ", ".join(f"{name} {value}" for name, value in about.items()) + ".",
        "Bold figures are short of what must hold.",
        "",
        table(results),
        "",
    ]
    reasons = missing(results)
    if reasons:
        lines += ["## Not measured", "", *(f"- {reason}" for reason in reasons), ""]
    lines += [f"![{name}]({name})" for name in pictures]
    return "\n".join(lines) + "\n"


def table(results: Results) -> str:
    """A row for each of ROWS, a column for each preset and peer."""
    presets, peers = (list(dict.fromkeys(f.name for f in results.figures if f.kind == kind)) for kind in (PRESET, PEER))
    head = ["", "unit", *presets, *(f"*{name}*" for name in peers), "all", "must hold", ""]
    lines = [_line(head), "|---" * len(head) + "|"]
    for row in ROWS:
        if not any(figure.row == row.key for figure in results.figures):
            continue
        cells = [_cell(results, row, name) for name in (*presets, *peers, "")]
        lines.append(_line([row.title, row.unit, *cells, _must(row), results.verdict(row.key)]))
    return "\n".join(lines)


def missing(results: Results) -> list[str]:
    """Why rows have gaps: a line for each reason, with its rows and the sources that they lack."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for figure in results.figures:
        if figure.value is None:
            title = next(row.title for row in ROWS if row.key == figure.row)
            found.setdefault(figure.note, {}).setdefault(title, {})[figure.name or ALL] = None
    lines = []
    for note, rows in found.items():
        # Rows of an area share their reason and the sources that lack them.
        same = len({tuple(names) for names in rows.values()}) == 1
        named = [f"{title} ({', '.join(names)})" for title, names in rows.items()]
        if same:
            named = [f"{', '.join(rows)} ({', '.join(next(iter(rows.values())))})"]
        lines.append(f"{note}: {'; '.join(named)}")
    return lines


def summary(results: Results) -> str:
    """How many rows hold, in a sentence."""
    verdicts = {row.key: results.verdict(row.key) for row in ROWS}
    judged = [key for key, verdict in verdicts.items() if verdict]
    short = [row.title for row in ROWS if verdicts[row.key] == SHORT]
    text = f"{len(judged) - len(short)} of {len(judged)} rows hold"
    return f"{text}; short of: {', '.join(short)}." if short else f"{text}."


def _must(row: Row) -> str:
    if row.key in LIMITS:
        return LIMITS[row.key].text
    return ", ".join(f"{name} {limit.text}" for (key, name), limit in OF_ONE_PRESET.items() if key == row.key)


def _cell(results: Results, row: Row, name: str) -> str:
    figure = results.get(row.key, name)
    if figure is None:
        return ""
    if figure.value is None:
        return "-"
    text = f"{figure.value:,.{row.decimals}f}"
    return f"**{text}**" if figure.verdict == SHORT else text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
