from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from services.contract.spec import MODES, StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.card import card_of
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.score.form import passages_between
from services.synthesis.score.hashing import Dice
from services.synthesis.score.layers.line import fit, growls
from services.synthesis.score.layers.melody import Phrase, phrases
from services.synthesis.score.layers.motif import Motif, answer, fitting, head, inverted, state, stretched, vary
from services.synthesis.score.plan import Plan, plan_passage
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.score.theory import CHARACTERISTIC, semitones

composed = lru_cache(maxsize=512)(compose_section)
THEMES = [theme for seed in range(40) for theme in card_of(seed).themes]
HOUR_MS = 3_600_000


def _phrases(spec: StreamSpec, section: int, hours: float = 1.0) -> list[tuple[Plan, Phrase]]:
    begin_ms = section * SECTION_S * 1000
    plans = [plan_passage(spec, p) for p in passages_between(spec.seed, begin_ms, begin_ms + int(hours * HOUR_MS))]
    return [(plan, phrase) for plan in plans for phrase in phrases(plan)]


# --- motifs -----------------------------------------------------------------------------------------------------------


def test_a_motif_is_a_theme_in_one_of_the_presets_rhythms(preset: str) -> None:
    style = SCORE_PRESETS[preset].melody
    seen = set()
    for number, theme in enumerate(THEMES):
        motif = state(theme, style, Dice(number))
        assert motif.lengths in style.rhythms
        assert len(motif.moves) == len(motif.lengths) - 1
        plain = theme[: len(motif.moves)]
        assert motif.moves in {plain, tuple(-move for move in plain)} or "chant" in style.contours
        seen.add(motif)
    assert len(seen) >= 20


def test_a_variation_keeps_part_of_the_motif_and_changes_part() -> None:
    motif = Motif((3, 1, 2, 4), (1, 2, -1))
    varied = [vary(motif, Dice(number)) for number in range(100)]
    assert sum(variation != motif for variation in varied) > 90
    assert len(set(varied)) >= 6
    for variation in varied:
        assert len(variation.lengths) == len(variation.moves) + 1
        kept = sum(one == other for one, other in zip(motif.moves, variation.moves, strict=False))
        turned = sum(one == -other for one, other in zip(motif.moves, variation.moves, strict=False))
        assert variation.lengths == motif.lengths or kept >= 1 or turned >= 1


def test_no_variation_leaves_a_leap_unfilled() -> None:
    for number, theme in enumerate(THEMES):
        motif = Motif((1,) * 6, theme[:5])
        for way in range(12):
            for varied in (vary(motif, Dice(number).at(way)), answer(motif, Dice(number).at(way)), inverted(motif)):
                for move, after in itertools.pairwise(varied.moves):
                    if abs(move) >= 3 and move in (*motif.moves, *(-m for m in motif.moves)):
                        assert after * move <= 0 or after == 0


def test_an_answer_has_the_calls_rhythm_and_comes_down() -> None:
    motif = Motif((3, 3, 2, 4), (2, 1, 1))
    for number in range(50):
        reply = answer(motif, Dice(number))
        assert reply.lengths == motif.lengths
        assert sum(reply.moves[-2:]) <= 0


def test_a_head_is_the_beginning_of_the_call() -> None:
    motif = Motif((3, 1, 2, 4, 8), (1, 1, -1, -1))
    assert {head(motif, Dice(number)).moves for number in range(50)} == {(1,), (1, 1)}
    assert all(head(motif, Dice(number)).lengths[-1] == 8 for number in range(50))


def test_a_stretched_motif_takes_twice_the_time_and_an_inverted_one_turns_round() -> None:
    motif = Motif((3, 1, 4), (1, -2))
    assert stretched(motif) == Motif((6, 2, 4), (1, -2))
    assert inverted(motif) == Motif((3, 1, 4), (-1, 2))
    assert motif.heights == (0, 1, -1)


def test_a_motif_is_cut_to_the_notes_that_may_still_begin() -> None:
    motif = Motif((3, 1, 2, 4), (1, 1, -1))
    assert fitting(motif, 20) == motif
    assert fitting(motif, 4) == Motif((3, 1, 2), (1, 1))
    assert fitting(motif, 2) is None


# --- lines ------------------------------------------------------------------------------------------------------------


def test_a_line_keeps_its_moves_where_the_chord_allows_it_and_ends_at_rest() -> None:
    plan = plan_passage(StreamSpec(mode="ionian"), passages_between(0, 0, 1)[0])
    chord = replace(plan.chords[0], mode="ionian", classes=(0, 4, 7), voicing=(60, 64, 67, 72))
    motif = Motif((2, 1, 1, 2), (-1, -1, -1))
    degrees = fit(motif, [chord] * 4, [True, False, False, True], 7, frozenset(), rests=True)
    assert degrees in {(7, 6, 5, 4), (3, 2, 1, 0), (4, 3, 2, 0)} or degrees[-1] % 7 in (0, 4)
    assert degrees[-1] % 7 in (0, 4)
    assert [b - a for a, b in itertools.pairwise(degrees)].count(-1) >= 2


