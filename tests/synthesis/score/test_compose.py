from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract.spec import KEYS, MODES, StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.compose import SectionCache, compose_passage, compose_section
from services.synthesis.score.events import Layer, Notes, Section
from services.synthesis.score.form import bar_of, passages_between
from services.synthesis.score.plan import PlacedChord, Plan, plan_passage
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.score.theory import SCALES

composed = lru_cache(maxsize=512)(compose_section)
"""Composing is pure (see the tests of determinism below), so tests may share what was composed."""

JITTER_S = 0.06
"""Players are not machines: onsets stray from the grid by at most this much."""


def _same(one: Section, other: Section) -> bool:
    return (
        one.chords == other.chords
        and np.array_equal(one.air_s, other.air_s)
        and np.array_equal(one.air_level, other.air_level)
        and all(np.array_equal(getattr(one.notes, name), getattr(other.notes, name)) for name in Notes.__slots__)
    )


def _digest(section: Section) -> str:
    """A hash of what is played that the last bits of a floating-point number cannot change."""
    notes = section.notes
    rows = np.stack(
        (np.floor(notes.onset_s * 100 + 0.3), notes.pitch_midi, notes.layer, np.round(notes.threshold * 40)), axis=1
    )
    rows = rows[np.lexsort(rows.T)]
    text = rows.astype(np.int64).tobytes() + ",".join(chord.name for chord in section.chords).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def _sounding(notes: Notes, intensity: float, times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many notes sound at each time."""
    heard = notes.threshold <= intensity
    onset = np.sort(notes.onset_s[heard])
    end = np.sort((notes.onset_s + notes.duration_s)[heard])
    return np.searchsorted(onset, times_s, "right") - np.searchsorted(end, times_s, "right")


def _plans(spec: StreamSpec, section: int, sections: int = 1) -> list[tuple[float, Plan]]:
    """The plans of the passages that some sections are made of, and where each passage begins in the first of them."""
    begin_ms = section * SECTION_S * 1000
    found = passages_between(spec.seed, begin_ms - 6_000, begin_ms + sections * SECTION_S * 1000 + 6_000)
    bar_s = SECTION_S / spec.bpm
    return [((bar_of(p.begin_ms, spec.bpm) - section * spec.bpm) * bar_s, plan_passage(spec, p)) for p in found]


def _slots(spec: StreamSpec, section: int) -> dict[tuple[int, int, int], tuple[float, PlacedChord]]:
    """The chords of a section's passages by their places, which no tempo changes."""
    return {
        (plan.form.movement, plan.form.index, chord.slot): (at_s + chord.begin_s, chord)
        for at_s, plan in _plans(spec, section)[1:2]
        for chord in plan.chords
    }


def _chords(spec: StreamSpec, section: int, sections: int = 1) -> list[tuple[float, PlacedChord]]:
    """The chords that overlap some sections, with where they begin in the first of them."""
    rows = [(at_s + c.begin_s, c) for at_s, plan in _plans(spec, section, sections) for c in plan.chords]
    return [
        (begin_s, c)
        for begin_s, c in rows
        if begin_s + c.end_s - c.begin_s > 1e-6 and begin_s < sections * SECTION_S - 1e-6
    ]


def _hour(spec: StreamSpec, first_section: int, sections: int = 15) -> Notes:
    """Notes of several sections on one time line."""
    parts = [composed(spec, first_section + n).notes for n in range(sections)]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Notes.__slots__}
    joined["onset_s"] = np.concatenate([part.onset_s + 240 * n for n, part in enumerate(parts)])
    return Notes(**joined)


# --- what a section is ---------------------------------------------------------------------------------------------


def test_a_section_is_well_formed(spec: StreamSpec, first_section: int) -> None:
    section = composed(spec, first_section)
    notes = section.notes
    assert section.number == first_section
    assert len(notes) > 50
    assert all(len(getattr(notes, name)) == len(notes) for name in Notes.__slots__)
    assert (np.diff(notes.onset_s) >= 0).all()
    assert notes.onset_s.min() >= 0
    assert notes.onset_s.max() < 240
    assert notes.duration_s.min() >= 0.1
    assert notes.duration_s.max() <= 130  # the renderer reads one section back, no further
    for name, low, high in (("gain", 0.01, 1), ("pan", -1, 1), ("brightness", 0, 1), ("threshold", 0, 1)):
        values = getattr(notes, name)
        assert values.dtype == np.float32
        assert low <= values.min() <= values.max() <= high, name
    assert set(notes.layer.tolist()) >= {Layer.DRONE, Layer.BASS, Layer.PAD, Layer.MELODY, Layer.SHIMMER}
    assert section.chords[0].onset_s == 0
    assert all(before.onset_s < after.onset_s for before, after in itertools.pairwise(section.chords))


