"""What the listening report renders: streams, lone notes, rooms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.music_report.instrument_notes import NOTE_S, STROKES, instrument_notes
from benchmarks.music_report.low_end import centroid_hz
from benchmarks.music_report.sound import level_db
from benchmarks.music_report.studio import Studio, room_response
from services.contract.spec import PRESETS, StreamSpec
from services.synthesis.score.events import Layer


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    made = Studio(eager=True)
    yield made
    made.close()


def test_a_window_is_what_is_written_to_a_file(studio: Studio, tmp_path: Path) -> None:
    spec = StreamSpec(preset="lantern")
    whole = studio.wav(spec, 3, tmp_path / "lantern.wav")
    first, last = studio.windows(spec, [0, 2], 1)
    assert np.array_equal(first.samples, whole.part(0.0, 1.0).samples)
    assert np.array_equal(last.samples, whole.part(2.0, 3.0).samples)


def test_a_lone_note_is_alone(studio: Studio) -> None:
    note = studio.note(StreamSpec(preset="lantern"), Layer.PAD, hold_s=2.0, seconds=6)
    held = level_db(note.part(2.0, 3.0).samples)
    assert level_db(note.part(0.0, 0.9).samples) < held - 40.0
    assert level_db(note.part(5.5, 6.0).samples) < held - 30.0


def test_notes_of_an_instrument_are_soft_and_loud_low_and_high_and_alone(studio: Studio) -> None:
    (sounds,) = instrument_notes(studio, ["piano"]).values()
    by_name = dict(zip((stroke.name for stroke in STROKES), sounds, strict=True))
    assert {sound.seconds for sound in sounds} == {NOTE_S}
    for place in ("low", "high"):
        soft, loud = (by_name[f"{place}, {how}"].part(0.3, 2.0) for how in ("soft", "loud"))
        assert level_db(loud.samples) > level_db(soft.samples) + 6.0
    assert centroid_hz(by_name["high, loud"]) > 4.0 * centroid_hz(by_name["low, loud"])
    assert all(level_db(sound.part(0.0, 0.2).samples) < level_db(sound.samples) - 20.0 for sound in sounds)


def test_a_stream_without_its_room_is_the_same_but_for_the_room(studio: Studio) -> None:
    full, dry = studio.full_and_dry(StreamSpec(preset="lantern"), [10], 2)
    wet = level_db(full.samples - dry.samples)
    assert level_db(dry.samples) - 30.0 < wet < level_db(dry.samples) + 6.0


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_room(preset: str) -> None:
    response = room_response(preset)
    assert response.samples.shape[1] == 2
    assert response.seconds >= 1.0
    assert np.abs(response.samples).max() > 0.0
