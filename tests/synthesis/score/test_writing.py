from __future__ import annotations

import numpy as np
import pytest

from services.synthesis.score.events import Layer
from services.synthesis.score.hashing import Dice
from services.synthesis.score.writing import Sheet


def test_notes_come_out_in_order_of_onset_and_in_the_key() -> None:
    sheet = Sheet()
    sheet.add(Layer.PAD, 5.0, 1.0, 60, gain=0.5)
    sheet.add(Layer.BASS, 2.0, 1.0, 40, gain=0.5)
    ones = np.ones(2)
    sheet.add_many(
        Layer.PULSE, np.array([3.0, 1.0]), ones, 50 * ones, gain=ones, pan=0 * ones, brightness=ones, threshold=ones
    )
    notes = sheet.notes(-5, Dice(0))
    assert notes.onset_s.tolist() == [1.0, 2.0, 3.0, 5.0]
    assert notes.pitch_midi.tolist() == [45, 35, 45, 55]
    assert notes.layer.tolist() == [Layer.PULSE, Layer.BASS, Layer.PULSE, Layer.PAD]
    assert notes.layer.dtype == np.uint8
    assert notes.gain.dtype == notes.pan.dtype == notes.brightness.dtype == notes.threshold.dtype == np.float32
    assert notes.seed.dtype == np.uint32


def test_a_note_after_the_section_is_left_out_and_one_before_it_begins_with_it() -> None:
    sheet = Sheet()
    sheet.add(Layer.MELODY, 240.0, 1.0, 60, gain=0.5)
    sheet.add(Layer.MELODY, -0.01, 1.0, 60, gain=0.5)
    assert sheet.notes(0, Dice(0)).onset_s.tolist() == [0.0]


@pytest.mark.parametrize(
    ("wish", "first_step"),
    [(-0.3, 0), (0.0, 0), (0.01, 1), (0.049, 1), (0.051, 2), (0.5, 11), (0.99, 20), (1.0, 20), (1.7, 20)],
)
def test_a_threshold_lies_between_two_intensities(wish: float, first_step: int) -> None:
    sheet = Sheet()
    sheet.add(Layer.PAD, 0.0, 1.0, 60, gain=0.5, threshold=wish)
    threshold = float(sheet.notes(0, Dice(0)).threshold[0])
    sounding = [step for step in range(21) if threshold <= step / 20]
    assert sounding == list(range(first_step, 21))


def test_more_notes_in_one_layer_leave_the_seeds_of_others_alone() -> None:
    seeds = []
    for beats in (1, 3):
        sheet = Sheet()
        sheet.add(Layer.PAD, 5.0, 1.0, 60, gain=0.5)
        for beat in range(beats):
            sheet.add(Layer.PULSE, float(beat), 1.0, 60, gain=0.5)
        notes = sheet.notes(0, Dice(0))
        seeds.append(int(notes.seed[notes.layer == Layer.PAD][0]))
    assert seeds[0] == seeds[1]
