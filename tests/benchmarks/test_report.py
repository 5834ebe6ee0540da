from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report

OUTPUT = """Streams in real time
{not json
batch  streams
    8      800
{"part": "streams", "batch": 8}
[1, 2]
{"part": "peers", "renderer": "Csound"}
"""


def results(*, quick: bool = False, failed: str = "") -> dict[str, Any]:
    return {
        "about": {
            "machine": "amd-epyc-2-cores", "cpu": "AMD EPYC", "cores": 2, "commit": "abc1234", "date": "2026-11-23",
            "load": 0.1, "quick": quick,
        },
        "parts": [
            {
                "name": "rendering", "command": ".venv/bin/python benchmarks/synthesis.py", "seconds": 12.0,
                "failed": failed,
                "rows": [
                    {"part": "streams", "batch": 64, "intensity": 0.5, "streams_in_real_time": 957.0,
                     "cpu_ms_per_stream_s": 1.8},
                    {"part": "streams", "batch": 8, "intensity": 0.5, "streams_in_real_time": 791.0,
                     "cpu_ms_per_stream_s": 2.2},
                    {"part": "phrases", "phrase": "batch 8", "p50_ms": 10.0, "p99_ms": 12.0},
                    {"part": "phrases", "phrase": "batch 8, eager", "p50_ms": 50.0, "p99_ms": 52.0},
                    {"part": "peers", "renderer": "Auralis, compiled", "million_voice_samples_per_s": 1785},
                    {"part": "peers", "renderer": "Csound", "million_voice_samples_per_s": 136},
                ],
            },
            {
                "name": "sending", "command": ".venv/bin/python benchmarks/edge.py", "seconds": 9.0, "failed": "",
                "rows": [
                    {"server": server, "message_bytes": 1600, "listeners": listeners, "cpu_us_per_message": cost,
                     "core_percent": cost * listeners / 1000}
                    for listeners in (400, 4000)
                    for server, cost in (("writev", 7.0), ("auralis", 14.0))
                ],
            },
        ],
    }  # fmt: skip


def test_the_rows_of_a_benchmark_are_the_json_objects_in_its_output() -> None:
    assert report.read_rows(OUTPUT) == [{"part": "streams", "batch": 8}, {"part": "peers", "renderer": "Csound"}]
    assert report.read_rows("") == []


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763-2-cores"),
        ("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "intel-xeon-gold-6338-2-cores"),
        ("Apple M3 Pro", "apple-m3-pro-2-cores"),
        ("", "unknown-2-cores"),
        ("../../etc", "etc-2-cores"),
    ],
)
def test_a_machine_is_named_by_its_processor(model: str, expected: str) -> None:
    assert report.machine_name(model, 2) == expected


def test_ratios_are_relative_to_the_named_row_of_the_same_group() -> None:
    rows = results()["parts"][1]["rows"]
    rows_with_ratios = report.with_ratios(
        rows, "cpu_us_per_message", against="writev", name_key="server", groups=("listeners",)
    )
    assert [row["ratio"] for row in rows_with_ratios] == [1.0, 2.0, 1.0, 2.0]
    assert "ratio" not in rows[0]


def test_ratios_are_relative_to_the_first_row_with_the_prefix() -> None:
    rows = [{"phrase": "batch 8", "ms": 10.0}, {"phrase": "batch 8, eager", "ms": 50.0}]
    assert [row["ratio"] for row in report.with_ratios(rows, "ms", against="batch 8", name_key="phrase")] == [1.0, 5.0]


def test_a_part_of_an_earlier_commit_names_it() -> None:
    changed = results()
    changed["parts"][0]["rows"][0]["commit"] = changed["about"]["commit"]
    changed["parts"][1]["rows"][0]["commit"] = "0ldc0de"
    page = report.page(changed)
    assert page.count("at commit 0ldc0de") == page.count("at commit") == 1