def test_seeds_differ_between_notes(first_section: int) -> None:
    seeds = composed(StreamSpec(), first_section).notes.seed
    assert len(np.unique(seeds)) > 0.99 * len(seeds)


def test_intensity_is_never_used_when_composing(preset: str, first_section: int) -> None:
    sections = [compose_section(StreamSpec(preset=preset, intensity_steps=n), first_section) for n in (0, 7, 20)]
    assert _same(sections[0], sections[1])
    assert _same(sections[0], sections[2])


# --- pitch ---------------------------------------------------------------------------------------------------------


def _assert_in_mode(spec: StreamSpec, section: int) -> None:
    """Every pitch lies in the scale in force: the stream's mode, or its neighbour under a chord that is `away`."""
    chords, notes = _chords(spec, section), composed(spec, section).notes
    begins = np.array([begin_s for begin_s, _ in chords])
    for onset_s, pitch in zip(notes.onset_s.tolist(), notes.pitch_midi.tolist(), strict=True):
        places = {max(int(np.searchsorted(begins, onset_s + stray, "right")) - 1, 0) for stray in (-JITTER_S, JITTER_S)}
        scales = {step for place in places for step in SCALES[chords[place][1].mode]}
        assert pitch == int(pitch)
        assert (pitch - spec.pitch_class) % 12 in scales, (spec.stream_id, section, onset_s, pitch)


def test_every_pitch_is_in_the_mode_in_force(spec: StreamSpec, first_section: int) -> None:
    _assert_in_mode(spec, first_section)


@pytest.mark.long
def test_every_pitch_is_in_the_mode_for_every_key_mode_and_preset(
    every_spec: list[StreamSpec], first_section: int
) -> None:
    for spec in every_spec:
        for section in range(3):
            _assert_in_mode(spec, first_section + 97 * spec.bpm + section)


def test_pads_play_the_chords_voicing(spec: StreamSpec, first_section: int) -> None:
    notes = _hour(spec, first_section - 1, 2)
    pad = notes.layer == Layer.PAD
    for begin_s, chord in _chords(spec, first_section):
        end_s = begin_s + chord.end_s - chord.begin_s
        if begin_s < 0 or end_s > SECTION_S:
            continue
        # Voices enter one after the other, in the first half of the chord; each is held to its end.
        late_s = SECTION_S + begin_s + 0.75 * (end_s - begin_s)
        held = pad & (notes.onset_s <= late_s) & (notes.onset_s + notes.duration_s > late_s)
        pitches = set(notes.pitch_midi[held].astype(int).tolist())
        assert set(chord.voicing) <= pitches
        own = pad & (notes.onset_s >= SECTION_S + begin_s) & (notes.onset_s < SECTION_S + end_s)
        begun = set(notes.pitch_midi[own].astype(int).tolist())
        assert begun <= set(chord.voicing) | {pitch + 12 for pitch in chord.voicing}


_NOTE = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SUFFIX = {
    "": "0 4 7", "m": "0 3 7", "dim": "0 3 6", "5": "0 7", "sus2": "0 2 7", "sus4": "0 5 7",
    "6": "0 4 7 9", "m6": "0 3 7 9", "69": "0 2 4 7 9", "m69": "0 2 3 7 9", "add9": "0 2 4 7", "madd9": "0 2 3 7",
    "7": "0 4 7 10", "maj7": "0 4 7 11", "m7": "0 3 7 10", "m7b5": "0 3 6 10",
    "9": "0 2 4 7 10", "maj9": "0 2 4 7 11", "m9": "0 2 3 7 10", "7sus2": "0 2 7 10", "maj7sus2": "0 2 7 11",
    "7sus4": "0 5 7 10", "9sus4": "0 2 5 7 10", "7sus4b9": "0 1 5 7 10",
    "maj7#11": "0 4 6 7 11", "m7add11": "0 3 5 7 10", "m7b5add11": "0 3 5 6 10",
}  # fmt: skip


