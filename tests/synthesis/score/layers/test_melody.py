from __future__ import annotations

import itertools
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from services.contract.spec import MODES, StreamSpec
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.score.hashing import Dice
from services.synthesis.score.layers.motif import Motif, answer, head, invent, vary
from services.synthesis.score.plan import plan_section
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.score.theory import CHARACTERISTIC, semitones

composed = lru_cache(maxsize=512)(compose_section)


def test_a_motif_moves_within_its_reach(preset: str) -> None:
    style = SCORE_PRESETS[preset].melody
    for number in range(200):
        motif = invent(style, Dice(number))
        assert len(motif.lengths) == len(motif.intervals) >= 2
        assert motif.intervals[0] == 0
        assert len(set(motif.intervals)) >= 2
        assert max(motif.intervals) - min(motif.intervals) <= style.reach + 3


def test_motifs_differ(preset: str) -> None:
    style = SCORE_PRESETS[preset].melody
    assert len({invent(style, Dice(number)) for number in range(60)}) >= 20


def test_a_variation_keeps_part_of_the_motif_and_changes_part() -> None:
    motif = Motif((3, 1, 2, 4), (0, 2, 4, 1))
    varied = [vary(motif, Dice(number)) for number in range(100)]
    assert sum(variation != motif for variation in varied) > 90
    assert len(set(varied)) >= 8
    for variation in varied:
        assert len(variation.lengths) == len(variation.intervals)
        # The rhythm or the intervals survive, and the length does.
        assert variation.lengths == motif.lengths or sum(variation.lengths) == sum(motif.lengths)


def test_an_answer_has_the_calls_rhythm_and_ends_below_its_beginning() -> None:
    motif = Motif((3, 3, 2, 4), (0, 2, 4, 3))
    for number in range(50):
        reply = answer(motif, Dice(number))
        assert reply.lengths == motif.lengths
        assert reply.intervals[-1] <= 1
    assert {answer(motif, Dice(number)).intervals for number in range(50)} != {motif.intervals}


def test_a_head_is_the_beginning_of_the_call() -> None:
    motif = Motif((3, 1, 2, 4, 8), (0, 2, 4, 1, 0))
    assert {head(motif, Dice(number)).intervals for number in range(50)} == {(0, 2), (0, 2, 4)}
    assert all(head(motif, Dice(number)).lengths[-1] == 8 for number in range(50))


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


def test_a_call_comes_back_within_its_section(preset: str, first_section: int) -> None:
    """Some outline of three notes is heard again and again within an hour, and there are several of them."""
    outlines: Counter[tuple[int, ...]] = Counter()
    for section in range(first_section, first_section + 15):
        plan = plan_section(StreamSpec(preset=preset, mode="ionian"), section)
        notes = compose_section(StreamSpec(preset=preset, mode="ionian"), section).notes
        melody = notes.layer == Layer.MELODY
        for chord in plan.chords:
            inside = melody & (notes.onset_s >= chord.begin_s - 0.06) & (notes.onset_s < chord.end_s - 0.06)
            first = notes.pitch_midi[inside & (notes.gain > 0.6 * SCORE_PRESETS[preset].melody.gain)][:3]
            if len(first) == 3:
                outlines[tuple(np.sign(np.diff(first)).astype(int))] += 1
    assert outlines.total() >= 20
    assert len(outlines) >= 4  # surprise
    assert outlines.most_common(1)[0][1] >= 0.15 * outlines.total()  # repetition


@pytest.mark.parametrize("mode", MODES)
def test_the_characteristic_note_is_in_the_melody(mode: str, first_section: int) -> None:
    for preset in ("drift", "lantern", "cathedral"):
        pitches = np.concatenate(
            [_melody(StreamSpec(preset=preset, mode=mode), first_section + n, 1.0)[1] for n in range(8)]
        )
        share = (pitches % 12 == semitones(mode, CHARACTERISTIC[mode])).mean()
        # One note of seven would be a seventh by chance, and it is no chord tone most of the time.
        assert share > 0.09, preset
