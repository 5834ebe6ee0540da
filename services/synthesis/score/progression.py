"""Pure. The harmony that all presets of a seed share: on which roots a passage stands, when, and how tense.

A passage has *pillars*, 28 to 50 s apart. Each is divided twice at unequal places: pillars have rank 0, first divisions
rank 1, second ones rank 2. A slow preset plays the pillars, a quick one all ranks; so presets differ in how much they
say, not in what it is about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.contract.spec import PRESETS
from services.synthesis.score.card import card_of
from services.synthesis.score.form import Passage, neighbour
from services.synthesis.score.hashing import Draw
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.score.theory import BY_BRIGHTNESS, CHARACTERISTIC, chord_intervals, semitones

_PILLAR_MS: Final = 38_000
"""Mean length of a pillar."""
_PILLAR_STRAY: Final = 0.2
"""Share of that length by which a pillar's place strays."""
_LAST_PILLAR: Final = 0.5
"""Length of a passage's last pillar, relative to the others."""
_DIVIDE: Final = (0.42, 0.16)
"""A division lies at 0.42 to 0.58 of what it divides."""

_DISTANCE: Final = (0.0, 0.85, 0.4, 0.55, 0.6, 0.4, 0.85)
"""How tense a root is, by its degrees above the centre: less with each tone that its triad shares with the centre's."""
_CADENCE: Final = {3: 1.0, 4: 1.4, 6: 1.0, 1: 0.8}
"""Roots before the last pillar of a passage, and their weights: what leads home."""
_TENSION_WIDTH: Final = 0.11
"""A root that is this far from the wanted tension has half the weight."""
_LOWEST_SHAPE: Final = 0.3
_SHAPE_RANGE: Final = 0.55
"""An arc of 0.3 wants no tension, one of 0.85 all of it."""
_LETTER_GROUND: Final = (0.15, 1.0, 1.0, 3.0)
"""Weights of a root in the passages of one letter."""
_SECOND: Final = 0.5
"""Weight of a root that is a second from the one before: triads without a common tone."""
_CHARACTERISTIC: Final = 2.0
"""Weight of roots whose triad has the mode's characteristic note."""
_FOREIGN: Final = 3.0
"""Weight, in a borrowed colour, of roots whose triad has the note that the home mode lacks."""
_VARIED: Final = 0.2
"""Chance, for each root of a returning passage, that it is drawn anew."""
_COLOUR: Final = (0.15, 0.6, 0.5)
"""Chance, by letter, that a passage borrows from a neighbouring mode around its culmination."""
_COLOUR_BEGIN: Final = 0.35
_COLOUR_END: Final = 0.8
"""The earliest and the latest place of a borrowed colour in a passage."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a chord.

    Attributes:
        rank: 0 for a pillar, 1 and 2 for divisions.
        number: of the slot among all of the passage, in time.
        position: in the passage, 0 to 1.
        mode: whose scale it is taken from.
        root: degree of the home scale, 0 to 6.
        tension: that the arc wants here, 0 to 1.
        away: whether it is borrowed from a neighbouring mode.
        chance: 0 to 1; a preset plays the slot if its rate is higher.
    """

    rank: int
    number: int
    position: float
    mode: str
    root: int
    tension: float
    away: bool
    chance: float


@dataclass(frozen=True, slots=True)
class Progression:
    """The harmony of a passage.

    Attributes:
        slots: in time; numbers that divide by 4 are pillars, the other even ones have rank 1.
        centre: degree of the home scale that the drone stands on.
        fifth: semitones of the drone's second tone above the centre: 7, or 12 where the centre has no perfect fifth.
    """

    slots: tuple[Slot, ...]
    centre: int
    fifth: int


def tension_of(root: int, centre: int) -> float:
    """How far a root is from the centre, 0 to 0.85."""
    return _DISTANCE[(root - centre) % 7]


@lru_cache(maxsize=64)
def usable_roots(mode: str) -> tuple[int, ...]:
    """Degrees on which every preset has a chord."""
    return tuple(
        root
        for root in range(7)
        if all(
            any(chord_intervals(mode, root, kind) is not None for kind in SCORE_PRESETS[preset].pad.kinds)
            for preset in PRESETS
        )
        or (root == 0 and mode == "locrian")
    )


def centre_of(seed: int, mode: str, passage: Passage) -> int:
    """The degree that the drone of a passage stands on: the tonic, or one of the piece's other centres."""
    if passage.away is None:
        return 0
    centre = card_of(seed).centres[passage.away]
    has_fifth = semitones(mode, centre + 4) - semitones(mode, centre) == 7
    return centre if has_fifth and centre in usable_roots(mode) else 0