def _read_name(name: str) -> tuple[set[int], int]:
    """Pitch classes and bass of a chord's name, read as a musician would."""
    match = re.fullmatch(r"([A-G][b#]?)([^/]*)(?:/([A-G][b#]?))?", name)
    assert match is not None, name
    root, bass = (
        (_NOTE[text[0]] + text.count("#") - text.count("b")) % 12 for text in (match[1], match[3] or match[1])
    )
    return {(root + int(interval)) % 12 for interval in _SUFFIX[match[2]].split()}, bass


def test_chord_names_say_what_sounds(spec: StreamSpec, first_section: int) -> None:
    section = composed(spec, first_section)
    notes = section.notes
    chords = _chords(spec, first_section)
    assert len(chords) == len(section.chords)
    for (begin_s, chord), named in zip(chords, section.chords, strict=True):
        assert named.onset_s == pytest.approx(max(begin_s, 0.0), abs=1e-6)
        assert named.name == chord.name
        assert len(named.name.encode()) <= 32
        classes, bass = _read_name(named.name)
        assert classes == {pitch % 12 for pitch in chord.voicing}
        # A bass enters within a third of a beat.
        after_s = notes.onset_s - begin_s
        struck = notes.pitch_midi[(notes.layer == Layer.BASS) & (after_s > 1e-6) & (after_s < 0.31 * 60 / spec.bpm)]
        if begin_s >= 0:
            assert bass in {int(pitch) % 12 for pitch in struck}


# --- register, density ---------------------------------------------------------------------------------------------


def test_layers_keep_their_registers_in_every_key(preset: str, first_section: int) -> None:
    score = SCORE_PRESETS[preset]
    for number, key in enumerate(KEYS):
        spec = StreamSpec(key=key, mode=MODES[number % 7], preset=preset)
        notes = composed(spec, first_section + number).notes
        centre = score.melody.centre_midi
        shift = abs(score.melody.answer_shift) * 2
        bands = {
            Layer.DRONE: (24, 70),
            Layer.BASS: (27, 62),
            Layer.PAD: (score.pad.low_midi - 4, score.pad.high_midi + 12 + 9),
            Layer.MELODY: (centre - 31, centre + 26 + shift),
            Layer.SHIMMER: (score.shimmer.low_midi, score.shimmer.high_midi),
            Layer.PULSE: (score.pulse.low_midi - 5, score.pulse.low_midi + 24 + 5),
        }
        for layer, (low, high) in bands.items():
            pitches = notes.pitch_midi[notes.layer == layer]
            if len(pitches):
                assert low <= pitches.min() <= pitches.max() <= high, (key, layer)
        assert notes.pitch_midi.max() <= 112  # 5.3 kHz


@pytest.mark.parametrize(
    "keys",
    [("F", "F#"), ("B", "C"), pytest.param((*KEYS, "C"), marks=pytest.mark.long)],
    ids="-".join,
)
def test_no_layer_jumps_from_key_to_key(preset: str, keys: tuple[str, ...], first_section: int) -> None:
    """Least of all from F to F#, or from B to C: each voice turns back into its register at a key of its own."""
    means: dict[Layer, list[float]] = {layer: [] for layer in Layer}
    for key in keys:
        notes = _hour(StreamSpec(key=key, preset=preset), first_section)
        for layer in Layer:
            at = notes.layer == layer
            weight = notes.gain[at] ** 2 * notes.duration_s[at]
            means[layer].append(float((notes.pitch_midi[at] * weight).sum() / weight.sum()))
    for layer, row in means.items():
        assert np.abs(np.diff(row)).max() < 1.5, layer.name


def test_another_key_has_the_same_harmony_and_rhythm(preset: str, first_section: int) -> None:
    in_c, in_a = (composed(StreamSpec(key=key, preset=preset), first_section) for key in ("C", "A"))
    assert [chord.onset_s for chord in in_c.chords] == [chord.onset_s for chord in in_a.chords]
    onsets = [set(np.round(section.notes.onset_s, 3).tolist()) for section in (in_c, in_a)]
    assert len(onsets[0] & onsets[1]) > 0.8 * max(map(len, onsets))
    classes = [
        np.bincount((section.notes.pitch_midi - shift).astype(int) % 12, section.notes.duration_s, 12)
        for section, shift in ((in_c, 0), (in_a, 9))
    ]
    assert np.corrcoef(classes[0], classes[1])[0, 1] > 0.9


