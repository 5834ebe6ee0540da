"""Each measure of the score, on notes whose answer is known; and the rows of the whole area."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.music_report import lines, score, score_rows
from benchmarks.music_report.lines import Heard
from benchmarks.music_report.results import ROWS
from benchmarks.music_report.score import Stretch
from services.contract.spec import StreamSpec
from services.synthesis.score.events import Layer


def stretch(rows: list[tuple[float, float, float]], seconds: float = 240.0, layer: Layer = Layer.PAD) -> Stretch:
    """Notes of one layer: begin, end, pitch."""
    begin, end, pitch = np.array(rows, np.float64).T
    return Stretch(begin, end, pitch, np.ones(len(rows)), np.full(len(rows), layer, np.uint8), (), seconds)


def test_what_comes_back_each_minute_is_found_and_what_does_not_is_not() -> None:
    clock = [(at + part, at + part + 1.0, 60.0) for at in np.arange(0.0, 7200.0, 60.0) for part in range(8)]
    chance = np.random.default_rng(1).uniform(0.0, 7200.0, 900)
    assert score.repetition(stretch(clock, 7200.0)) > 0.9
    assert score.repetition(stretch([(at, at + 1.0, 60.0) for at in np.sort(chance)], 7200.0)) < 0.15


def test_low_semitones_count_once_and_high_ones_not_at_all() -> None:
    low = [(0.0, 10.0, 48.0), (4.0, 9.0, 49.0), (5.0, 9.0, 47.0)]
    assert score.low_seconds(stretch(low, 3600.0)) == pytest.approx(5.0)
    assert score.low_seconds(stretch([(0.0, 10.0, 72.0), (4.0, 9.0, 73.0)], 3600.0)) == 0.0
    assert score.low_seconds(stretch([(0.0, 10.0, 48.0), (4.0, 9.0, 50.0)], 3600.0)) == 0.0


def test_held_notes_and_onsets_are_counted() -> None:
    heard = stretch([(0.0, 120.0, 60.0), (60.0, 120.0, 64.0)])
    assert score.sounding(heard) == pytest.approx(0.75)
    assert score.notes_a_minute(heard) == pytest.approx(0.5)


def test_classes_that_differ_are_told_apart_and_equal_ones_are_not() -> None:
    random = np.random.default_rng(2)
    apart = [[random.normal(number, 0.2, 5) for _ in range(40)] for number in range(4)]
    equal = [[random.normal(0.0, 0.2, 5) for _ in range(40)] for _ in range(4)]
    assert score.told_apart([rows[::2] for rows in apart], [rows[1::2] for rows in apart]) > 0.9
    assert score.told_apart([rows[::2] for rows in equal], [rows[1::2] for rows in equal]) < 0.5


def test_a_window_has_the_chroma_of_its_own_notes() -> None:
    heard = stretch([(0.0, 10.0, 60.0), (10.0, 20.0, 67.0)], 20.0)
    first, second = score.features(heard, 0.0, 10.0), score.features(heard, 10.0, 10.0)
    assert first[0] == second[7] == pytest.approx(4.0)
    assert first[7] == second[0] == 0.0


def phrase(pitches: tuple[int, ...], at_s: float = 0.0, *, answers: bool = False, at_rest: bool = False) -> Heard:
    onsets_s = tuple(at_s + number for number in range(len(pitches)))
    return Heard(at_s, pitches, pitches, onsets_s, answers, at_rest)


def test_steps_leaps_and_ends_are_counted() -> None:
    found = [phrase((60, 62, 64, 64, 71, 69)), phrase((60, 67, 72), answers=True), phrase((60, 62), answers=True)]
    found[1] = phrase((60, 67, 72), answers=True, at_rest=True)
    assert lines.steps(found) == pytest.approx(4 / 8)
    assert lines.leaps_filled(found) == pytest.approx(1 / 2)
    assert lines.answers_at_rest(found) == pytest.approx(1 / 2)
    assert lines.notes_a_phrase(found) == pytest.approx(11 / 3)


def test_a_theme_that_comes_back_turned_is_found_and_one_that_is_merely_repeated_is_not() -> None:
    theme, turned = (60, 62, 64, 63, 61), (70, 68, 66, 67, 69)
    other = (60, 61, 60, 65, 61)
    assert lines.come_back([phrase(theme), phrase(turned, 2000.0)], [phrase(other)]) == (1.0, 0.0)
    assert lines.come_back([phrase(theme), phrase(theme, 2000.0)], [phrase(other)])[0] == 0.0
    assert lines.come_back([phrase(theme), phrase(turned, 600.0)], [phrase(other)])[0] == 0.0


def test_every_row_of_the_score_is_in_the_table_and_has_a_figure() -> None:
    assert set(score_rows.ROWS) == {row.key for row in ROWS if row.key.startswith("score.")}
    extent = score_rows.brief(score_rows.extent_from(1_764_000_000))
    for row in score_rows.ROWS:
        value, _ = score_rows.measure(StreamSpec(preset="harbor"), extent, row)
        assert np.isfinite(value), row