def test_a_line_avoids_low_semitones_beside_held_tones() -> None:
    plan = plan_passage(StreamSpec(mode="ionian"), passages_between(0, 0, 1)[0])
    chord = replace(plan.chords[0], mode="ionian", classes=(0, 4, 7), voicing=(48, 52, 55, 60))
    assert growls(53, chord, frozenset())
    assert not growls(50, chord, frozenset())
    assert not growls(65, chord, frozenset({64}))
    degrees = fit(Motif((1, 1, 1), (1, 1)), [chord] * 3, [True, False, True], -6, frozenset(), rests=False)
    pitches = [chord.tonic_midi + semitones("ionian", degree) for degree in degrees]
    assert not any(growls(pitch, chord, frozenset()) for pitch in pitches)


# --- melodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["dorian", "lydian", "phrygian"])
def test_lines_sing(preset: str, mode: str, first_section: int) -> None:
    steps = moves = filled = leaps = 0
    for seed in range(3):
        for _, phrase in _phrases(StreamSpec(preset=preset, mode=mode, seed=seed), first_section):
            jumps = [b.pitch_midi - a.pitch_midi for a, b in itertools.pairwise(phrase.notes)]
            moves += len(jumps)
            steps += sum(0 < abs(jump) <= 2 for jump in jumps)
            for jump, after in itertools.pairwise(jumps):
                if abs(jump) >= 5:
                    leaps += 1
                    filled += after * jump < 0
    assert steps / moves >= 0.5
    assert leaps > 10
    assert filled / leaps >= 0.6


def test_answers_close_on_root_or_fifth(preset: str, first_section: int) -> None:
    at_rest = []
    for seed in range(3):
        for plan, phrase in _phrases(StreamSpec(preset=preset, seed=seed), first_section):
            if phrase.answers:
                last = phrase.notes[-1]
                at_rest.append((last.pitch_midi - plan.tonic_midi - last.chord.classes[0]) % 12 in (0, 7))
    assert len(at_rest) > 20
    assert np.mean(at_rest) >= 0.6


def test_phrases_have_notes_enough_to_be_phrases(preset: str, first_section: int) -> None:
    lengths = [len(phrase.notes) for _, phrase in _phrases(StreamSpec(preset=preset), first_section)]
    assert np.mean(lengths) >= 3
    assert min(lengths) >= 2


def test_themes_come_back_changed_after_half_an_hour_and_more(preset: str, first_section: int) -> None:
    """Known by their moves, upside down or not; another seed's are found less often."""
    heard: dict[int, list[tuple[float, tuple[int, ...]]]] = {}
    for seed in (0, 1):
        heard[seed] = [
            (plan.form.begin_ms / 1000 + phrase.notes[0].onset_s, tuple(note.degree for note in phrase.notes))
            for plan, phrase in _phrases(StreamSpec(preset=preset, seed=seed), first_section, 3.0)
        ]

    def shapes(degrees: tuple[int, ...]) -> set[tuple[int, ...]]:
        moves = tuple(b - a for a, b in itertools.pairwise(degrees))[:4]
        return {moves, tuple(-move for move in moves)} if len(moves) == 4 else set()

    def share(found: list[tuple[float, tuple[int, ...]]], said: list[tuple[float, tuple[int, ...]]]) -> float:
        late = [(at_s, degrees) for at_s, degrees in found if at_s > found[0][0] + 1800 and shapes(degrees)]
        again = [
            any(shapes(degrees) & shapes(other) and degrees != other for then_s, other in said if then_s <= at_s - 1800)
            for at_s, degrees in late
        ]
        return float(np.mean(again))

    own, chance = share(heard[0], heard[0]), share(heard[0], heard[1])
    assert own >= 0.5
    assert own > chance + 0.1


def _melody(spec: StreamSpec, section: int, intensity: float) -> tuple[np.ndarray, np.ndarray]:
    notes = composed(spec, section).notes
    heard = (notes.layer == Layer.MELODY) & (notes.threshold <= intensity)
    return notes.onset_s[heard], notes.pitch_midi[heard]


def test_the_melody_breathes(preset: str, first_section: int) -> None:
    """Even at full intensity there are silences between phrases, one of them long."""
    for section in range(first_section, first_section + 6):
        onsets, _ = _melody(StreamSpec(preset=preset), section, 1.0)
        pauses = np.diff(np.concatenate(([0.0], onsets, [240.0])))
        assert pauses.max() >= 7.0


def test_a_melody_note_is_heard_now_and_then_at_intensity_0(preset: str, first_section: int) -> None:
    counts = [len(_melody(StreamSpec(preset=preset), first_section + n, 0.0)[0]) for n in range(15)]
    assert all(first + second >= 1 for first, second in itertools.pairwise(counts))
    assert 15 <= sum(counts) <= 300  # an hour: from one in four minutes to five a minute


@pytest.mark.parametrize("mode", MODES)
def test_the_characteristic_note_is_in_the_melody(mode: str, first_section: int) -> None:
    for preset in ("drift", "lantern", "cathedral"):
        pitches = np.concatenate(
            [_melody(StreamSpec(preset=preset, mode=mode), first_section + n, 1.0)[1] for n in range(8)]
        )
        share = (pitches % 12 == semitones(mode, CHARACTERISTIC[mode])).mean()
        # One note of seven would be a seventh by chance, and it is no chord tone most of the time.
        assert share > 0.09, preset