def test_what_sounds_at_an_intensity_sounds_at_every_higher_one(spec: StreamSpec, first_section: int) -> None:
    threshold = composed(spec, first_section).notes.threshold
    counts = [int((threshold <= step / 20).sum()) for step in range(21)]
    assert counts == sorted(counts)
    assert counts[20] == len(threshold)
    # Rounding never decides: no threshold is near an intensity, except that 0 always sounds.
    assert np.abs(threshold[threshold > 0] * 20 - np.round(threshold[threshold > 0] * 20)).min() > 0.4


def test_every_step_of_intensity_adds_notes(preset: str, first_section: int) -> None:
    threshold = _hour(StreamSpec(preset=preset), first_section).threshold
    counts = [int((threshold <= step / 20).sum()) for step in range(21)]
    added = np.diff(counts)
    assert added.min() >= 1
    # An even growth, no cliff.
    assert added.max() <= 0.2 * counts[20]


def test_density_grows_about_linearly_within_bounds(preset: str, first_section: int) -> None:
    notes = _hour(StreamSpec(preset=preset), first_section)
    times = np.arange(60, 3600, 0.5)
    intensities = np.linspace(0, 1, 11)
    sounding = [_sounding(notes, intensity, times) for intensity in intensities]
    mean = np.array([counts.mean() for counts in sounding])
    assert (np.diff(mean) > 0).all()
    line = np.polyval(np.polyfit(intensities, mean, 1), intensities)
    assert np.abs(mean - line).max() < 0.15 * (mean[-1] - mean[0])
    assert 2.5 <= mean[0] <= 6
    assert 7 <= mean[5] <= 12
    assert 9 <= mean[10] <= 16
    assert sounding[5].max() <= 20
    assert sounding[10].max() <= 26
    assert np.percentile(sounding[10], 95) <= 20


def test_something_sounds_at_every_moment_of_an_hour_at_intensity_0(preset: str, first_section: int) -> None:
    for spec, sections in ((StreamSpec(preset=preset), 15), (StreamSpec(preset=preset, bpm=40, mode="locrian"), 4)):
        notes = _hour(spec, first_section, sections)
        times = np.concatenate((np.arange(0.0, 3600, 0.25), notes.onset_s + 1e-6, notes.onset_s - 1e-3))
        times = times[(times > 60) & (times < 240 * sections)]
        assert _sounding(notes, 0.0, times).min() >= 1
        # Not the drone alone: the chords go on, but for the moments in which they change.
        pad = notes.layer == Layer.PAD
        chords = replace(notes, **{name: getattr(notes, name)[pad] for name in Notes.__slots__})
        assert (_sounding(chords, 0.0, times) >= 1).mean() > 0.97


def test_the_lowest_notes_do_not_growl(spec: StreamSpec, first_section: int) -> None:
    """Below middle C no two tones are held a semitone apart, but for the moment in which harmonies meet."""
    notes = _hour(spec, first_section, 4)
    low = np.flatnonzero(notes.pitch_midi < 60)
    onset, end, pitch = notes.onset_s[low], (notes.onset_s + notes.duration_s)[low], notes.pitch_midi[low]
    rubbing_s = np.minimum(end[:, None], end[None, :]) - np.maximum(onset[:, None], onset[None, :])
    rubbing_s = np.where(np.abs(pitch[:, None] - pitch[None, :]) == 1, rubbing_s, 0.0)
    assert np.clip(rubbing_s, 0.0, None).sum() / 2 < 60 * 4 * SECTION_S / 3600


def test_the_drone_sounds_without_a_break(preset: str, first_section: int) -> None:
    for seed in range(3):
        notes = _hour(StreamSpec(preset=preset, seed=seed), first_section, 8)
        drone = np.flatnonzero((notes.layer == Layer.DRONE) & (notes.threshold == 0))
        held = replace(notes, **{name: getattr(notes, name)[drone] for name in Notes.__slots__})
        times = np.arange(120.0, 8 * SECTION_S, 0.1)
        assert _sounding(held, 0.0, times).min() >= 1


