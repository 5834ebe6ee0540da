"""Pure. Form: which section is which (A, A', B, ...), where its chords begin, how it rises and falls.

Positions are in 64ths of a section (units), and only `bar_of` reads bpm: steering bpm keeps the place in the form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from services.synthesis.score.hashing import Dice
from services.synthesis.score.presets import SCORE_PRESETS, ScorePreset

SECTIONS_PER_GROUP: Final = 4
"""A group of sections has a form such as A A' B A''."""
PARTS: Final = 4
"""Parts of a section, 60 s each."""
PART_UNITS: Final = 16
SECTION_UNITS: Final = PARTS * PART_UNITS

_LEAST_HEIGHT: Final = 0.8
_HEIGHT_RANGE: Final = 0.4
"""Chance makes a culmination 0.8 to 1.2 times as high as `_PEAK` says."""
_FIRST_VISIT: Final = 0.85
_EACH_VISIT: Final = 0.15
"""A section that returns culminates higher: 0.85, 1.0, 1.15 times as high."""
_PEAK_RANGE: Final = 0.12
"""Width, as a share of the section, in which the culmination lies."""
_JOIN_LEVEL: Final = 0.25
_JOIN_RANGE: Final = 0.25
"""Sections join at a level of 0.25 to 0.5."""
_MANY_CHORDS: Final = 8
"""A section with as many chords or more has a second breath."""
_COLOUR_IN_A: Final = 0.3
"""An A section is coloured this many times as often as the others."""
_MODULATES: Final = 0.5
"""Chance that a colour is a modulation and not a borrowed colour."""


class Draw(IntEnum):
    """First word of every path of draws, so that no two decisions share a draw."""

    PHASE = 1
    GROUP = 2
    MATERIAL = 3
    SECTION = 4
    FORM = 5
    ANCHOR = 6
    RHYTHM = 7
    COLOUR = 8
    CHORD = 9
    BASS = 10
    PAD = 11
    MOTIF = 12
    PHRASE = 13
    MELODY = 14
    SHIMMER = 15
    PULSE = 16
    AIR = 17
    JOIN = 18
    ARC = 19
    BREATH = 20
    DRONE = 21
    NOTE = 22
    VARY = 23
    THRESHOLD = 24
    ORCHESTRATION = 25
    ARRIVAL = 26


class Letter(IntEnum):
    """What a section is to its group."""

    A = 0
    B = 1
    C = 2


_FORMS: Final = (
    ((Letter.A, 0), (Letter.A, 1), (Letter.B, 0), (Letter.A, 2)),
    ((Letter.A, 0), (Letter.B, 0), (Letter.A, 1), (Letter.C, 0)),
    ((Letter.A, 0), (Letter.B, 0), (Letter.B, 1), (Letter.A, 1)),
    ((Letter.A, 0), (Letter.A, 1), (Letter.C, 0), (Letter.B, 0)),
)
"""Letters, each with the number of times that it came before in the group. C is an interlude: thin and quiet."""