def test_a_ratio_without_a_divisor_is_empty() -> None:
    rows = [{"server": "auralis", "cost": 3.0}, {"server": "broken", "cost": None}]
    assert [row["ratio"] for row in report.with_ratios(rows, "cost", against="writev", name_key="server")] == [None] * 2


def test_a_missing_value_is_an_empty_cell() -> None:
    assert report.markdown_table([{"a": 1234, "b": 0.123456}, {"a": None}], {"a": "A", "b": "B"}) == (
        "| A | B |\n|---|---|\n| 1,234 | 0.123 |\n|  |  |"
    )


def test_the_page_has_the_command_of_each_figure_and_ratios() -> None:
    page = report.page(results())
    assert "`.venv/bin/python benchmarks/synthesis.py` (12 s)" in page
    assert "| auralis | 4,000 | 14 | 2 |" in page
    assert "| Csound |  | 136 | 0.076 |" in page
    assert "Do not quote" not in page
    assert "Incomplete" not in page
    assert "\n\n\n" not in page


def test_the_page_says_what_failed_and_that_a_run_was_short() -> None:
    page = report.page(results(quick=True, failed="took longer than 420 s"))
    assert "Incomplete: took longer than 420 s" in page
    assert "Do not quote its figures" in page


def test_pictures_show_cost_against_listeners_and_streams(tmp_path: Path) -> None:
    assert report.cost_of_listeners(results()) == {
        "C, writev in a loop": [(400, 2.8), (4000, 28.0)],
        "Auralis": [(400, 5.6), (4000, 56.0)],
    }
    assert report.cost_of_streams(results()) == {"Auralis, intensity 0.5": [(8, 2.2), (64, 1.8)]}
    written = report.write(results(), tmp_path / "results", tmp_path / "images")
    assert [path.name for path in written] == [
        "amd-epyc-2-cores.json", "amd-epyc-2-cores.md", "cost-of-listeners.png", "cost-of-streams.png",
    ]  # fmt: skip
    assert json.loads(written[0].read_text()) == results()
    assert all(10_000 < path.stat().st_size < 300_000 for path in written[2:])


def test_a_short_run_does_not_touch_the_readmes_pictures(tmp_path: Path) -> None:
    written = report.write(results(quick=True), tmp_path / "results", tmp_path / "images")
    assert not (tmp_path / "images").exists()
    assert written[0].name == "amd-epyc-2-cores-quick.json"


def test_a_part_that_fails_is_named_with_its_last_line(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("print('{\"a\": 1}')\nraise SystemExit('no compiler')\n")
    done = report.run(report.Part("x", (str(program),), (), 20.0), quick=False)
    assert done["rows"] == [{"a": 1}]
    assert done["failed"] == "ended with 1: no compiler"
    program.write_text("import time\nprint('{\"a\": 2}', flush=True)\ntime.sleep(30)\n")
    done = report.run(report.Part("x", (str(program),), (), 1.0), quick=False)
    assert (done["rows"], done["failed"]) == ([{"a": 2}], "took longer than 1 s")
    program.write_text("print('nothing')\n")
    assert report.run(report.Part("x", (str(program),), (), 20.0), quick=False)["failed"] == "printed no row"


@pytest.mark.parametrize("part", report.PARTS, ids=lambda part: part.name)
@pytest.mark.parametrize("quick", [False, True], ids=["whole", "quick"])
def test_every_program_exists(part: report.Part, quick: bool) -> None:  # noqa: FBT001 - a parameter
    first, *rest = part.quick if quick else part.arguments
    path = Path(*rest[0].split("."), "__main__.py") if first == "-m" else Path(first)
    assert (report.REPO / path).is_file()


def test_the_committed_pages_match_the_results() -> None:
    for path in report.RESULTS.glob("*.json"):
        assert path.with_suffix(".md").read_text() == report.page(json.loads(path.read_text())), path.name
