from __future__ import annotations

import numpy as np
import pytest

from services.contract.spec import StreamSpec
from services.contract.timebase import SECTION_S
from services.local.render.score_view import view_score
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer

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
    view = view_score(SPEC, START + 230, 30.0)
    section, following = (compose_section(SPEC, SECTION + number) for number in (0, 1))
    assert view.chords[0].at_s == 0.0
    assert view.chords[0].text == section.chords[-1].name
    assert [(mark.at_s, mark.text) for mark in view.chords if mark.at_s == 10.0] == [(10.0, following.chords[0].name)]
    assert [mark.at_s for mark in view.sections] == [0.0, 10.0]
    assert all(mark.text[0] in "ABC" for mark in view.sections)
    assert view.parts == (10.0,)


@pytest.mark.parametrize("start", [0, 100])
def test_a_span_at_the_epoch_needs_no_section_before_it(start: int) -> None:
    view = view_score(SPEC, start, 20.0)
    assert len(view.begin_s)
    assert np.isfinite(view.begin_s).all()
