from __future__ import annotations

import numpy as np
import pytest

from services.synthesis.score.events import Layer
from services.synthesis.score.hashing import Dice
from services.synthesis.score.writing import Harmony, Sheet, join

C_TO_F = Harmony([0.0, 100.0], [frozenset({0, 4, 7}), frozenset({5, 9, 0})])
LENGTH_S = 100.0


def _sheet() -> Sheet:
    return Sheet(LENGTH_S)


def test_notes_come_out_in_order_of_onset() -> None:
    sheet = _sheet()
    sheet.add(Layer.PAD, 5.0, 1.0, 60, gain=0.5)
    sheet.add(Layer.BASS, 2.0, 1.0, 40, gain=0.5)
    ones = np.ones(2)
    sheet.add_many(
        Layer.PULSE, np.array([3.0, 1.0]), ones, 50 * ones, gain=ones, pan=0 * ones, brightness=ones, threshold=ones
    )
    notes = sheet.notes(Dice(0), C_TO_F)
    assert notes.onset_s.tolist() == [1.0, 2.0, 3.0, 5.0]
    assert notes.pitch_midi.tolist() == [50, 40, 50, 60]
    assert notes.layer.tolist() == [Layer.PULSE, Layer.BASS, Layer.PULSE, Layer.PAD]
    assert notes.layer.dtype == np.uint8
    assert notes.gain.dtype == notes.pan.dtype == notes.brightness.dtype == notes.threshold.dtype == np.float32
    assert notes.seed.dtype == np.uint32


def test_a_note_after_the_passage_is_left_out_and_one_before_it_begins_with_it() -> None:
    sheet = _sheet()
    sheet.add(Layer.MELODY, 100.0, 1.0, 60, gain=0.5)
    sheet.add(Layer.MELODY, -0.01, 1.0, 60, gain=0.5)
    assert sheet.notes(Dice(0), C_TO_F).onset_s.tolist() == [0.0]


def _end_s(layer: Layer, pitch: int, onset_s: float = 95.0, harmony: Harmony = C_TO_F) -> float:
    sheet = _sheet()
    sheet.add(layer, onset_s, 20.0, pitch, gain=0.5)
    notes = sheet.notes(Dice(0), harmony)
    return float((notes.onset_s + notes.duration_s)[0])


def test_a_note_leaves_before_it_clashes_and_stays_where_it_does_not() -> None:
    assert _end_s(Layer.MELODY, 76) == pytest.approx(100.15)  # E beside F
    assert _end_s(Layer.MELODY, 72) == pytest.approx(115.0)  # C is a tone of F major
    assert _end_s(Layer.SHIMMER, 79) == pytest.approx(115.0)  # G is beside none of its tones


def test_a_note_that_has_just_begun_is_held_for_a_moment() -> None:
    assert _end_s(Layer.MELODY, 76, onset_s=99.99) == pytest.approx(100.24)


def test_a_note_passes_a_chord_that_it_suits_and_leaves_before_the_next() -> None:
    harmony = Harmony([0.0, 97.0, 100.0], [frozenset({0, 4}), frozenset({4, 7}), frozenset({5, 9})])
    assert _end_s(Layer.PAD, 64, harmony=harmony) == pytest.approx(100.15)


def test_the_drone_stays_under_the_chords_of_its_passage() -> None:
    harmony = Harmony([0.0, 97.0, 100.0], [frozenset({0, 4}), frozenset({1, 5}), frozenset({0, 4})])
    assert _end_s(Layer.DRONE, 36, harmony=harmony) == pytest.approx(115.0)
    assert _end_s(Layer.BASS, 36, harmony=harmony) == pytest.approx(97.15)


def test_a_section_has_the_notes_that_begin_in_it_and_no_note_twice() -> None:
    sheet = _sheet()
    for onset_s in (0.0, 10.0, 40.0 - 1e-9, 40.0, 99.0):
        sheet.add(Layer.PAD, onset_s, 1.0, 60, gain=0.5)
    notes = sheet.notes(Dice(0), C_TO_F)
    first, second = join([(notes, 200.0)]), join([(notes, -40.0)])
    assert first.onset_s.tolist() == pytest.approx([200.0, 210.0])
    assert second.onset_s.tolist() == pytest.approx([0.0, 0.0, 59.0])
    assert len(first) + len(second) == len(notes)
    assert first.seed.tolist() + second.seed.tolist() == notes.seed.tolist()


@pytest.mark.parametrize(
    ("wish", "first_step"),
    [(-0.3, 0), (0.0, 0), (0.01, 1), (0.049, 1), (0.051, 2), (0.5, 11), (0.99, 20), (1.0, 20), (1.7, 20)],
)
def test_a_threshold_lies_between_two_intensities(wish: float, first_step: int) -> None:
    sheet = _sheet()
    sheet.add(Layer.PAD, 0.0, 1.0, 60, gain=0.5, threshold=wish)
    threshold = float(sheet.notes(Dice(0), C_TO_F).threshold[0])
    sounding = [step for step in range(21) if threshold <= step / 20]
    assert sounding == list(range(first_step, 21))


def test_more_notes_in_one_layer_leave_the_seeds_of_others_alone() -> None:
    seeds = []
    for beats in (1, 3):
        sheet = _sheet()
        sheet.add(Layer.PAD, 5.0, 1.0, 60, gain=0.5)
        for beat in range(beats):
            sheet.add(Layer.PULSE, float(beat), 1.0, 60, gain=0.5)
        notes = sheet.notes(Dice(0), C_TO_F)
        seeds.append(int(notes.seed[notes.layer == Layer.PAD][0]))
    assert seeds[0] == seeds[1]
