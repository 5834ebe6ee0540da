"""The listening report's table, limits and outside ear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import music
from benchmarks.music_report import ear, limits
from benchmarks.music_report.areas import AREAS
from benchmarks.music_report.limits import LIVELIEST, MEDIAN, OK, SHORT, UNKNOWN, Limit
from benchmarks.music_report.page import missing, page, summary
from benchmarks.music_report.results import ALL, PEER, PRESET, ROWS, Results
from benchmarks.music_report.sound import Sound, read_wav, write_wav
from benchmarks.music_report.studio import NotMeasuredError
from services.contract.spec import PRESETS

SAID = """a piece by a person, from the other people's: median 395 (311 to 558); sine organ 1404; pink noise 1461
                              people   organ         nearest person   rms  step
presets/drift                    714     261           ocean    404   8.3   7.3
presets/tundra                   489     947           ocean    252   5.5   5.6
peers/xanadu                     580     898        ambient3    404  12.6  13.7
presets: 2 together from people 483; 14.0 apart
peers: 1 together from people 535; nan apart
"""


def test_every_limit_is_of_a_row() -> None:
    rows = {row.key for row in ROWS}
    assert set(limits.LIMITS) <= rows
    assert {row for row, _ in limits.OF_ONE_PRESET} <= rows


@pytest.mark.parametrize(
    ("limit", "values", "verdict"),
    [
        (Limit(high=6.0), [5.0, 6.0], OK),
        (Limit(high=6.0), [5.0, 6.1], SHORT),
        (Limit(low=-8.0, high=-4.5, scope=MEDIAN), [-12.0, -6.0, -5.0], OK),
        (Limit(low=-8.0, high=-4.5, scope=MEDIAN), [-12.0, -9.0, -5.0], SHORT),
        (Limit(low=45.0, scope=LIVELIEST), [20.0, 46.0, 45.0], OK),
        (Limit(low=45.0, scope=LIVELIEST), [20.0, 44.0, 60.0], SHORT),
        (Limit(low=0.9), [np.nan], UNKNOWN),
    ],
)
def test_a_limit_judges_the_presets_that_it_speaks_of(limit: Limit, values: list[float], verdict: str) -> None:
    assert limit.judge(values) == verdict


def results() -> Results:
    found = Results()
    found.add("low.beat", PRESET, "drift", 14.0)
    found.add("low.beat", PRESET, "tundra", 3.0)
    found.add("low.beat", PEER, "trapped", None, "csound is not on PATH")
    found.add("space.t30_500", PRESET, "cathedral", 2.4)
    found.add("ear.together", ALL, "", 250.0)
    found.add("low.correlation", PRESET, "drift", float("nan"), "silent")
    return found


def test_the_table_shows_each_figure_with_its_limit_and_verdict() -> None:
    text = page(results(), {"commit": "abc1234"}, ["drift.png"])
    assert "|  | unit | drift | tundra | cathedral | *trapped* | all | must hold |  |" in text
    assert "| fundamental below 120 Hz moves | dB | **14.0** | 3.0 |  | - |  | <= 6 | short of |" in text
    assert "| T30 at 500 Hz | s |  |  | **2.4** |  |  | cathedral >= 5 | short of |" in text
    assert "| outside ear: all presets together from people |  |  |  |  |  | 250 | <= 300 | ok |" in text
    assert "![drift.png](drift.png)" in text


def test_what_was_not_measured_has_its_reason() -> None:
    assert missing(results()) == [
        "csound is not on PATH: fundamental below 120 Hz moves (trapped)",
        "silent: correlation below 120 Hz, least (drift)",
    ]


def test_the_summary_names_what_is_short() -> None:
    assert summary(results()) == "1 of 3 rows hold; short of: fundamental below 120 Hz moves, T30 at 500 Hz."


def test_a_figure_in_json_carries_its_limit_and_verdict() -> None:
    figures = {(figure.row, figure.name): figure.as_json() for figure in results().figures}
    assert figures["low.beat", "drift"] == {
        "row": "low.beat", "kind": "preset", "name": "drift", "value": 14.0, "unit": "dB", "must": "<= 6",
        "verdict": "short of", "note": "",
    }  # fmt: skip
    assert figures["low.beat", "trapped"]["value"] is None
    assert figures["low.beat", "trapped"]["verdict"] == ""


def test_a_row_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 'low\.beet'"):
        Results().add("low.beet", PRESET, "drift", 1.0)


def test_what_the_ear_prints_is_read() -> None:
    said = ear.read(SAID)
    assert said.files["presets", "drift"] == ear.Heard(714.0, 261.0, 404.0, "ocean", 8.3, 7.3)
    assert said.together["presets"] == 483.0
    assert said.apart["presets"] == 14.0
    assert np.isnan(said.apart["peers"])


def test_without_an_ear_the_reason_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotMeasuredError, match="no outside ear was named"):
        ear.listen(None, {})
    with pytest.raises(NotMeasuredError, match="expected a folder that holds the program"):
        ear.listen(tmp_path, {})


def test_an_ear_is_called_with_its_groups_and_its_failure_is_told(tmp_path: Path) -> None:
    program = tmp_path / "jury"
    program.write_text(f"#!/bin/sh\n[ \"$1 $2\" = 'report presets={tmp_path}' ] || exit 3\ncat <<'E'\n{SAID}E\n")
    program.chmod(0o755)
    assert ear.listen(tmp_path, {"presets": tmp_path}).together["presets"] == 483.0
    program.write_text("#!/bin/sh\necho first: jury setup >&2\nexit 2\n")
    with pytest.raises(NotMeasuredError, match="ended with 2: first: jury setup"):
        ear.listen(tmp_path, {"presets": tmp_path})


def test_a_wav_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(-0.9, 0.9, (1000, 2)).astype(np.float32)
    write_wav(tmp_path / "noise.wav", Sound(samples, 44_100))
    read = read_wav(tmp_path / "noise.wav")
    assert read.rate_hz == 44_100
    assert np.abs(read.samples - samples).max() < 2.0 / 32_768.0


def test_an_unknown_preset_or_area_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    for option, known in (("--presets", "drift"), ("--areas", "tone")):
        with pytest.raises(SystemExit, match="2"):
            music.read_options([option, "drift,nothing"])
        said = capsys.readouterr().err
        assert f"{option}: got 'drift,nothing', expected some of" in said
        assert known in said


def test_every_preset_and_area_is_measured_unless_some_are_chosen() -> None:
    assert music.read_options([]).presets == list(PRESETS)
    assert music.read_options(["--areas", "tone,air"]).areas == ["tone", "air"]


def test_each_row_belongs_to_an_area() -> None:
    keys = {key for area in AREAS for key in music.rows_of(area)}
    assert keys == {row.key for row in ROWS}
