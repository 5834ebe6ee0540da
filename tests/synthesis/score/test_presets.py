from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np

from services.contract.spec import MODES, PRESETS, StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.score.form import passages_between
from services.synthesis.score.plan import plan_passage
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.score.theory import KINDS


def test_every_preset_of_the_contract_has_a_score() -> None:
    assert set(SCORE_PRESETS) == set(PRESETS)


def test_a_preset_is_well_formed(preset: str) -> None:
    score = SCORE_PRESETS[preset]
    assert set(score.pad.kinds) <= set(KINDS)
    assert all(0.0 <= rate <= 1.0 for rate in score.chord_rates)
    assert score.melody.grid_beats * 4 == int(score.melody.grid_beats * 4)
    # Something sounds at intensity 0, before anything else is decided.
    assert any(voice.threshold == 0 for voice in score.drone)
    # Other tones over the centre would not be in every mode.
    assert {voice.degree for voice in score.drone} <= {0, 4, 7}
    assert sum(threshold == 0 for threshold in score.pad.thresholds) >= 2
    assert 0 < score.melody.ring_s[0] <= score.melody.ring_s[1]
    assert all(phrase.strip("cahv-") == "" and "c" in phrase for phrase in score.melody.phrases)
    assert all(0 <= step.eighth < 8 * score.pulse.bars for step in score.pulse.steps)
    assert score.melody.threshold < 0 < score.melody.threshold + score.melody.spread < 1


def test_every_chord_lasts_a_bar_or_more_at_the_slowest_bpm(preset: str, first_section: int) -> None:
    begin_ms = first_section * SECTION_S * 1000
    for passage in passages_between(0, begin_ms, begin_ms + 3_600_000):
        plan = plan_passage(StreamSpec(preset=preset, bpm=40), passage)
        assert min(chord.end_s - chord.begin_s for chord in plan.chords) >= plan.bar_s - 1e-6


@lru_cache(maxsize=16)
def _portrait(preset: str, first_section: int) -> dict[str, float]:
    """What a listener could tell a preset by, over an hour at intensity 0.6."""
    chords, shares, pitches, notes = 0, np.zeros(len(Layer)), [], 0
    for section in range(first_section, first_section + 15):
        composed = compose_section(StreamSpec(preset=preset, mode=MODES[section % 7]), section)
        chords += len(composed.chords)
        heard = composed.notes.threshold <= 0.6
        notes += int(heard.sum())
        for layer in Layer:
            shares[layer] += (heard & (composed.notes.layer == layer)).sum()
        pitches.append(composed.notes.pitch_midi[heard & (composed.notes.layer == Layer.MELODY)])
    portrait = {f"{layer.name} per minute": float(shares[layer]) / 60 for layer in Layer}
    return portrait | {"chords per minute": chords / 60, "melody height": float(np.concatenate(pitches).mean())}


def test_any_two_presets_differ_plainly_in_at_least_three_ways(first_section: int) -> None:
    portraits = {preset: _portrait(preset, first_section) for preset in PRESETS}
    for one, other in combinations(PRESETS, 2):
        plain = []
        for name, value in portraits[one].items():
            against = portraits[other][name]
            # Five semitones of register, or a quarter less of anything else.
            far = (
                abs(value - against) >= 5 if name == "melody height" else abs(value - against) > max(value, against) / 4
            )
            if far:
                plain.append(name)
        assert len(plain) >= 3, (one, other, plain)


def test_density_is_the_presets_own(first_section: int) -> None:
    melody = {
        preset: _portrait(preset, first_section)["MELODY per minute"] for preset in ("lantern", "drift", "tundra")
    }
    assert melody["lantern"] > 1.5 * melody["drift"] > 2.5 * melody["tundra"]