def test_the_drone_moves(preset: str, first_section: int) -> None:
    notes = _hour(StreamSpec(preset=preset), first_section)
    drone = notes.layer == Layer.DRONE
    weight = np.bincount(notes.pitch_midi[drone].astype(int) % 12, (notes.duration_s * notes.gain)[drone], 12)
    assert (weight > 0.05 * weight.sum()).sum() >= 3
    assert weight.max() < 0.75 * weight.sum()


# --- time ----------------------------------------------------------------------------------------------------------


def test_form_and_chords_do_not_depend_on_bpm(spec: StreamSpec, first_section: int) -> None:
    """By more than a bar; a quicker tempo adds chords between the others."""
    slow = _slots(replace(spec, bpm=40), first_section)
    for bpm in (70, 113, 180):
        quick = _slots(replace(spec, bpm=bpm), first_section)
        common = slow.keys() & quick.keys()
        assert len(common) >= len(slow) - 2
        for slot in common:
            (one_s, one), (other_s, other) = slow[slot], quick[slot]
            assert (one.root, one.kind, one.classes) == (other.root, other.kind, other.classes)
            assert abs(one_s - other_s) <= SECTION_S / 40 / 2 + SECTION_S / bpm / 2 + 1e-6


@pytest.mark.parametrize("bpm", [40, 61, 120, 180])
def test_chords_and_beats_lie_on_the_grid(bpm: int, preset: str, first_section: int) -> None:
    section = composed(StreamSpec(preset=preset, bpm=bpm), first_section)
    bars = np.array([chord.onset_s for chord in section.chords]) / (240 / bpm)
    assert np.abs(bars - np.round(bars)).max() < 1e-6
    pulses = section.notes.onset_s[section.notes.layer == Layer.PULSE]
    eighth_s = 60 / bpm / 2
    assert np.abs(pulses - np.round(pulses / eighth_s) * eighth_s).max() < 0.01
    melody = section.notes.onset_s[section.notes.layer == Layer.MELODY]
    grid_s = 60 / bpm / 4
    assert np.abs(melody - np.round(melody / grid_s) * grid_s).max() <= JITTER_S


def test_the_grid_follows_the_tempo_without_folding(preset: str) -> None:
    passage = passages_between(0, 0, 1)[0]
    for bpm in range(40, 181):
        plan = plan_passage(StreamSpec(preset=preset, bpm=bpm), passage)
        assert plan.grid_step_s == pytest.approx(SCORE_PRESETS[preset].melody.grid_beats * 60 / bpm)


def test_the_pulse_follows_the_tempo_without_folding(preset: str, first_section: int) -> None:
    """At twice the tempo its beats are twice as close: nothing is the same at half the speed."""
    gaps = {}
    for bpm in (50, 70, 100, 140):
        notes = composed(StreamSpec(preset=preset, bpm=bpm), first_section).notes
        gaps[bpm] = np.median(np.diff(notes.onset_s[notes.layer == Layer.PULSE]))
    assert gaps[50] / gaps[100] == pytest.approx(2.0, rel=0.02)
    assert gaps[70] / gaps[140] == pytest.approx(2.0, rel=0.02)


def test_more_chords_and_passing_notes_speak_at_a_quicker_tempo(first_section: int) -> None:
    for preset in ("drift", "harbor", "rainfall"):
        slow, quick = (_hour(StreamSpec(preset=preset, bpm=bpm), first_section) for bpm in (60, 120))
        for layer, more in ((Layer.PULSE, 1.8), (Layer.MELODY, 1.1), (Layer.BASS, 1.02)):
            counts = [int(((notes.layer == layer) & (notes.threshold <= 0.6)).sum()) for notes in (slow, quick)]
            assert counts[1] > more * counts[0], (preset, layer.name)


def test_no_bar_is_heard_too_often(preset: str, first_section: int) -> None:
    bpm = 70
    bars: Counter[tuple[tuple[float, ...], ...]] = Counter()
    in_a_row, longest, last = 0, 0, None
    for section in range(first_section, first_section + 15):
        notes = composed(StreamSpec(preset=preset, bpm=bpm), section).notes
        bar = np.floor((notes.onset_s + JITTER_S) * bpm / 240)
        place = np.round((notes.onset_s * bpm / 240 - bar) * 16)
        rows = np.stack((bar, place, notes.pitch_midi, notes.layer), axis=1)
        for number in range(bpm):
            content = tuple(map(tuple, rows[rows[:, 0] == number][:, 1:].tolist()))
            if len(content) >= 3:  # a bar with less in it is a rest with something ringing
                bars[content] += 1
                in_a_row = in_a_row + 1 if content == last else 1
                longest = max(longest, in_a_row)
            last = content
    assert bars.total() > 100
    assert longest <= 3
    assert bars.most_common(1)[0][1] <= 24
    assert max(count for content, count in bars.items() if len(content) >= 6) <= 6


