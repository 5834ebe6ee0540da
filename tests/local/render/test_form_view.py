from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.contract.spec import StreamSpec
from services.local.render.form_view import STEP_S, form_of
from services.local.render.score_view import view_score
from services.synthesis.score.events import Layer

START = 1_785_000_000
SPEC = StreamSpec(preset="lantern", intensity_steps=14)


def test_steps_count_what_begins_and_how_many_notes_are_held() -> None:
    score = replace(
        view_score(SPEC, START, 5.0),
        begin_s=np.array([0.0, 5.0, 9.0, 21.0]),
        end_s=np.array([10.0, 15.0, 9.5, 22.0]),
        pitch_midi=np.full(4, 60.0),
        gain=np.ones(4),
        layer=np.array([Layer.PAD, Layer.PAD, Layer.MELODY, Layer.PAD], np.uint8),
    )
    form = form_of(score, 25.0)
    # The first note sounds already at the beginning; the last step has five seconds.
    assert form.onsets_per_minute[Layer.PAD].tolist() == [6.0, 0.0, 12.0]
    assert form.onsets_per_minute[Layer.MELODY].tolist() == [6.0, 0.0, 0.0]
    assert form.sounding[Layer.PAD].tolist() == pytest.approx([1.5, 0.5, 0.2])
    assert form.sounding[Layer.MELODY].tolist() == pytest.approx([0.05, 0.0, 0.0])
    assert form.sounding[Layer.DRONE].sum() == 0.0


def test_the_form_of_an_hour_adds_up_to_its_score() -> None:
    score = view_score(SPEC, START, 3600.0)
    form = form_of(score, 3600.0)
    assert form.sounding.shape == (len(Layer), 3600 / STEP_S)
    assert form.onsets_per_minute.sum() * STEP_S / 60 == pytest.approx((score.begin_s > 0.0).sum())
    assert form.sounding.sum() * STEP_S == pytest.approx((score.end_s - score.begin_s).sum())


def test_a_layer_that_is_silent_is_not_in_the_form() -> None:
    form = form_of(view_score(SPEC.updated({"levels": {"pad": 0}}), START, 600.0), 600.0)
    assert form.sounding[Layer.PAD].sum() == form.onsets_per_minute[Layer.PAD].sum() == 0.0
    assert form.sounding[Layer.DRONE].min() > 0.0
