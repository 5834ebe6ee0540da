"""Pure. Form: movements, and the passages (A, B, A', ...) that they consist of; how a passage rises and falls.

A *passage* is the musical unit: 90 to 320 s, unequal, in step with nothing. A *movement* has four to thirteen of them.
Places are whole milliseconds since the Unix epoch. Nothing here reads the preset, the key or bpm: steering them keeps
the place in the form; only `bar_of` moves a place to the nearest bar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer
from services.synthesis.score.hashing import Dice, Draw

SHORTEST_PASSAGE_MS: Final = 90_000
LONGEST_PASSAGE_MS: Final = 320_000
SHORTEST_MOVEMENT_MS: Final = 720_000
LONGEST_MOVEMENT_MS: Final = 2_400_000

_MOVEMENT_MS: Final = (SHORTEST_MOVEMENT_MS + LONGEST_MOVEMENT_MS) // 2
_MOVEMENT_STRAY_MS: Final = (LONGEST_MOVEMENT_MS - SHORTEST_MOVEMENT_MS) // 4
"""Movements lie on a lattice; each border strays by up to this much, so that lengths keep within their bounds."""
_PASSAGE_MS: Final = 190_000
"""Mean length of a passage."""

_LEAST_HEIGHT: Final = 0.8
_HEIGHT_RANGE: Final = 0.4
"""Chance makes a culmination 0.8 to 1.2 times as high as `_PEAK` says."""
_FIRST_VISIT: Final = 0.9
_EACH_VISIT: Final = 0.1
_MOST_VISITS: Final = 3
"""A passage that returns culminates higher: 0.9, 1.0, 1.1, 1.2 times as high."""
_PEAK_RANGE: Final = 0.3
"""Width, as a share of the passage, in which the culmination lies."""
_JOIN_LEVEL: Final = 0.2
_JOIN_RANGE: Final = 0.25
"""Passages join at a level of 0.2 to 0.45."""

_LONGEST_STAY: Final = 0.88
"""Share of its period that a layer is there at most."""


class Letter(IntEnum):
    """What a passage is to its movement: its theme, its harmony, its weight."""

    A = 0
    B = 1
    C = 2


_PEAK: Final[Mapping[Letter, tuple[float, float]]] = {
    Letter.A: (0.45, 0.60),
    Letter.B: (0.62, 0.66),
    Letter.C: (0.25, 0.40),
}
"""Height of the arc above its ends, and where the passage culminates, 0 to 1. C is an interlude: thin and quiet."""
_AFTER: Final[Mapping[Letter, tuple[Letter, ...]]] = {
    Letter.A: (Letter.A, Letter.B, Letter.B, Letter.C),
    Letter.B: (Letter.A, Letter.A, Letter.B, Letter.C),
    Letter.C: (Letter.A, Letter.B),
}
"""What may follow a letter; those that stand there twice are likelier."""


@dataclass(frozen=True, slots=True)
class Arc:
    """Rise and fall of a passage.

    Attributes:
        begin, end: height where it joins its neighbours, 0 to 1.
        height: of the culmination above the straight way from begin to end.
        peak: where it culminates, 0 to 1.
    """

    begin: float
    end: float
    height: float
    peak: float

    def shape(self, position: float) -> float:
        """From about 0.2 (thin) to 1.1 (full) at `position`, 0 to 1; continuous where passages join."""
        straight = self.begin + (self.end - self.begin) * position
        side = position / self.peak if position < self.peak else (1.0 - position) / (1.0 - self.peak)
        return straight + self.height * (0.5 - 0.5 * math.cos(math.pi * min(max(side, 0.0), 1.0)))

    def level(self, position: float, amount: float = 1.0) -> float:
        """From about -0.3 (thin) to 0.6 (full), times a preset's `amount`."""
        return (self.shape(position) - 0.5) * amount