# --- joins ---------------------------------------------------------------------------------------------------------


def test_the_air_is_a_curve_that_meets_its_neighbours(spec: StreamSpec, first_section: int) -> None:
    sections = [composed(spec, first_section + n) for n in range(4)]
    for before, after in itertools.pairwise(sections):
        assert before.air_level[-1] == after.air_level[0]
    for section in sections:
        assert section.air_s[0] == 0
        assert section.air_s[-1] == 240
        assert (np.diff(section.air_s) > 1).all()
        assert section.air_s.dtype == np.float64
        assert section.air_level.dtype == np.float32
        assert 0 < section.air_level.min() < section.air_level.max() <= 1


def test_notes_ring_over_the_join(preset: str, first_section: int) -> None:
    for section in range(first_section, first_section + 5):
        notes = composed(StreamSpec(preset=preset), section).notes
        ringing = notes.onset_s + notes.duration_s > 240
        assert {Layer.DRONE, Layer.PAD} <= set(notes.layer[ringing].tolist())


def test_neighbouring_sections_differ(preset: str, first_section: int) -> None:
    digests = {_digest(composed(StreamSpec(preset=preset), first_section + n)) for n in range(15)}
    assert len(digests) == 15


def test_a_passage_says_once_that_it_has_arrived(preset: str, first_section: int) -> None:
    """Where the arc culminates, the chord's tones are run through in one direction."""
    spec = StreamSpec(preset=preset)
    style = SCORE_PRESETS[preset].shimmer
    notes = _hour(spec, first_section, 8)
    shimmer = notes.layer == Layer.SHIMMER
    heard = 0
    for at_s, plan in _plans(spec, first_section, 8)[1:-1]:
        chord = min(plan.chords, key=lambda candidate, plan=plan: abs(candidate.position - plan.form.arc.peak))
        run = chord.tones(style.low_midi, style.high_midi)[:: -1 if style.style == "drops" else 1][:3]
        step_s = plan.grid_step_s * (2 if style.style == "halo" else 1)
        for place, pitch in enumerate(run):
            due_s = at_s + chord.begin_s + place * step_s
            near = shimmer & (notes.onset_s >= due_s - 1e-6) & (notes.onset_s < due_s + 0.11 * step_s)
            assert pitch in notes.pitch_midi[near]
        heard += 1
    assert heard >= 6


def test_passages_rise_and_fall_in_loudness(preset: str, first_section: int) -> None:
    """The same layer is played louder where the arc is full than where it is thin."""
    spec = StreamSpec(preset=preset)
    for layer in (Layer.DRONE, Layer.PAD):
        gains, levels = [], []
        for _, plan in _plans(spec, first_section, 15)[1:-1]:
            notes = compose_passage(spec, plan.form)
            at = notes.layer == layer
            # Of each pitch by itself, because octaves of a drone differ in strength.
            gains += (notes.gain[at] / notes.gain[at].mean()).tolist()
            levels += [plan.level(onset_s) - plan.level(0.0) for onset_s in notes.onset_s[at].tolist()]
        assert np.corrcoef(gains, levels)[0, 1] > 0.1, layer.name


@pytest.mark.parametrize("bpm", [40, 70, 113])
def test_a_section_is_the_same_part_of_its_passages_from_both_sides(bpm: int, first_section: int) -> None:
    """No note of a passage is lost or doubled where sections cut it."""
    spec = StreamSpec(preset="lantern", bpm=bpm, seed=3)
    joined = _hour(spec, first_section, 6)
    for at_s, plan in _plans(spec, first_section, 6)[1:-1]:
        whole = compose_passage(spec, plan.form)
        inside = (joined.onset_s >= at_s - 1e-6) & (joined.onset_s < at_s + plan.length_s - 1e-6)
        rows = [
            sorted(zip(np.round(onset_s, 4).tolist(), pitch.tolist(), layer.tolist(), seed.tolist(), strict=True))
            for onset_s, pitch, layer, seed in (
                (whole.onset_s + at_s, whole.pitch_midi, whole.layer, whole.seed),
                tuple(getattr(joined, name)[inside] for name in ("onset_s", "pitch_midi", "layer", "seed")),
            )
        ]
        assert rows[0] == rows[1]


