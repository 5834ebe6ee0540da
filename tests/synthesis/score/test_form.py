from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer
from services.synthesis.score.form import (
    LONGEST_MOVEMENT_MS,
    LONGEST_PASSAGE_MS,
    SHORTEST_MOVEMENT_MS,
    SHORTEST_PASSAGE_MS,
    Letter,
    Passage,
    bar_of,
    movement_of,
    neighbour,
    passage_at,
    passages_between,
    presence,
)
from services.synthesis.score.hashing import Dice

NOW_MS = 1_785_000_000_000
DAY_MS = 86_400_000


def _day(seed: int) -> list[Passage]:
    return passages_between(seed, NOW_MS, NOW_MS + DAY_MS)


@pytest.mark.parametrize("seed", [0, 1, 7, 2**32 - 1])
def test_passages_follow_each_other_without_gap_and_are_unequal(seed: int) -> None:
    day = _day(seed)
    assert all(before.end_ms == after.begin_ms for before, after in itertools.pairwise(day))
    lengths = [passage.end_ms - passage.begin_ms for passage in day]
    assert min(lengths) >= SHORTEST_PASSAGE_MS
    assert max(lengths) <= LONGEST_PASSAGE_MS
    assert np.std(lengths) > 30_000
    assert len(set(lengths)) > 0.95 * len(lengths)


@pytest.mark.parametrize("seed", [0, 3])
def test_movements_take_12_to_40_minutes(seed: int) -> None:
    lengths = []
    for number in range(1_144_000, 1_144_200):
        movement = movement_of(seed, number)
        lengths.append(movement[-1].end_ms - movement[0].begin_ms)
        assert 3 <= len(movement) <= 13
    assert min(lengths) >= SHORTEST_MOVEMENT_MS
    assert max(lengths) <= LONGEST_MOVEMENT_MS
    assert max(lengths) > 2 * min(lengths)


def test_any_moment_is_found_alone_as_in_a_row() -> None:
    for passage in _day(5)[1:60]:
        for at_ms in (passage.begin_ms, (passage.begin_ms + passage.end_ms) // 2, passage.end_ms - 1):
            assert passage_at(5, at_ms) == passage


def test_neighbours_reach_over_movements() -> None:
    day = _day(2)
    for before, after in itertools.pairwise(day):
        assert neighbour(2, before, 1) == after
        assert neighbour(2, after, -1) == before


def test_moments_before_the_epoch_have_passages_too() -> None:
    assert passages_between(0, -1000, 1000)[0].begin_ms <= -1000


def test_seeds_are_at_another_place_of_another_form() -> None:
    borders = [{passage.begin_ms for passage in _day(seed)} for seed in range(6)]
    for one, other in itertools.combinations(borders, 2):
        assert len(one & other) <= 2


def test_a_movement_begins_and_ends_with_a_and_has_others() -> None:
    forms = set()
    for number in range(1_144_000, 1_144_100):
        letters = [passage.letter for passage in movement_of(4, number)]
        assert letters[0] is letters[-1] is Letter.A
        assert len(set(letters)) >= 2
        forms.add(tuple(letters))
    assert len(forms) > 50


def test_passages_of_one_letter_share_their_material_within_a_movement() -> None:
    for number in range(1_144_000, 1_144_030):
        movement = movement_of(0, number)
        for one, other in itertools.combinations(movement, 2):
            assert (one.material == other.material) == (one.letter == other.letter)
            assert one.own != other.own


def test_arcs_meet_where_passages_join() -> None:
    for before, after in itertools.pairwise(_day(1)):
        assert before.arc.level(1.0) == pytest.approx(after.arc.level(0.0), abs=1e-12)


def test_a_passage_rises_and_falls_and_b_rises_highest() -> None:
    heights: dict[Letter, list[float]] = {letter: [] for letter in Letter}
    for passage in _day(2):
        levels = [passage.arc.level(place / 100) for place in range(101)]
        assert -0.4 <= min(levels) <= max(levels) <= 0.8
        heights[passage.letter].append(max(levels) - levels[0])
    mean = {letter: sum(values) / len(values) for letter, values in heights.items()}
    assert mean[Letter.B] > mean[Letter.A] > mean[Letter.C]


def test_the_day_is_slow_and_moves() -> None:
    moods = [movement_of(0, number)[0].mood for number in range(1_144_000, 1_144_060)]
    assert len(set(moods)) == len(moods)
    for values in ([mood.light for mood in moods], [mood.fullness for mood in moods]):
        assert min(values) < -0.5 < 0.5 < max(values)


@pytest.mark.parametrize("bpm", [40, 70, 97, 180])
def test_places_are_moved_to_the_nearest_bar_of_one_grid(bpm: int) -> None:
    section = 7_437_500
    assert bar_of(section * SECTION_S * 1000, bpm) == section * bpm
    for passage in _day(0)[:50]:
        assert abs(bar_of(passage.begin_ms, bpm) * SECTION_S / bpm - passage.begin_ms / 1000) <= SECTION_S / bpm / 2


def test_a_layer_comes_and_goes_with_its_share() -> None:
    times_s = np.arange(0.0, 40_000.0, 1.0)
    there = presence(Dice(3), Layer.MELODY, 83, times_s, 0.7)
    assert there.min() == 0.0
    assert there.max() == 1.0
    assert 0.45 < there.mean() < 0.75
    # It does not jump, and does not come back in step with its period.
    assert np.abs(np.diff(there)).max() < 0.2
    assert not np.array_equal(there[:166], there[166:332])
