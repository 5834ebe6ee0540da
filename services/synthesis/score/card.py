"""Pure. The card of a seed: what makes its piece that piece, in every preset, key and hour."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from services.synthesis.score.events import Layer
from services.synthesis.score.hashing import Dice, Draw

THEMES: Final = 3
"""Themes of a piece, one for each letter of its form."""

_THEME_NOTES: Final = 9
"""Notes of a theme; a phrase takes as many of them as its rhythm has."""
_LEAP_CHANCE: Final = 0.8
"""Chance that a theme has one leap; all its other moves are steps, thirds and repeated notes."""
_LEAPS: Final = (3, 4, 5)
"""Sizes of a leap in degrees: a fourth to a sixth."""
_TURN: Final = 0.3
"""Chance that a line of steps turns round after each note."""
_THIRD: Final = 0.08
_REPEAT: Final = 0.08
"""Chance that a move is a third, or a repeated note, in place of a step."""
_WIDEST: Final = 5
"""Degrees that a theme may lie above or below its first note before it must turn."""

_GROUND: Final = (0.04, 0.3, 1.0, 4.5)
"""Weights of a root in a ground: a piece has favourites, and harmonies that it hardly knows."""
_FOREIGN_CENTRES: Final = (3, 4, 5, 2, 1, 6)
"""Degrees that the drone may move to."""
_CENTRES: Final = 3
"""Degrees beside the tonic that the drone of one piece moves to."""

_REGISTER_MIDI: Final = 6
"""The melody lies up to this many semitones above or below the preset's register."""
_LIGHT: Final = 0.08
"""A piece is up to this much brighter or darker than its preset."""
_LEAST_BREATH: Final = 0.9
_BREATH_RANGE: Final = 0.22
"""Phrases are 0.9 to 1.12 times as far apart as in the preset."""
_GAIN_DB: Final = 3.5
"""Layers are up to this much louder or softer than in the preset."""
_BUSY: Final = 0.09
"""Layers are heard from an intensity that is up to this much lower or higher than in the preset."""
_DRONE_PERIODS_S: Final = (41, 43, 47, 53, 59, 61, 67, 71, 73)
"""Primes: the tones of a drone never come back into step."""
_CYCLE_PERIODS_S: Final = (79, 83, 89, 97, 101, 103, 107, 109, 113, 127)
"""Primes: a layer comes and goes with a period that no other layer has."""

Never = Literal["second voice", "echoes", "borrowed colours", "octaves", "inversions"]
_NEVER: Final[tuple[Never, ...]] = ("second voice", "echoes", "borrowed colours", "octaves", "inversions")


@dataclass(frozen=True, slots=True)
class Card:
    """What a seed's piece is made of.

    Attributes:
        themes: three lines, each as moves in degrees from note to note.
        ground: weight of each root, 0 to 6 degrees above the centre.
        centres: degrees beside the tonic that the drone moves to, the favourite first.
        register: semitones that the melody lies above the preset's register.
        light: added to the preset's brightness.
        breath: factor of the period of phrases and of the shimmer.
        gain: factor of each layer's gain, by `Layer`.
        busy: taken off the thresholds of each layer, by `Layer`: how much it has to say.
        drone_periods_s: periods after which the drone's tones are struck again.
        cycle_periods_s: periods with which layers come and go, by `Layer`.
        never: what this piece never does.
    """

    themes: tuple[tuple[int, ...], ...]
    ground: tuple[float, ...]
    centres: tuple[int, ...]
    register: int
    light: float
    breath: float
    gain: tuple[float, ...]
    busy: tuple[float, ...]
    drone_periods_s: tuple[int, ...]
    cycle_periods_s: tuple[int, ...]
    never: Never


@lru_cache(maxsize=1024)
def card_of(seed: int) -> Card:
    """The card of a seed."""
    dice = Dice(0).at(seed, Draw.CARD)
    periods = [_DRONE_PERIODS_S[place] for place in dice.order(len(_DRONE_PERIODS_S), 4)]
    cycles = [_CYCLE_PERIODS_S[place] for place in dice.order(len(_CYCLE_PERIODS_S), 5)]
    return Card(
        themes=tuple(_theme(dice.at(0, number)) for number in range(THEMES)),
        ground=tuple(dice.pick(_GROUND, 1, degree) for degree in range(7)),
        centres=tuple(_FOREIGN_CENTRES[place] for place in dice.order(len(_FOREIGN_CENTRES), 2)[:_CENTRES]),
        register=dice.below(2 * _REGISTER_MIDI + 1, 3, 0) - _REGISTER_MIDI,
        light=_LIGHT * (2 * dice.unit(3, 1) - 1),
        breath=_LEAST_BREATH + _BREATH_RANGE * dice.unit(3, 3),
        gain=tuple(10 ** (_GAIN_DB * (2 * dice.unit(3, 2, layer) - 1) / 20) for layer in Layer),
        busy=tuple(_BUSY * (2 * dice.unit(3, 4, layer) - 1) for layer in Layer),
        drone_periods_s=tuple(periods),
        cycle_periods_s=tuple(cycles[: len(Layer)]),
        never=dice.pick(_NEVER, 6),
    )


def _theme(dice: Dice) -> tuple[int, ...]:
    """A line that sings: steps, and one leap that steps in the other direction fill."""
    leap_at = dice.below(2, 0) if dice.chance(_LEAP_CHANCE, 1) else _THEME_NOTES
    way = 1 if dice.chance(0.5, 2) else -1
    moves: list[int] = []
    height = 0
    for place in range(_THEME_NOTES - 1):
        if place == leap_at:
            way = -way if abs(height + 3 * way) > _WIDEST else way
            move = way * dice.pick(_LEAPS, 3)
            way = -way
        elif place in (leap_at + 1, leap_at + 2):
            move = way
        else:
            if abs(height + way) > _WIDEST or (place and dice.chance(_TURN, 4, place)):
                way = -way
            chance = dice.unit(5, place)
            move = 0 if chance < _REPEAT and place else 2 * way if chance > 1 - _THIRD else way
        moves.append(move)
        height += move
    return tuple(moves)
