from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from services.contract.spec import KEYS, MODES, PRESETS, StreamSpec
from services.synthesis.score.compose import prepare
from services.synthesis.score.form import passages_between
from services.synthesis.score.harmony import (
    HIGHEST,
    LOW_MIDI,
    WIDER,
    beside_drone,
    kinds_of,
    palette,
    roughness,
    voicings,
)
from services.synthesis.score.plan import PlacedChord, Plan, plan_passage
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.score.theory import CHARACTERISTIC, semitones

HOUR_MS = 3_600_000
NOW_MS = 1_785_000_000_000
MAX_VOICE_STEP = 4
"""Semitones; said here again, so that a source that allows more is found."""


def _plans(spec: StreamSpec, hours: float = 0.5) -> list[Plan]:
    passages = passages_between(spec.seed, NOW_MS, NOW_MS + int(hours * HOUR_MS))
    return [plan_passage(spec, passage) for passage in passages]


def _chain(spec: StreamSpec, hours: float = 0.5) -> list[PlacedChord]:
    return [chord for plan in _plans(spec, hours) for chord in plan.chords]


def _steps(chain: list[PlacedChord]) -> list[int]:
    return [
        abs(one - other)
        for before, after in itertools.pairwise(chain)
        for one, other in zip(before.voicing, after.voicing, strict=True)
    ]


def test_voices_move_little_over_joins_too(spec: StreamSpec) -> None:
    steps = _steps(_chain(spec))
    # All presets of a seed share their roots: now and then a voice must go a fourth to follow.
    assert np.mean(np.array(steps) > MAX_VOICE_STEP) <= 0.03
    assert max(steps) <= MAX_VOICE_STEP + 2
    assert 0.3 < sum(steps) / len(steps) < 2.3
    assert steps.count(0) > 0.2 * len(steps)


def test_neighbouring_chords_share_tones(spec: StreamSpec) -> None:
    chain = _chain(spec)
    shared = [bool(set(before.classes) & set(after.classes)) for before, after in itertools.pairwise(chain)]
    assert np.mean(shared) > 0.88
    changed = [before.voicing != after.voicing for before, after in itertools.pairwise(chain)]
    assert np.mean(changed) > 0.98


def test_voicings_are_open_below_whole_and_in_the_band(spec: StreamSpec) -> None:
    pad = SCORE_PRESETS[spec.preset].pad
    for chord in _chain(spec):
        gaps = np.diff(chord.voicing)
        assert chord.voicing[0] >= pad.low_midi - WIDER[-1]
        assert chord.voicing[-1] <= pad.high_midi + HIGHEST
        assert gaps.min() >= 1
        assert gaps[0] >= 3
        assert not ((gaps[1:] == 1) & (gaps[:-1] == 1)).any()
        assert {(pitch - chord.tonic_midi) % 12 for pitch in chord.voicing} == set(chord.classes)


@pytest.mark.parametrize("mode", MODES)
def test_no_voice_lies_a_low_semitone_beside_the_drone(mode: str, preset: str) -> None:
    for key in ("C", "F#"):
        for plan in _plans(StreamSpec(key=key, mode=mode, preset=preset, seed=1), 0.4):
            growl = set(beside_drone([tone.pitch_midi for tone in plan.drone]))
            assert all(not growl & set(chord.voicing) for chord in plan.chords)


def test_the_register_is_the_same_in_every_key(preset: str) -> None:
    means = [np.mean([chord.voicing for chord in _chain(StreamSpec(key=key, preset=preset))]) for key in KEYS]
    assert np.abs(np.diff([*means, means[0]])).max() < 1.5


def test_keys_say_the_same_chords(preset: str) -> None:
    in_c, in_a = (_chain(StreamSpec(key=key, preset=preset)) for key in ("C", "A"))
    assert [(c.root, c.kind, c.classes) for c in in_c] == [(c.root, c.kind, c.classes) for c in in_a]


def test_kinds_are_the_same_whichever_slots_are_played() -> None:
    for passage in passages_between(0, NOW_MS, NOW_MS + HOUR_MS // 2):
        kinds = kinds_of("harbor", "dorian", 0, passage)
        for bpm in (40, 70, 180):
            for chord in plan_passage(StreamSpec(preset="harbor", bpm=bpm), passage).chords:
                assert chord.kind == kinds[chord.slot].name


def test_rough_kinds_come_where_the_arc_is_high(preset: str) -> None:
    rough, level = [], []
    for plan in _plans(StreamSpec(preset=preset), 2.0):
        for chord in plan.chords:
            rough.append(roughness([*chord.voicing, *(tone.pitch_midi for tone in plan.drone)]))
            level.append(plan.form.arc.shape((chord.begin_s + chord.end_s) / 2 / plan.length_s))
    assert np.corrcoef(rough, level)[0, 1] > 0.25


def test_roughness_knows_a_semitone_from_a_fifth() -> None:
    assert roughness([0, 7]) < roughness([0, 4, 7]) < roughness([0, 4, 7, 11]) < roughness([0, 1, 2])
    assert roughness([0, 7, 12, 19]) == roughness([0, 7])


def test_over_hours_most_chords_are_heard_and_none_is_stuck_on(preset: str) -> None:
    heard: Counter[tuple[int, str]] = Counter()
    for seed in range(4):
        heard.update((chord.root, chord.kind) for chord in _chain(StreamSpec(preset=preset, seed=seed), 2.0))
    known = {name for name, _ in palette(SCORE_PRESETS[preset].pad, "dorian", 0)}
    assert {kind for _, kind in heard} >= known
    assert len(heard) >= 15
    assert max(heard.values()) < 0.25 * sum(heard.values())


def test_the_centre_comes_back_but_does_not_rule(preset: str) -> None:
    for mode in ("ionian", "dorian", "phrygian", "locrian"):
        plans = _plans(StreamSpec(preset=preset, mode=mode), 1.0)
        at_centre = [chord.root == plan.harmony.centre for plan in plans for chord in plan.chords]
        assert 0.1 < np.mean(at_centre) < 0.55, mode


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_heard_in_its_chords(mode: str, preset: str) -> None:
    """The characteristic note sounds in a good share of the time that the music is at home."""
    note = semitones(mode, CHARACTERISTIC[mode]) % 12
    telling = total = 0.0
    for seed in range(3):
        for chord in _chain(StreamSpec(preset=preset, mode=mode, seed=seed), 1.0):
            if not chord.away:
                total += chord.end_s - chord.begin_s
                telling += (chord.end_s - chord.begin_s) * (note in chord.classes)
    assert 0.15 < telling / total < 0.85


def test_voicings_can_be_worked_out_beforehand() -> None:
    prepare()
    before = voicings.cache_info()
    prepare()
    assert voicings.cache_info().misses == before.misses
    assert before.currsize < 8_000


def test_a_barred_pitch_is_not_taken() -> None:
    free = voicings((0, 4, 7), 0, 7, (), voices=4, low_midi=50, high_midi=72)
    barred = voicings((0, 4, 7), 0, 7, (55,), voices=4, low_midi=50, high_midi=72)
    assert (free == 55).any()
    assert len(barred)
    assert not (barred == 55).any()


def test_only_low_pitches_beside_the_drone_are_barred() -> None:
    assert beside_drone([36, 60, 67]) == (35, 37, 59)
    assert max(beside_drone([LOW_MIDI - 1])) == LOW_MIDI


def test_every_preset_has_a_chord_on_every_root_that_harmony_uses() -> None:
    for preset in PRESETS:
        for mode in MODES:
            assert _chain(StreamSpec(preset=preset, mode=mode, seed=9), 0.3)
