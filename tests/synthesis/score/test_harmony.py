from __future__ import annotations

import itertools
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from services.contract.spec import MODES, PRESETS, StreamSpec
from services.synthesis.score.compose import prepare
from services.synthesis.score.form import material_of
from services.synthesis.score.harmony import anchor, chord_table
from services.synthesis.score.plan import PlacedChord, plan_section
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.score.theory import CHARACTERISTIC, semitones

SECTIONS_PER_HOUR = 15
MAX_VOICE_STEP = 4
"""Semitones; said here again, so that a source that allows more is found."""
planned = lru_cache(maxsize=2048)(plan_section)


def _chain(spec: StreamSpec, first_section: int, sections: int) -> list[PlacedChord]:
    return [chord for n in range(sections) for chord in planned(spec, first_section + n).chords]


def _assert_led(before: PlacedChord, after: PlacedChord) -> None:
    steps = [abs(a - b) for a, b in zip(before.voicing, after.voicing, strict=True)]
    assert max(steps) <= MAX_VOICE_STEP, (before, after)
    assert set(before.classes) & set(after.classes), (before, after)
    assert before.name != after.name or before.classes != after.classes


def test_voices_move_little_and_chords_share_tones_over_joins_too(spec: StreamSpec, first_section: int) -> None:
    chain = _chain(spec, first_section, 4)
    for before, after in itertools.pairwise(chain):
        _assert_led(before, after)


def test_voices_hold_more_than_they_move(spec: StreamSpec, first_section: int) -> None:
    chain = _chain(spec, first_section, 4)
    steps = [
        abs(a - b)
        for before, after in itertools.pairwise(chain)
        for a, b in zip(before.voicing, after.voicing, strict=True)
    ]
    assert 0.3 < sum(steps) / len(steps) < 2.2
    assert steps.count(0) > 0.25 * len(steps)


@pytest.mark.parametrize("mode", MODES)
def test_no_chord_is_a_trap_and_every_chord_can_be_reached(mode: str, preset: str) -> None:
    table = chord_table(mode, preset)
    home = np.flatnonzero(table.step == 0)
    possible = table.possible[np.ix_(home, home)].astype(np.float32)
    # Reachable in exactly six chords from any to any: no dead end, no island, no clockwork.
    reach = np.eye(len(home), dtype=np.float32)
    for _ in range(6):
        reach = (reach @ possible > 0).astype(np.float32)
    assert reach.all()
    # Whatever is away from home can be entered and left.
    for away in np.flatnonzero(table.step != 0):
        same = (table.step == table.step[away]) | (table.step == 0)
        assert table.possible[away, same].any()
        assert table.possible[same, away].any()


@pytest.mark.parametrize("mode", MODES)
def test_voicings_are_open_below_whole_and_in_the_band(mode: str, preset: str) -> None:
    table, pad = chord_table(mode, preset), SCORE_PRESETS[preset].pad
    assert table.pitch_midi.min() >= pad.low_midi
    assert table.pitch_midi.max() <= pad.high_midi
    gaps = np.diff(table.pitch_midi, axis=1)
    assert gaps.min() >= 1
    assert gaps[:, 0].min() >= 3
    # Never three neighbouring semitones.
    assert not ((gaps[:, 1:] == 1) & (gaps[:, :-1] == 1)).any()
    assert len(set(table.chord.tolist())) >= 30


def test_a_section_begins_on_a_tonic_chord_at_home(spec: StreamSpec, first_section: int) -> None:
    table = chord_table(spec.mode, spec.preset)
    for section in range(first_section, first_section + 8):
        state = anchor(table, material_of(spec.preset, spec.seed, section))
        first = plan_section(spec, section).chords[0]
        assert table.root[state] == 0
        assert table.step[state] == 0
        assert first.voicing == tuple(table.pitch_midi[state])
        assert first.bass == 0


