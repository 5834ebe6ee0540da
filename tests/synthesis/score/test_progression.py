from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.contract.spec import MODES, PRESETS, StreamSpec
from services.synthesis.score.form import passages_between
from services.synthesis.score.plan import plan_passage
from services.synthesis.score.progression import centre_of, progression, tension_of, usable_roots
from services.synthesis.score.theory import SCALES, semitones

NOW_MS = 1_785_000_000_000
HOURS_MS = 3 * 3_600_000
PASSAGES = {seed: passages_between(seed, NOW_MS, NOW_MS + HOURS_MS) for seed in range(4)}


def test_presets_of_a_seed_share_their_harmony() -> None:
    """Where two presets have a chord, it begins in the same bar and stands on the same root of the same mode."""
    for passage in PASSAGES[1][:8]:
        heard = {
            preset: {
                chord.slot: (chord.begin_s, chord.root, chord.mode)
                for chord in plan_passage(StreamSpec(preset=preset, seed=1), passage).chords
            }
            for preset in PRESETS
        }
        for one, other in itertools.combinations(PRESETS, 2):
            common = heard[one].keys() & heard[other].keys()
            assert len(common) >= 3
            assert all(heard[one][slot] == heard[other][slot] for slot in common)


@pytest.mark.parametrize("mode", MODES)
def test_a_passage_closes_with_a_cadence_on_its_centre(mode: str) -> None:
    for seed, passages in PASSAGES.items():
        for passage in passages:
            harmony = progression(seed, mode, passage)
            pillars = [slot for slot in harmony.slots if slot.rank == 0]
            assert pillars[-1].root == harmony.centre
            assert (pillars[-2].root - harmony.centre) % 7 in {1, 3, 4, 6}


@pytest.mark.parametrize("mode", MODES)
def test_roots_move_and_lie_in_their_mode(mode: str) -> None:
    for seed, passages in PASSAGES.items():
        for passage in passages:
            slots = progression(seed, mode, passage).slots
            assert [slot.number for slot in slots] == list(range(len(slots)))
            assert all(before.position < after.position for before, after in itertools.pairwise(slots))
            assert all(slot.root in usable_roots(slot.mode) for slot in slots)
            assert all((slot.mode != mode) == slot.away for slot in slots)
            assert slots[0].position == 0.0
            assert not slots[0].away
            assert not slots[-1].away
            assert all(before.root != after.root for before, after in itertools.pairwise(slots[::4]))


@pytest.mark.parametrize("mode", MODES)
def test_a_drone_moves_and_stands_on_tones_of_every_chord_scale_above_it(mode: str) -> None:
    centres = set()
    for seed, passages in PASSAGES.items():
        for passage in passages:
            harmony = progression(seed, mode, passage)
            centres.add(harmony.centre)
            assert harmony.centre == centre_of(seed, mode, passage)
            drone = {semitones(mode, harmony.centre) % 12, (semitones(mode, harmony.centre) + harmony.fifth) % 12}
            for slot in harmony.slots:
                assert drone <= set(SCALES[slot.mode])
    assert len(centres) >= 3
    at_home = [centre_of(seed, mode, passage) == 0 for seed, rows in PASSAGES.items() for passage in rows]
    assert 0.3 < np.mean(at_home) < 0.9


def test_returning_passages_keep_most_roots_and_change_some() -> None:
    same = total = 0
    for seed, passages in PASSAGES.items():
        first: dict[object, list[int]] = {}
        for passage in passages:
            harmony = progression(seed, "dorian", passage)
            roots = [(slot.root - harmony.centre) % 7 for slot in harmony.slots if slot.rank == 0][1:-2]
            known = first.setdefault(passage.material, roots)
            if known is not roots:
                pairs = list(zip(known, roots, strict=False))
                same += sum(one == other for one, other in pairs)
                total += len(pairs)
    assert total > 50
    assert 0.3 < same / total < 0.95


def test_roots_are_tenser_where_the_arc_is_higher() -> None:
    tension, wanted = [], []
    for seed, passages in PASSAGES.items():
        for passage in passages:
            harmony = progression(seed, "dorian", passage)
            # The first chord and the cadence are where they are for other reasons.
            free = harmony.slots[4:-8]
            tension += [tension_of(slot.root, harmony.centre) for slot in free]
            wanted += [slot.tension for slot in free]
    assert np.corrcoef(tension, wanted)[0, 1] > 0.25
