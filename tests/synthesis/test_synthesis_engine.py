from __future__ import annotations

import numpy as np
import pytest
import torch

from services.synthesis.synthesis_engine import OptimizedSynthesisEngine
from tests.synthesis.listening import db, difference_db

CHORDS = [(0, 60, "major"), (22_050, 65, "minor"), (44_100, 67, "major")]
MELODY = [(0, 72, 0.8, 0.5), (11_025, 74, 0.7, 0.5), (22_050, 76, 0.8, 0.5), (33_075, 77, 0.7, 0.5)]


@pytest.fixture(scope="module")
def engine() -> OptimizedSynthesisEngine:
    return OptimizedSynthesisEngine(device="cpu", batch_size=8, enable_compile=False)


def test_a_phrase_is_stereo_of_the_length_asked_for_and_sounds(engine: OptimizedSynthesisEngine) -> None:
    sound = engine.render_phrase(CHORDS, MELODY, 1.5)
    assert sound.shape == (66_150, 2)
    assert sound.dtype == np.float32
    assert 0.02 < np.abs(sound).max() < 1.0
    assert np.abs(sound[:, 0] - sound[:, 1]).max() > 0.001


def test_the_batch_size_changes_the_calls_and_not_the_sound(engine: OptimizedSynthesisEngine) -> None:
    one = OptimizedSynthesisEngine(device=torch.device("cpu"), batch_size=1, enable_compile=False)
    whole = OptimizedSynthesisEngine(device=torch.device("cpu"), batch_size=64, enable_compile=False)
    expected = engine.render_phrase(CHORDS, MELODY, 2.0)
    for other in (one, whole):
        assert difference_db(other.render_phrase(CHORDS, MELODY, 2.0), expected) <= db(2.01 / 32_768)


def test_a_note_is_not_heard_before_its_frame(engine: OptimizedSynthesisEngine) -> None:
    sound = engine.render_phrase([], [(30_000, 84, 1.0, 0.4)], 1.0)
    # Dither is a step of 16 bits; a control interval before the onset is the envelope's resolution.
    assert np.abs(sound[:29_700]).max() <= 1.01 / 32_768
    assert np.abs(sound[31_000:]).max() > 0.01


def test_velocity_is_loudness(engine: OptimizedSynthesisEngine) -> None:
    quiet, loud = (np.abs(engine.render_phrase([], [(0, 76, v, 0.5)], 1.0)).max() for v in (0.3, 0.9))
    assert loud == pytest.approx(3.0 * quiet, rel=0.02)


def test_phrases_of_other_chords_are_other_sounds(engine: OptimizedSynthesisEngine) -> None:
    major, minor = (engine.render_phrase([(0, 60, quality)], [], 1.0) for quality in ("major", "minor"))
    assert difference_db(major, minor) > -40.0


@pytest.mark.parametrize(
    ("chords", "melody", "seconds", "problem"),
    [
        ([(0, 60, "odd")], [], 1.0, "chord quality: got 'odd'"),
        ([(0, 300, "major")], [], 1.0, "pitch: got 300"),
        ([(-1, 60, "major")], [], 1.0, "first frame: got -1"),
        ([], [(0, 60, 1.5, 0.5)], 1.0, "velocity 1.5"),
        ([], [(0, 60, 0.5, 0.0)], 1.0, "for 0.0 s"),
        ([], [], 0.0, "duration_sec: got 0.0"),
    ],
)
def test_what_cannot_be_played_is_named(
    engine: OptimizedSynthesisEngine, chords: list, melody: list, seconds: float, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        engine.render_phrase(chords, melody, seconds)


def test_an_empty_phrase_is_silence(engine: OptimizedSynthesisEngine) -> None:
    assert np.abs(engine.render_phrase([], [], 1.0)).max() <= 1.01 / 32_768


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: got 0"):
        OptimizedSynthesisEngine(batch_size=0)
    with pytest.raises(ValueError, match="preset: got 'disco'"):
        OptimizedSynthesisEngine(preset="disco")