@dataclass(frozen=True, slots=True)
class Mood:
    """What a movement has of its own: the slow day.

    Attributes:
        light: brightness, -1 to 1.
        fullness: density, -1 to 1.
        register: semitones that the melody lies above its usual register.
        inverted, stretched: how the themes appear.
        turned: how many themes the letters are moved on by.
    """

    light: float
    fullness: float
    register: int
    inverted: bool
    stretched: bool
    turned: int


_AT_HOME: Final[Mapping[Letter, float]] = {Letter.A: 0.65, Letter.B: 0.3, Letter.C: 0.45}
"""Chance that the drone of a passage stands on the tonic."""
_REGISTERS: Final = (0, 0, -4, 4, 0, -3, 5)
_LEADS: Final = (Layer.MELODY, Layer.MELODY, Layer.PAD, Layer.SHIMMER, Layer.PULSE, Layer.BASS)


@dataclass(frozen=True, slots=True)
class Passage:
    """The form of one passage.

    Attributes:
        movement: number of its movement.
        index: its number in the movement.
        begin_ms, end_ms: since the epoch.
        letter: its place in the movement's form.
        visit: number of earlier passages of the movement with this letter.
        material: draws that all passages of this letter in this movement share.
        own: draws of this passage alone.
        arc: its rise and fall.
        away: which of the piece's other centres the drone stands on (0, 1, ...); None for the tonic.
        lead: the layer that leads.
        mood: of the movement.
    """

    movement: int
    index: int
    begin_ms: int
    end_ms: int
    letter: Letter
    visit: int
    material: Dice
    own: Dice
    arc: Arc
    away: int | None
    lead: Layer
    mood: Mood

    @property
    def name(self) -> str:
        """The letter, with a prime for each earlier visit: `B'`."""
        return self.letter.name + "\u2032" * self.visit


def passage_at(seed: int, at_ms: int) -> Passage:
    """The passage that sounds at a moment, in milliseconds since the epoch."""
    return passages_between(seed, at_ms, at_ms + 1)[0]


def passages_between(seed: int, begin_ms: int, end_ms: int) -> list[Passage]:
    """The passages that lie in a span, in order; the first and the last one may reach beyond it."""
    found: list[Passage] = []
    # A border may stray past the middle of its neighbours' lattice cells, but no further.
    number = (begin_ms - _phase_ms(seed)) // _MOVEMENT_MS - 1
    while (movement := movement_of(seed, number))[0].begin_ms < end_ms:
        found += [p for p in movement if p.end_ms > begin_ms and p.begin_ms < end_ms]
        number += 1
    return found


def neighbour(seed: int, passage: Passage, step: int) -> Passage:
    """The passage after (1) or before (-1) another one."""
    passages = movement_of(seed, passage.movement)
    index = passage.index + step
    if index < 0:
        return movement_of(seed, passage.movement - 1)[-1]
    return passages[index] if index < len(passages) else movement_of(seed, passage.movement + 1)[0]


