from __future__ import annotations

import itertools

import pytest

from services.contract.spec import MODES
from services.synthesis.score.theory import (
    BY_BRIGHTNESS,
    CHARACTERISTIC,
    KINDS,
    QUALITIES,
    SCALES,
    chord_intervals,
    chord_name,
    note_name,
    semitones,
)


def test_the_modes_are_the_seven_of_the_textbook() -> None:
    assert SCALES == {
        "ionian": (0, 2, 4, 5, 7, 9, 11),
        "dorian": (0, 2, 3, 5, 7, 9, 10),
        "phrygian": (0, 1, 3, 5, 7, 8, 10),
        "lydian": (0, 2, 4, 6, 7, 9, 11),
        "mixolydian": (0, 2, 4, 5, 7, 9, 10),
        "aeolian": (0, 2, 3, 5, 7, 8, 10),
        "locrian": (0, 1, 3, 5, 6, 8, 10),
    }


def test_neighbours_in_brightness_differ_by_one_lowered_note() -> None:
    assert set(BY_BRIGHTNESS) == set(MODES)
    for bright, dark in itertools.pairwise(BY_BRIGHTNESS):
        steps = [b - d for b, d in zip(SCALES[bright], SCALES[dark], strict=True)]
        assert sorted(steps) == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("mode", MODES)
def test_the_characteristic_degree_tells_a_mode_from_a_neighbour(mode: str) -> None:
    place = BY_BRIGHTNESS.index(mode)
    neighbours = [BY_BRIGHTNESS[other] for other in (place - 1, place + 1) if 0 <= other < 7]
    note = semitones(mode, CHARACTERISTIC[mode])
    assert any(note not in SCALES[other] for other in neighbours)


def test_degrees_go_on_over_the_octave_in_both_directions() -> None:
    assert [semitones("dorian", degree) for degree in (-8, -7, -1, 0, 2, 7, 9)] == [-14, -12, -2, 0, 3, 12, 15]


@pytest.mark.parametrize("mode", MODES)
def test_every_chord_lies_in_its_mode(mode: str) -> None:
    found = 0
    for root in range(7):
        for kind in KINDS:
            intervals = chord_intervals(mode, root, kind)
            if intervals is not None:
                found += 1
                assert {(semitones(mode, root) + interval) % 12 for interval in intervals} <= set(SCALES[mode])
    assert found > 30


def test_diminished_chords_are_used_only_where_they_are_home() -> None:
    for mode in MODES:
        for root in range(7):
            for kind in KINDS:
                intervals = chord_intervals(mode, root, kind)
                if intervals is not None and 7 not in intervals:
                    assert (mode, root) == ("locrian", 0)
    assert chord_intervals("locrian", 0, "seventh") == (0, 3, 6, 10)


@pytest.mark.parametrize(
    ("key", "chord", "name"),
    [
        ((0, "ionian"), (1, "ninth", 2), "Dm9"),
        ((0, "ionian"), (4, "sus2", 2), "Gsus2/D"),
        ((0, "ionian"), (0, "seventh", 0), "Cmaj7"),
        ((0, "lydian"), (0, "eleventh", 4), "Cmaj7#11/E"),
        ((9, "aeolian"), (0, "add9", 0), "Amadd9"),
        ((8, "ionian"), (3, "triad", 5), "Db"),
        ((6, "ionian"), (0, "triad", 0), "F#"),
        ((10, "mixolydian"), (6, "sixth9", 10), "Ab69"),
        ((4, "phrygian"), (1, "triad", 1), "F"),
        ((11, "locrian"), (0, "seventh", 0), "Bm7b5"),
    ],
)
def test_chords_have_the_names_that_people_use(key: tuple[int, str], chord: tuple[int, str, int], name: str) -> None:
    (tonic, mode), (root, kind, bass) = key, chord
    intervals = chord_intervals(mode, root, kind)
    assert intervals is not None
    assert chord_name(tonic, mode, root, intervals, bass) == name


def test_a_flat_nine_over_a_minor_chord_is_not_used() -> None:
    assert chord_intervals("dorian", 1, "ninth") is None


def test_names_differ_between_chords() -> None:
    assert len(set(QUALITIES.values())) == len(QUALITIES)


def test_flats_are_written_in_keys_with_flats() -> None:
    assert note_name(10, 5, "ionian") == "Bb"
    assert note_name(10, 11, "ionian") == "A#"
    assert note_name(3, 0, "dorian") == "Eb"