# --- determinism ---------------------------------------------------------------------------------------------------

GOLDEN = {
    "c-dorian-70-50-drift-0": "f087edf43534590d",
    "fs-lydian-96-50-aurora-7": "96a355d9238c9e54",
    "a-aeolian-60-50-cathedral-1": "ae8d8bb2d54dc65b",
    "g-mixolydian-120-50-harbor-2": "7621aa363befc847",
    "d-ionian-84-50-lantern-3": "a0d641fc6fb18f62",
    "as-phrygian-40-50-nocturne-4": "48899f6c6c731726",
    "e-locrian-180-50-rainfall-5": "30913373e6d19b3e",
    "c-dorian-55-50-tundra-4294967295": "8a0dd0d0511455b4",
}


@pytest.mark.parametrize(("stream_id", "digest"), GOLDEN.items())
def test_known_sections_are_played_as_ever(stream_id: str, digest: str) -> None:
    """If this fails the music has changed: raise the sound's version and write the new digests down."""
    assert _digest(compose_section(StreamSpec.from_id(stream_id), 7_437_500)) == digest


def test_known_chords_are_played_as_ever() -> None:
    section = compose_section(StreamSpec(), 7_437_500)
    assert [(round(chord.onset_s, 3), chord.name) for chord in section.chords[:5]] == [
        (0.0, "Eb69"),
        (20.571, "G7sus2/D"),
        (34.286, "Dm7"),
        (72.0, "Gmadd9"),
        (123.429, "Csus2"),
    ]


def test_another_process_composes_the_same_bytes() -> None:
    program = (
        "import hashlib; from services.contract.spec import StreamSpec;"
        "from services.synthesis.score.compose import compose_section;"
        "from services.synthesis.score.events import Notes;"
        "s = compose_section(StreamSpec(preset='aurora', seed=9), 7437500);"
        "print(hashlib.sha256(b''.join(getattr(s.notes, n).tobytes() for n in Notes.__slots__)).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_the_score_needs_no_torch() -> None:
    program = "import sys; import services.synthesis.score.compose; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_a_section_is_composed_within_its_budget(preset: str, first_section: int) -> None:
    spec = StreamSpec(preset=preset, bpm=180)
    compose_section(spec, first_section)  # voicings are worked out once
    times_s = []
    for number in range(5):
        begin = time.thread_time()
        compose_section(spec, first_section + number)
        times_s.append(time.thread_time() - begin)
    assert min(times_s) < 0.040


# --- cache ---------------------------------------------------------------------------------------------------------


def test_a_section_in_use_is_composed_once() -> None:
    cache = SectionCache(4)
    first = cache.get(StreamSpec(), 10)
    assert cache.get(StreamSpec(), 10) is first
    assert (cache.hits, cache.misses, cache.evictions) == (1, 1, 0)
    assert _same(first, compose_section(StreamSpec(), 10))


def test_streams_that_differ_in_intensity_share_a_section() -> None:
    cache = SectionCache(4)
    assert cache.get(StreamSpec(intensity_steps=3), 10) is cache.get(StreamSpec(intensity_steps=18), 10)
    assert cache.get(StreamSpec(bpm=71), 10) is not cache.get(StreamSpec(), 10)


def test_the_least_recently_used_section_is_dropped_and_counted() -> None:
    cache = SectionCache(2)
    first = cache.get(StreamSpec(), 1)
    cache.get(StreamSpec(), 2)
    assert cache.get(StreamSpec(), 1) is first
    cache.get(StreamSpec(), 3)
    assert len(cache) == 2
    assert cache.evictions == 1
    assert cache.get(StreamSpec(), 1) is first
    cache.get(StreamSpec(), 2)
    assert cache.misses == 4


def test_a_cache_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        SectionCache(0)


def test_threads_may_share_a_cache() -> None:
    cache = SectionCache(3)
    found: list[Section] = []

    def use() -> None:
        found.extend(cache.get(StreamSpec(preset="tundra"), number % 4) for number in range(12))

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 36
    assert len(cache) == 3
    assert cache.hits + cache.misses == 36