def test_over_hours_nearly_every_chord_is_heard_and_none_is_stuck_on(preset: str, first_section: int) -> None:
    mode = MODES[PRESETS.index(preset) % len(MODES)]
    table = chord_table(mode, preset)
    # Two hours of each of two seeds.
    heard: Counter[tuple[int, str]] = Counter()
    for seed in range(2):
        chain = _chain(StreamSpec(preset=preset, mode=mode, seed=seed), first_section, 2 * SECTIONS_PER_HOUR)
        heard.update((chord.root, chord.kind) for chord in chain if not chord.away)
    known = {
        (int(root), kind) for root, kind, step in zip(table.root, table.kind, table.step, strict=True) if step == 0
    }
    assert set(heard) <= known
    assert len(heard) >= 0.9 * len(known)
    assert max(heard.values()) < 0.2 * sum(heard.values())


def test_the_tonic_comes_back_often_but_does_not_rule(preset: str, first_section: int) -> None:
    for mode in ("ionian", "dorian", "phrygian", "locrian"):
        chain = _chain(StreamSpec(preset=preset, mode=mode), first_section, SECTIONS_PER_HOUR)
        share = sum(chord.root == 0 for chord in chain) / len(chain)
        assert 0.12 < share < 0.55, mode
        gap = longest = 0.0
        for chord in chain:
            gap = 0.0 if chord.root == 0 else gap + chord.end_s - chord.begin_s
            longest = max(longest, gap)
        assert longest < 240


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_heard_in_its_chords(mode: str, preset: str, first_section: int) -> None:
    """The characteristic note sounds in a good share of the time that the music is at home."""
    chain = [c for c in _chain(StreamSpec(preset=preset, mode=mode), first_section, 10) if not c.away]
    note = semitones(mode, CHARACTERISTIC[mode])
    telling = sum(chord.end_s - chord.begin_s for chord in chain if note in chord.classes)
    share = telling / sum(chord.end_s - chord.begin_s for chord in chain)
    assert 0.15 < share < 0.85


def test_colours_are_visited_and_left_within_the_section(first_section: int) -> None:
    visits = modulations = 0
    for preset in PRESETS:
        for mode in ("ionian", "lydian", "locrian", "aeolian"):
            for section in range(first_section, first_section + 10):
                plan = plan_section(StreamSpec(preset=preset, mode=mode), section)
                away = [chord.index for chord in plan.chords if chord.away]
                assert all((chord.mode != mode) == chord.away for chord in plan.chords)
                if away:
                    visits += 1
                    modulations += plan.form.colour is not None and plan.form.colour.centre != 0
                    assert away == list(range(away[0], away[-1] + 1))
                    assert away[0] > 0
                    assert away[-1] < len(plan.chords) - 1
                    assert any(plan.chords[i].classes for i in away)
    assert visits > 30
    assert 5 < modulations < visits


def test_a_returning_section_keeps_most_chords_and_changes_some(first_section: int) -> None:
    same = total = 0
    first: dict[object, list[PlacedChord]] = {}
    for section in range(first_section, first_section + 120):
        plan = plan_section(StreamSpec(preset="drift"), section)
        chords = list(plan.chords)
        known = first.setdefault(plan.form.material, chords)
        if known is not chords:
            total += len(chords)
            same += sum((a.root, a.kind) == (b.root, b.kind) for a, b in zip(known, chords, strict=True))
    assert total > 300
    assert 0.4 < same / total < 0.95


def test_all_tables_can_be_built_beforehand_and_are_kept() -> None:
    prepare()
    built = chord_table.cache_info().misses
    tables = [chord_table(mode, preset) for mode in MODES for preset in PRESETS]
    assert chord_table.cache_info().misses == built
    size_bytes = sum(getattr(table, name).nbytes for table in tables for name in ("possible", "smooth", "pitch_midi"))
    assert size_bytes < 40e6


@pytest.mark.long
def test_voice_leading_holds_for_every_key_mode_and_preset(every_spec: list[StreamSpec], first_section: int) -> None:
    for spec in every_spec:
        chain = _chain(spec, first_section + spec.bpm * 40, 10)
        for before, after in itertools.pairwise(chain):
            _assert_led(before, after)