@lru_cache(maxsize=4096)
def movement_of(seed: int, number: int) -> tuple[Passage, ...]:
    """The passages of a movement, by its number."""
    stream = Dice(0).at(seed)
    dice = stream.at(Draw.MOVEMENT, number)
    begin_ms, end_ms = _movement_begin_ms(seed, number), _movement_begin_ms(seed, number + 1)
    count = max(round((end_ms - begin_ms) / _PASSAGE_MS), 1)
    cell_ms = (end_ms - begin_ms) / count
    # How far borders may stray without making a passage too short or too long.
    stray_ms = min(cell_ms - SHORTEST_PASSAGE_MS, LONGEST_PASSAGE_MS - cell_ms) / 2
    inner = [place * cell_ms + stray_ms * (2 * dice.unit(Draw.FORM, place) - 1) for place in range(1, count)]
    borders = [begin_ms, *(begin_ms + int(at_ms) for at_ms in inner), end_ms]
    mood = _mood(dice)
    passages: list[Passage] = []
    letter = Letter.A
    visits = dict.fromkeys(Letter, 0)
    for index in range(count):
        if index:
            letter = Letter.A if index == count - 1 else _letter(dice, [p.letter for p in passages], count)
        visit = visits[letter]
        visits[letter] += 1
        own = stream.at(Draw.PASSAGE, number, index)
        height, peak = _PEAK[letter]
        growth = _FIRST_VISIT + _EACH_VISIT * min(visit, _MOST_VISITS)
        following = (number, index + 1) if index + 1 < count else (number + 1, 0)
        arc = Arc(
            begin=_join_level(stream, number, index),
            end=_join_level(stream, *following),
            height=height * growth * (_LEAST_HEIGHT + _HEIGHT_RANGE * own.unit(Draw.ARC, 0)),
            peak=peak + _PEAK_RANGE * (own.unit(Draw.ARC, 1) - 0.5),
        )
        away = None if own.chance(_AT_HOME[letter], Draw.CENTRE) else own.below(3, Draw.CENTRE, 1)
        passages.append(
            Passage(
                movement=number,
                index=index,
                begin_ms=borders[index],
                end_ms=borders[index + 1],
                letter=letter,
                visit=visit,
                material=dice.at(Draw.MATERIAL, letter),
                own=own,
                arc=arc,
                away=away,
                lead=own.pick(_LEADS, Draw.CARD),
                mood=mood,
            )
        )
    return tuple(passages)


def bar_of(at_ms: int, bpm: int) -> int:
    """The bar nearest to a moment, counted from the epoch; halves round up. 240 s have `bpm` bars."""
    section_ms = SECTION_S * 1000
    return (2 * at_ms * bpm + section_ms) // (2 * section_ms)


def presence(own: Dice, layer: Layer, period_s: int, at_s: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """How much of a layer is there, 0 to 1: it comes and goes with a period of its own, in no step with passages.

    Args:
        own: draws of the passage.
        layer: which.
        period_s: of the layer, see `card.Card`.
        at_s: moments of the passage.
        share: of the time that the layer is there, 0 to 1.
    """
    dice = own.at(Draw.CYCLE, layer)
    turn, place = np.divmod(at_s / period_s + dice.unit(0), 1.0)
    # No layer is there all the time.
    length = np.minimum(share * (0.7 + 0.6 * dice.at(1).units_at(turn.astype(np.int64))), _LONGEST_STAY)
    # It comes and goes over an eighth of the period.
    return np.asarray(np.clip(8 * np.minimum(place, length - place), 0.0, 1.0), np.float64)


def _phase_ms(seed: int) -> int:
    return Dice(0).at(seed).below(_MOVEMENT_MS, Draw.MOVEMENT)


def _movement_begin_ms(seed: int, number: int) -> int:
    stray = 2 * Dice(0).at(seed).unit(Draw.MOVEMENT, number, 0) - 1
    return number * _MOVEMENT_MS + _phase_ms(seed) + int(stray * _MOVEMENT_STRAY_MS)


def _mood(dice: Dice) -> Mood:
    return Mood(
        light=2 * dice.unit(Draw.CARD, 0) - 1,
        fullness=2 * dice.unit(Draw.CARD, 1) - 1,
        register=dice.pick(_REGISTERS, Draw.CARD, 2),
        inverted=dice.chance(0.4, Draw.CARD, 4),
        stretched=dice.chance(0.3, Draw.CARD, 5),
        turned=dice.below(3, Draw.CARD, 6),
    )


def _letter(dice: Dice, before: list[Letter], count: int) -> Letter:
    """What follows on the letters of a movement of `count` passages: none three times in a row, and not A alone."""
    last, index = before[-1], len(before)
    options = _AFTER[last]
    if before[-2:] == [last, last] or (index == count - 2 and set(before) == {Letter.A}):
        options = tuple(letter for letter in options if letter is not last)
    return dice.pick(options, Draw.PASSAGE, index)


def _join_level(stream: Dice, movement: int, index: int) -> float:
    return _JOIN_LEVEL + _JOIN_RANGE * stream.unit(Draw.JOIN, movement, index)
