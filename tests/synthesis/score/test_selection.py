from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.contract.spec import LAYERS, StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.score.selection import played, reach


def test_at_half_density_exactly_the_notes_of_the_intensity_are_within_reach() -> None:
    for steps in range(21):
        spec = StreamSpec(intensity_steps=steps)
        assert reach(spec) == spec.intensity


def test_reach_goes_from_nothing_to_everything_and_rises_with_every_step() -> None:
    for steps in range(1, 20):
        reaches = [reach(StreamSpec(intensity_steps=steps, density_steps=density)) for density in range(21)]
        assert (reaches[0], reaches[-1]) == (0.0, 1.0)
        assert min(np.diff(reaches)) > 0.0


def test_reach_rises_with_intensity_at_every_density_between_the_ends() -> None:
    for density in range(1, 20):
        reaches = [reach(StreamSpec(intensity_steps=steps, density_steps=density)) for steps in range(21)]
        assert min(np.diff(reaches)) > 0.0
        assert 0.0 <= reaches[0] <= reaches[-1] <= 1.0


@pytest.mark.parametrize("intensity_steps", [4, 10, 16])
def test_notes_a_minute_rise_with_density(preset: str, first_section: int, intensity_steps: int) -> None:
    spec = StreamSpec(preset=preset, intensity_steps=intensity_steps)
    notes = compose_section(spec, first_section).notes
    counts = [played(notes, replace(spec, density_steps=density)).sum() for density in range(21)]
    a_minute = np.array(counts) * 60 / SECTION_S
    assert np.diff(a_minute).min() >= 0.0
    # Plainly heard from end to end, and on both sides of the middle.
    assert a_minute[0] < 0.9 * a_minute[10] < 0.9 * 0.98 * a_minute[20]


def test_a_note_that_sounds_goes_on_sounding_at_a_higher_density(first_section: int) -> None:
    spec = StreamSpec(preset="lantern")
    notes = compose_section(spec, first_section).notes
    heard = np.stack([played(notes, replace(spec, density_steps=density)) for density in range(21)])
    assert (heard[1:] >= heard[:-1]).all()


@pytest.mark.parametrize("layer", Layer)
def test_a_silent_layer_has_no_notes_and_takes_none_from_others(first_section: int, layer: Layer) -> None:
    spec = StreamSpec(preset="lantern", intensity_steps=16)
    notes = compose_section(spec, first_section).notes
    assert (notes.layer == layer).any()
    muted = spec.updated({"levels": {layer.name.lower(): 0}})
    assert (played(notes, muted) == (played(notes, spec) & (notes.layer != layer))).all()


def test_every_layer_of_the_score_has_a_level() -> None:
    assert (*(layer.name.lower() for layer in Layer), "air") == LAYERS
