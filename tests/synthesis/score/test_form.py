from __future__ import annotations

import pytest

from services.contract.spec import PRESETS
from services.synthesis.score.form import (
    PART_UNITS,
    SECTION_UNITS,
    SECTIONS_PER_GROUP,
    Letter,
    bar_of,
    join_unit,
    material_of,
    plan_form,
)


def test_sections_come_in_groups_that_return_to_a(first_section: int) -> None:
    letters = [plan_form("drift", 0, section).letter for section in range(first_section, first_section + 400)]
    starts = [i for i in range(1, 8) if plan_form("drift", 0, first_section + i).visit == 0 and letters[i] is Letter.A]
    groups = [letters[i : i + SECTIONS_PER_GROUP] for i in range(starts[0], 396, SECTIONS_PER_GROUP)]
    assert all(group[0] is Letter.A for group in groups)
    assert all(group.count(Letter.A) >= 2 and len(set(group)) >= 2 for group in groups)
    # Listeners cannot set their watch by it.
    assert len({tuple(group) for group in groups}) >= 3


def test_sections_of_one_letter_share_their_material_and_its_chord_rhythm(first_section: int) -> None:
    seen: dict[object, tuple[int, ...]] = {}
    shared = 0
    for section in range(first_section, first_section + 60):
        form = plan_form("harbor", 4, section)
        assert form.material == material_of("harbor", 4, section)
        if form.material in seen:
            shared += 1
            assert form.chord_units == seen[form.material]
        seen[form.material] = form.chord_units
    assert shared >= 15


def test_other_seeds_and_presets_have_other_material(first_section: int) -> None:
    materials = {material_of(preset, seed, first_section) for preset in PRESETS for seed in range(20)}
    assert len(materials) == len(PRESETS) * 20


def test_arcs_meet_where_sections_join(preset: str, first_section: int) -> None:
    for section in range(first_section, first_section + 50):
        before, after = plan_form(preset, 1, section).arc, plan_form(preset, 1, section + 1).arc
        assert before.level(1.0) == pytest.approx(after.level(0.0), abs=1e-12)


def test_a_section_rises_and_falls_and_b_rises_highest(first_section: int) -> None:
    heights: dict[Letter, list[float]] = {letter: [] for letter in Letter}
    for section in range(first_section, first_section + 200):
        form = plan_form("aurora", 2, section)
        levels = [form.arc.level(position / 100) for position in range(101)]
        assert -0.4 <= min(levels) <= max(levels) <= 0.7
        heights[form.letter].append(max(levels) - levels[0])
    mean = {letter: sum(values) / len(values) for letter, values in heights.items()}
    assert mean[Letter.B] > mean[Letter.A] > 2 * mean[Letter.C]


def test_the_last_chord_breathes_and_never_all_of_them(preset: str, first_section: int) -> None:
    for section in range(first_section, first_section + 40):
        form = plan_form(preset, 0, section)
        assert len(form.chord_units) - 1 in form.breaths
        assert len(form.breaths) <= 2


def test_a_colour_is_home_before_the_section_ends(preset: str, first_section: int) -> None:
    coloured = 0
    for section in range(first_section, first_section + 200):
        colour = plan_form(preset, 3, section).colour
        if colour is not None:
            coloured += 1
            assert PART_UNITS <= colour.begin < colour.end <= SECTION_UNITS - PART_UNITS // 2
            assert (colour.step, colour.centre) in {(-1, 0), (-1, 4), (1, 0), (1, 3)}
    assert 10 <= coloured <= 140  # now and then: neither never nor always


@pytest.mark.parametrize("bpm", [40, 70, 97, 180])
def test_positions_are_moved_to_the_nearest_bar(bpm: int) -> None:
    bars = [bar_of(unit, bpm) for unit in range(SECTION_UNITS + 1)]
    assert bars[0] == 0
    assert bars[-1] == bpm
    assert all(abs(bar - unit * bpm / SECTION_UNITS) <= 0.5 for unit, bar in enumerate(bars))


def test_what_two_sections_share_is_the_same_seen_from_both() -> None:
    assert join_unit(5, 100, 1) == join_unit(5, 100, 1)
    assert join_unit(5, 100, 1) != join_unit(5, 101, 1)