_PEAK: Final = {Letter.A: (0.40, 0.62), Letter.B: (0.60, 0.68), Letter.C: (0.05, 0.35)}
"""Height of the arc above its ends, and where in the section it culminates, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Presence:
    """How much of a layer a part of a section has: 1 all of it, 0.5 the plainer half, 0 none."""

    bass: float
    melody: float
    shimmer: float
    pulse: float


_ORCHESTRATIONS: Final = {
    # For each of the four parts. Drone and pad always sound; the other layers give each part its character.
    Letter.A: (
        (Presence(1, 1, 0.5, 0), Presence(1, 1, 1, 0.5), Presence(1, 1, 1, 1), Presence(1, 0.5, 1, 0.5)),
        (Presence(0, 0.5, 1, 0), Presence(1, 1, 0.5, 1), Presence(1, 1, 1, 1), Presence(1, 1, 0.5, 0)),
        (Presence(1, 0, 1, 0.5), Presence(1, 1, 0.5, 0.5), Presence(1, 1, 1, 1), Presence(0, 1, 1, 0.5)),
        (Presence(1, 1, 0, 0.5), Presence(0, 1, 1, 0), Presence(1, 1, 0.5, 1), Presence(1, 1, 1, 1)),
    ),
    Letter.B: (
        (Presence(1, 1, 1, 1), Presence(1, 1, 0.5, 1), Presence(1, 1, 1, 1), Presence(1, 0.5, 1, 0.5)),
        (Presence(1, 0.5, 1, 1), Presence(1, 1, 1, 1), Presence(1, 1, 1, 1), Presence(0, 1, 0.5, 0)),
        (Presence(1, 1, 0, 1), Presence(1, 1, 1, 1), Presence(0, 1, 1, 0.5), Presence(1, 1, 1, 1)),
    ),
    Letter.C: (
        (Presence(0, 0.5, 1, 0), Presence(0, 1, 0.5, 0), Presence(1, 0.5, 1, 0), Presence(1, 1, 0.5, 0.5)),
        (Presence(1, 0, 0.5, 0.5), Presence(1, 0.5, 1, 0), Presence(0, 1, 0.5, 0), Presence(1, 0.5, 1, 0.5)),
    ),
}


@dataclass(frozen=True, slots=True)
class Arc:
    """Rise and fall of a section.

    Attributes:
        begin, end: level where it joins its neighbours, 0 to 1.
        height: of the culmination above the straight way from begin to end.
        peak: where it culminates, 0 to 1.
        amount: the preset's share, 0 to 1.
    """

    begin: float
    end: float
    height: float
    peak: float
    amount: float

    def level(self, position: float) -> float:
        """From about -0.3 (thin) to 0.6 (full) at `position`, 0 to 1; continuous where sections join."""
        straight = self.begin + (self.end - self.begin) * position
        side = position / self.peak if position < self.peak else (1.0 - position) / (1.0 - self.peak)
        swell = 0.5 - 0.5 * math.cos(math.pi * min(max(side, 0.0), 1.0))
        return (straight + self.height * swell - 0.5) * self.amount


@dataclass(frozen=True, slots=True)
class Colour:
    """A stretch of a section in a neighbouring mode or key; home again before the section ends.

    Attributes:
        begin, end: units.
        step: -1 towards lydian (one note raised), 1 towards locrian (one note lowered).
        centre: degree that takes the tonic's place: 0 for a borrowed colour, 4 or 3 for a modulation.
    """

    begin: int
    end: int
    step: int
    centre: int


@dataclass(frozen=True, slots=True)
class Form:
    """The shape of one section.

    Attributes:
        letter: its place in the group's form.
        visit: number of earlier sections of the group with this letter.
        group: draws of the whole group.
        material: draws that all sections of this letter in this group share.
        own: draws of this section alone.
        arc: its rise and fall.
        chord_units: where chords begin, in units; the first is 0.
        breaths: indices of chords under which melody, shimmer and pulse rest.
        presence: of the layers in each of the four parts.
        colour: None for most sections.
    """

    letter: Letter
    visit: int
    group: Dice
    material: Dice
    own: Dice
    arc: Arc
    chord_units: tuple[int, ...]
    breaths: frozenset[int]
    presence: tuple[Presence, Presence, Presence, Presence]
    colour: Colour | None


def plan_form(preset_name: str, seed: int, section: int) -> Form:
    """The form of `section` (its number since the epoch). All presets of a seed share letters and arcs."""
    preset = SCORE_PRESETS[preset_name]
    stream = Dice(0).at(seed)
    group, letter, visit = _place(stream, section)
    group = group.at(_word(preset_name))
    material = group.at(Draw.MATERIAL, letter)
    own = stream.at(Draw.SECTION, section, _word(preset_name))

    height, peak = _PEAK[letter]
    arc = Arc(
        begin=_join_level(stream, section),
        end=_join_level(stream, section + 1),
        height=height * (_FIRST_VISIT + _EACH_VISIT * visit) * (_LEAST_HEIGHT + _HEIGHT_RANGE * own.unit(Draw.ARC, 0)),
        peak=peak + _PEAK_RANGE * (own.unit(Draw.ARC, 1) - 0.5),
        amount=preset.arc,
    )
    units = _chord_units(preset, material)
    return Form(
        letter=letter,
        visit=visit,
        group=group,
        material=material,
        own=own,
        arc=arc,
        chord_units=units,
        breaths=_breaths(units, own),
        presence=own.pick(_ORCHESTRATIONS[letter], Draw.ORCHESTRATION),
        colour=_colour(preset, material, letter),
    )


def material_of(preset_name: str, seed: int, section: int) -> Dice:
    """The material of `section`, for the section before it, which leads into it."""
    group, letter, _ = _place(Dice(0).at(seed), section)
    return group.at(_word(preset_name), Draw.MATERIAL, letter)


def bar_of(units: int, bpm: int) -> int:
    """The bar nearest to a position in units; halves round up. A section has `bpm` bars."""
    return (2 * units * bpm + SECTION_UNITS) // (2 * SECTION_UNITS)


def join_unit(seed: int, section: int, *words: int) -> float:
    """A draw that `section` and the one before it share, for what must be equal where they join."""
    return Dice(0).at(seed).unit(Draw.JOIN, section, *words)


def _place(stream: Dice, section: int) -> tuple[Dice, Letter, int]:
    # Streams of different seeds begin their groups at different sections, so that a new seed is also a new form.
    number, index = divmod(section + stream.below(SECTIONS_PER_GROUP, Draw.PHASE), SECTIONS_PER_GROUP)
    group = stream.at(Draw.GROUP, number)
    letter, visit = group.pick(_FORMS, Draw.FORM)[index]
    return group, letter, visit


def _word(name: str) -> int:
    """A preset's name as a word for draws: adding a preset must not change the others."""
    return int.from_bytes(name.encode(), "big")


