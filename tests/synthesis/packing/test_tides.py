"""How parts and layers come and go, how a held note breathes, and what below 120 Hz stands still."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.synthesis.dsp.control import COLUMNS, Column
from services.synthesis.instruments.files import load_bank
from services.synthesis.packing.closed_form import closed_form_partials
from services.synthesis.packing.measured import measured_partials
from services.synthesis.packing.partials import MONO_HZ, LayerNotes, Partials
from services.synthesis.packing.table import INCREMENT, PHASE
from services.synthesis.score.events import Layer, Notes
from services.synthesis.sound.parts import Part
from services.synthesis.sound.players import ENSEMBLE, WARM

HOUR_S = 3_600


def notes_at(onset_s: NDArray[np.float64], pitch_midi: float = 60.0) -> Notes:
    """Equal notes of 8 s."""
    count = len(onset_s)

    def same(value: float) -> NDArray[np.float32]:
        return np.full(count, value, dtype=np.float32)

    return Notes(
        onset_s=onset_s,
        duration_s=np.full(count, 8.0),
        pitch_midi=np.full(count, pitch_midi),
        gain=same(0.5),
        pan=same(0.0),
        brightness=same(0.5),
        threshold=same(0.0),
        layer=np.full(count, int(Layer.PAD), dtype=np.uint8),
        seed=np.arange(count, dtype=np.uint32),
    )


def layer_of(notes: Notes, *, turn: float = 0.0, ebb_db: float = 0.0, seed: int = 5) -> LayerNotes:
    return LayerNotes(notes, Layer.PAD, 0.5, 0.5, 1.0, 0, seed, turn, ebb_db)


def tide_db(layer: LayerNotes, depth_db: float, pace: float = 1.0) -> NDArray[np.float64]:
    return 20.0 * np.log10(layer.tide(depth_db, pace))


HOUR = notes_at(np.arange(0.0, HOUR_S, 2.0))


def test_a_part_falls_to_its_depth_and_hardly_rises_above_its_level() -> None:
    for seed in range(6):
        level_db = tide_db(layer_of(HOUR, seed=seed), 12.0)
        assert level_db.min() == pytest.approx(-12.0)
        assert level_db.max() == pytest.approx(3.0)
        assert np.abs(np.diff(level_db)).max() < 4.0, "a part comes and goes over many seconds"


def test_parts_of_a_layer_take_turns() -> None:
    first, second = (tide_db(layer_of(HOUR, turn=turn), 12.0) for turn in (0.0, 0.5))
    assert np.corrcoef(first, second)[0, 1] < -0.7
    assert np.maximum(first, second).min() > -1e-6, "one of both is always at its level"


def test_a_quick_part_turns_more_often() -> None:
    turns = [np.count_nonzero(np.diff(np.sign(tide_db(layer_of(HOUR), 12.0, pace)))) for pace in (1.0, 3.0)]
    assert turns[1] > 2 * turns[0]


def test_an_ebb_moves_all_parts_of_a_layer_at_once() -> None:
    first, second = (tide_db(layer_of(HOUR, turn=turn, ebb_db=9.0), 0.0) for turn in (0.0, 0.5))
    np.testing.assert_allclose(first, second)
    assert first.min() == pytest.approx(-9.0)


def _column(partials: Partials, column: Column) -> NDArray[np.float32]:
    return np.ascontiguousarray(partials.words[:, :COLUMNS]).view(np.float32)[:, column]


@pytest.mark.parametrize("breath_db", [0.0, 6.0, 12.0])
def test_the_fundamental_of_a_held_note_breathes_as_far_as_its_part_says(breath_db: float) -> None:
    part = Part("ensemble", breath_db=breath_db, moving=0.0)
    depth = _column(measured_partials(layer_of(notes_at(np.array([1.0]))), part, load_bank()), Column.SWELL_DEPTH)
    assert len(depth) > 4
    np.testing.assert_allclose(20.0 * np.log10((1.0 + depth) / (1.0 - depth)), breath_db, atol=1e-4)


def test_low_partials_stand_still_however_they_are_made() -> None:
    low = layer_of(notes_at(np.array([1.0, 3.0]), pitch_midi=36.0))
    for partials in (closed_form_partials(low, WARM), measured_partials(low, ENSEMBLE, load_bank())):
        still = partials.hz < MONO_HZ
        assert still.any()
        for column in (Column.SWELL_DEPTH, Column.VIBRATO_DEPTH):
            assert not _column(partials, column)[still].any(), column.name
        np.testing.assert_array_equal(
            _column(partials, Column.GAIN_LEFT)[still], _column(partials, Column.GAIN_RIGHT)[still]
        )
        # Copies, players and notes of one pitch add up: they have one frequency, and one phase.
        assert len(set(partials.words[still, PHASE])) == 1
        assert len(set(partials.words[still, INCREMENT])) == 1


def test_upper_partials_of_a_pad_in_closed_form_have_detuned_copies_that_move() -> None:
    pad = closed_form_partials(layer_of(notes_at(np.array([1.0]), pitch_midi=60.0)), WARM)
    assert len(set(np.round(pad.hz, 3))) > len(WARM.harmonics)
    assert _column(pad, Column.SWELL_DEPTH).min() > 0.2