@lru_cache(maxsize=512)
def progression(seed: int, mode: str, passage: Passage) -> Progression:
    """The harmony of a passage in a mode."""
    centre = centre_of(seed, mode, passage)
    fifth = 7 if semitones(mode, centre + 4) - semitones(mode, centre) == 7 else 12
    colour_mode, colour_from, colour_to = _colour(seed, mode, passage, centre, fifth)
    positions = _positions(passage)
    home = {semitones(mode, degree) % 12 for degree in range(7)}
    # A letter has its own colour within the piece's.
    ground = [
        weight * passage.material.pick(_LETTER_GROUND, Draw.CARD, degree)
        for degree, weight in enumerate(card_of(seed).ground)
    ]
    pillars = len(positions) // 4
    arrives_from = centre_of(seed, mode, neighbour(seed, passage, -1))
    leads_to = first_root(seed, mode, neighbour(seed, passage, 1))
    roots: dict[int, int] = {}

    def mode_at(number: int) -> str:
        return colour_mode if number and colour_from <= positions[number] < colour_to else mode

    def tension_at(number: int) -> float:
        middle = (positions[number] + (*positions, 1.0)[number + 1]) / 2
        return min(max((passage.arc.shape(middle) - _LOWEST_SHAPE) / _SHAPE_RANGE, 0.0), 1.0)

    def draw(number: int, before: int | None, after: int | None, only: dict[int, float] | None = None) -> int:
        chord_mode, tension = mode_at(number), tension_at(number)
        varied = passage.visit > 0 and passage.own.chance(_VARIED, Draw.CHORD, number)
        dice = (passage.own if varied else passage.material).at(Draw.CHORD, number)
        best, best_root = -1.0, centre
        for root in usable_roots(chord_mode):
            if root in (before, after):
                continue
            above = (root - centre) % 7
            weight = ground[above] * (only.get(above, 0.0) if only else 1.0)
            weight /= 1.0 + ((_DISTANCE[above] - 0.85 * tension) / _TENSION_WIDTH) ** 2
            for other in (before, after):
                if other is not None and (root - other) % 7 in (1, 6):
                    weight *= _SECOND
            triad = {semitones(chord_mode, root + step) % 12 for step in (0, 2, 4)}
            if semitones(chord_mode, CHARACTERISTIC[chord_mode]) % 12 in triad:
                weight *= _CHARACTERISTIC
            if chord_mode != mode and not triad <= home:
                weight *= _FOREIGN
            # The race of exponential clocks: the winner has a chance in proportion to its weight.
            pace = weight / -math.log1p(-max(dice.unit(root), 1e-12))
            if pace > best:
                best, best_root = pace, root
        return best_root

    for pillar in range(pillars):
        number = 4 * pillar
        before = roots[number - 4] if pillar else None
        if pillar == 0:
            roots[number] = _first_root(mode, centre, arrives_from)
        elif pillar == pillars - 1:
            roots[number] = centre
        elif pillar == pillars - 2:
            roots[number] = draw(number, before, centre, _CADENCE)
        else:
            roots[number] = draw(number, before, None)
    for number in range(2, len(positions), 4):
        after = roots.get(number + 2, leads_to)
        roots[number] = draw(number, roots[number - 2], after)
    for number in range(1, len(positions), 2):
        after = roots.get(number + 1, leads_to)
        roots[number] = draw(number, roots[number - 1], after)
    slots = tuple(
        Slot(
            rank=0 if number % 4 == 0 else 1 if number % 2 == 0 else 2,
            number=number,
            position=position,
            mode=mode_at(number),
            root=roots[number],
            tension=tension_at(number),
            away=mode_at(number) != mode,
            chance=passage.material.unit(Draw.RHYTHM, number),
        )
        for number, position in enumerate(positions)
    )
    return Progression(slots, centre, fifth)


def first_root(seed: int, mode: str, passage: Passage) -> int:
    """The root that a passage begins with."""
    return _first_root(mode, centre_of(seed, mode, passage), centre_of(seed, mode, neighbour(seed, passage, -1)))


def _first_root(mode: str, centre: int, before: int) -> int:
    """The centre where it is new; a third from it where the passage before has just closed on it."""
    if centre != before:
        return centre
    usable = usable_roots(mode)
    return next((root for above in (5, 2, 3, 4) if (root := (centre + above) % 7) in usable), centre)


def _positions(passage: Passage) -> list[float]:
    """Where chords may begin: pillars and their divisions, 0 to 1."""
    material = passage.material
    length_ms = passage.end_ms - passage.begin_ms
    count = max(round(length_ms / _PILLAR_MS), 3)
    # The last one is short: the cadence does not stand still.
    whole = count - 1 + _LAST_PILLAR
    strays = [_PILLAR_STRAY * (2 * material.unit(Draw.RHYTHM, place, 0) - 1) for place in range(1, count - 1)]
    borders = [0.0, *((place + stray) / whole for place, stray in enumerate(strays, 1)), (count - 1) / whole, 1.0]
    positions = []
    for place in range(count):
        begin, end = borders[place], borders[place + 1]
        middle = begin + (end - begin) * (_DIVIDE[0] + _DIVIDE[1] * material.unit(Draw.RHYTHM, place, 1))
        first = begin + (middle - begin) * (_DIVIDE[0] + _DIVIDE[1] * material.unit(Draw.RHYTHM, place, 2))
        second = middle + (end - middle) * (_DIVIDE[0] + _DIVIDE[1] * material.unit(Draw.RHYTHM, place, 3))
        positions += [begin, first, middle, second]
    return positions


def _colour(seed: int, mode: str, passage: Passage, centre: int, fifth: int) -> tuple[str, float, float]:
    """A neighbouring mode and the stretch of the passage that borrows from it; the stretch may be empty."""
    material = passage.material
    if card_of(seed).never == "borrowed colours" or not material.chance(_COLOUR[passage.letter], Draw.COLOUR, 0):
        return mode, 0.0, 0.0
    place = BY_BRIGHTNESS.index(mode)
    drone = {semitones(mode, centre) % 12, (semitones(mode, centre) + fifth) % 12}
    first = material.pick((-1, 1), Draw.COLOUR, 1)
    for step in (first, -first):
        if not 0 <= place + step < len(BY_BRIGHTNESS):
            continue
        other = BY_BRIGHTNESS[place + step]
        # The drone sounds on under the colour, so the colour must have its tones, and a chord on its root.
        if drone <= {semitones(other, degree) % 12 for degree in range(7)} and centre in usable_roots(other):
            begin = _COLOUR_BEGIN + 0.15 * material.unit(Draw.COLOUR, 2)
            return other, begin, _COLOUR_END - 0.15 * material.unit(Draw.COLOUR, 3)
    return mode, 0.0, 0.0