def _join_level(stream: Dice, section: int) -> float:
    return _JOIN_LEVEL + _JOIN_RANGE * stream.unit(Draw.JOIN, section, Draw.ARC)


def _chord_units(preset: ScorePreset, material: Dice) -> tuple[int, ...]:
    # Three of four parts share a rhythm of chords, which is regular enough to be felt; one part breaks it.
    order = material.order(len(preset.chord_rhythms), Draw.RHYTHM)
    usual, other = preset.chord_rhythms[order[0]], preset.chord_rhythms[order[1]]
    odd_part = 1 + material.below(PARTS - 1, Draw.RHYTHM, 1)
    units = []
    for part in range(PARTS):
        position = part * PART_UNITS
        for length in other if part == odd_part else usual:
            units.append(position)
            position += length
    return tuple(units)


def _breaths(units: tuple[int, ...], own: Dice) -> frozenset[int]:
    """The last chord, and among many chords the last one of a part too."""
    last = len(units) - 1
    ends_of_parts = [i - 1 for i, unit in enumerate(units) if unit and unit % PART_UNITS == 0]
    chosen = {last}
    if len(units) >= _MANY_CHORDS:
        chosen.add(own.pick(ends_of_parts, Draw.BREATH))
    return frozenset(chosen)


def _colour(preset: ScorePreset, material: Dice, letter: Letter) -> Colour | None:
    likely = preset.colour if letter is not Letter.A else preset.colour * _COLOUR_IN_A
    if not material.chance(likely, Draw.COLOUR, 0):
        return None
    step = material.pick((-1, 1), Draw.COLOUR, 1)
    # The same mode a fifth higher raises one note, a fifth lower lowers one.
    away = 4 if step < 0 else 3
    return Colour(
        begin=material.pick((24, 32), Draw.COLOUR, 2),
        end=material.pick((48, 52), Draw.COLOUR, 3),
        step=step,
        centre=away if material.chance(_MODULATES, Draw.COLOUR, 4) else 0,
    )
