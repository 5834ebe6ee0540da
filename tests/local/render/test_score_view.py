from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.contract.spec import StreamSpec
from services.contract.timebase import SECTION_S
from services.local.render.score_view import view_score
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.score.form import neighbour, passages_between

SECTION = 7_437_500
START = SECTION * SECTION_S
SPEC = StreamSpec(preset="lantern", intensity_steps=12)


def test_the_view_has_the_audible_notes_and_no_others() -> None:
    view = view_score(SPEC, START, SECTION_S)
    notes = compose_section(SPEC, SECTION).notes
    heard = notes.threshold <= SPEC.intensity
    assert 0 < heard.sum() < len(notes)
    own = view.begin_s > 0.0
    assert own.sum() == (heard & (notes.onset_s > 0.0)).sum()
    assert set(view.pitch_midi[own]) == set(notes.pitch_midi[heard])
    assert {Layer(layer) for layer in view.layer.tolist()} == set(Layer)
    assert view.of(Layer.MELODY).size == (view.layer == Layer.MELODY).sum()


def test_the_view_shows_what_density_and_levels_leave() -> None:
    sparse = view_score(SPEC.updated({"density": 0.1, "levels": {"pad": 0}}), START, SECTION_S)
    assert sparse.of(Layer.PAD).size == 0
    assert 0 < len(sparse.begin_s) < (view_score(SPEC, START, SECTION_S).layer != Layer.PAD).sum()


def test_notes_are_clipped_to_the_span() -> None:
    view = view_score(SPEC, START + 30, 45.0)
    assert (view.begin_s == 0.0).any()
    assert view.begin_s.min() >= 0.0
    assert view.end_s.max() <= 45.0
    assert (view.end_s > view.begin_s).all()


def test_chords_and_sections_are_named_from_the_beginning_of_the_span() -> None:
    passage = passages_between(SPEC.seed, START * 1000, START * 1000 + 1)[0]
    border = passage.end_ms // 1000
    view = view_score(SPEC, border - 10, 20.0)
    section = compose_section(SPEC, (border - 10) // SECTION_S)
    held = [chord for chord in section.chords if chord.onset_s <= (border - 10) % SECTION_S][-1]
    assert (view.chords[0].at_s, view.chords[0].text) == (0.0, held.name)
    assert len(view.chords) > 1
    # The new passage begins with a bar, at most half of one from its place.
    assert [mark.at_s for mark in view.sections] == [0.0, pytest.approx(10.0, abs=0.5 + SECTION_S / SPEC.bpm / 2)]
    assert [mark.text for mark in view.sections] == [passage.name, neighbour(SPEC.seed, passage, 1).name]
    assert view.sections[1].at_s in view.parts


def test_a_chord_that_goes_on_over_a_section_is_named_once() -> None:
    for section in range(SECTION, SECTION + 6):
        view = view_score(SPEC, section * SECTION_S, 3 * SECTION_S)
        for before, after in itertools.pairwise(view.chords):
            assert before.at_s < after.at_s
            assert before.text != after.text or after.at_s % SECTION_S != 0.0


@pytest.mark.parametrize("start", [0, 100])
def test_a_span_at_the_epoch_needs_no_section_before_it(start: int) -> None:
    view = view_score(SPEC, start, 20.0)
    assert len(view.begin_s)
    assert np.isfinite(view.begin_s).all()
