from __future__ import annotations

import json

import numpy as np
import pytest

from services.contract.spec import LAYERS, StreamSpec
from services.contract.timebase import SECTION_S
from services.local.render.score_json import score_json
from services.local.render.score_view import view_score

START = 7_437_500 * SECTION_S
SPEC = StreamSpec("D#", "aeolian", 70, 12, "harbor", 7)
NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B", "C#", "D#", "F#", "G#", "A#")
NOTE_FIELDS = {"time", "duration", "pitch", "name", "velocity", "layer", "instruments", "chord"}


def document(spec: StreamSpec = SPEC, start: int = START, seconds: float = SECTION_S) -> dict[str, object]:
    text = score_json(spec, view_score(spec, start, seconds), start_block=start, seconds=seconds)
    found: dict[str, object] = json.loads(text)
    return found


def test_the_document_says_which_music_it_is() -> None:
    found = document()
    assert (found["format"], found["version"]) == ("auralis-score", 1)
    assert (found["title"], found["stream_id"]) == ("Blended Leaf", SPEC.stream_id)
    assert StreamSpec.from_params(found["stream"]) == SPEC  # type: ignore[arg-type] # an object
    assert (found["start"], found["seconds"]) == (START, SECTION_S)


def test_the_notes_are_those_of_the_score() -> None:
    score = view_score(SPEC, START, SECTION_S)
    notes = document()["notes"]
    assert isinstance(notes, list)
    assert len(notes) == len(score.begin_s) > 100
    assert all(set(note) == NOTE_FIELDS for note in notes)
    times = [note["time"] for note in notes]
    assert times == sorted(times)
    assert times == pytest.approx(sorted(score.begin_s.tolist()), abs=1e-6)
    assert sum(note["duration"] for note in notes) == pytest.approx(np.sum(score.end_s - score.begin_s), abs=0.001)
    assert sorted(note["pitch"] for note in notes) == sorted(score.pitch_midi.tolist())
    assert {note["layer"] for note in notes} <= set(LAYERS)
    assert all(1 <= note["velocity"] <= 127 for note in notes)
    for note in notes:
        letter = note["name"].rstrip("-0123456789")
        octave = int(note["name"][len(letter) :])
        assert 12 * (octave + 1) <= note["pitch"] < 12 * (octave + 2)
        assert letter in NAMES


def test_each_layer_names_its_instruments_and_each_note_has_them() -> None:
    found = document()
    layers, notes, chords = found["layers"], found["notes"], found["chords"]
    assert isinstance(layers, dict)
    assert isinstance(notes, list)
    assert isinstance(chords, list)
    assert set(layers) == set(LAYERS) - {LAYERS[-1]}
    for note in notes:
        assert note["instruments"] == [each["name"] for each in layers[note["layer"]]["instruments"]]
        assert note["chord"] in {chord["name"] for chord in chords}
    assert all(0 <= each["midi_program"] <= 127 for layer in layers.values() for each in layer["instruments"])


def test_a_note_that_sounds_already_begins_at_nought() -> None:
    found = document(start=START + 100, seconds=20.0)
    assert isinstance(found["notes"], list)
    assert found["notes"][0]["time"] == 0.0
    assert all(note["time"] + note["duration"] <= 20.000_001 for note in found["notes"])


def test_a_span_without_notes_is_a_document_too() -> None:
    silent = SPEC.updated({"levels": dict.fromkeys(LAYERS, 0)})
    found = document(silent)
    assert found["notes"] == []
    assert found["chords"]
