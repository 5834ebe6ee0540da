"""What the music must hold, measured as the listening report measures it, for the streams that are heard most.

The report measures all rows over hours; here they are read over less, so that a change that breaks one is seen soon.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.music_report import score
from services.contract.spec import StreamSpec


def test_no_clock_shows_in_the_form(preset: str, first_section: int) -> None:
    assert score.repetition(score.stretch(StreamSpec(preset=preset), first_section, 30)) <= 0.2


def test_passages_do_not_run_dry(preset: str, first_section: int) -> None:
    assert score.last_density(StreamSpec(preset=preset), first_section, 15) >= 0.5


@pytest.mark.long
def test_tension_follows_the_arc(preset: str, first_section: int) -> None:
    found = [score.tension_follows(StreamSpec(preset=preset, seed=seed), first_section, 30) for seed in range(3)]
    assert sum(found) / len(found) >= 0.5


@pytest.mark.long
@pytest.mark.parametrize("bpm", [40, 70, 119, 120, 139, 179])
def test_a_quicker_tempo_has_no_fewer_notes(preset: str, bpm: int, first_section: int) -> None:
    fall, where = score.greatest_fall(StreamSpec(preset=preset), first_section, 6, [bpm, bpm + 1])
    assert fall <= 5.0, where


def test_no_second_of_a_tempo_is_one_of_its_double(preset: str, first_section: int) -> None:
    spec = StreamSpec(preset=preset, intensity_steps=8)
    assert score.equal_seconds(spec, first_section, [60]) == 0


@pytest.mark.long
@pytest.mark.parametrize("mode", ["ionian", "phrygian", "lydian", "locrian"])
def test_low_voices_do_not_growl(preset: str, mode: str, first_section: int) -> None:
    assert score.low_seconds(score.stretch(StreamSpec(preset=preset, mode=mode), first_section, 8)) <= 60


def test_every_chord_has_a_bass(preset: str, first_section: int) -> None:
    assert score.without_bass(StreamSpec(preset=preset), first_section, 4) == 0


def test_ringing_notes_leave_before_they_clash(preset: str, first_section: int) -> None:
    assert score.longest_clash(replace(StreamSpec(preset=preset), intensity_steps=20), first_section, 2) <= 0.5


@pytest.mark.long
def test_passages_are_told_apart(preset: str, first_section: int) -> None:
    found = [score.passages_told_apart(StreamSpec(preset=preset, seed=seed), first_section) for seed in (0, 1)]
    assert sum(found) / len(found) >= 0.5


@pytest.mark.long
def test_seeds_are_told_apart(preset: str, first_section: int) -> None:
    assert score.seeds_told_apart(lambda seed: StreamSpec(preset=preset, seed=seed), first_section) >= 0.6
