"""Pure. Motifs: how they are invented, varied, shortened and answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.synthesis.score.hashing import Dice
from services.synthesis.score.presets import Melody

_CONTOURS: Final = {
    # Heights from 0 to 1 at equal distances along a motif; linear in between.
    "arch": (0.2, 0.7, 1.0, 0.6, 0.3),
    "fall": (1.0, 0.8, 0.55, 0.3, 0.0),
    "rise": (0.0, 0.25, 0.6, 0.8, 1.0),
    "wave": (0.4, 0.9, 0.3, 0.7, 0.5),
    "leap": (0.0, 1.0, 0.75, 0.45, 0.35),
    "chant": (0.4, 0.4, 0.7, 0.6, 0.3),
}

# How a motif is invented. Shares are of `Melody.reach`, chances are 0 to 1.
_LEAST_REACH: Final = 0.55
_REACH_RANGE: Final = 0.45
"""A motif spans 0.55 to 1 of the reach."""
_CONTOUR_NOISE: Final = 0.3
"""Share of the reach by which a note may miss the contour, half of it up and half down."""
_LEAVE_REPEAT: Final = 0.75
"""Chance that a note which repeats the one before moves a step away, from the third note on. The second always does."""
_WIDER: Final = 1.5
"""Factor of the intervals of a motif that is varied by widening it."""
_THREE_NOTE_HEAD: Final = 0.6
"""Chance that a motif's head has three notes; otherwise it has two."""
_INVERTED_ANSWER: Final = 0.35
"""Chance that an answer turns the call's intervals upside down."""


@dataclass(frozen=True, slots=True)
class Motif:
    """A melodic idea before it meets a chord.

    Attributes:
        lengths: of its notes, in grid steps.
        intervals: of its notes, in degrees from the first note, which is 0.
    """

    lengths: tuple[int, ...]
    intervals: tuple[int, ...]

    @property
    def grid_steps(self) -> int:
        """Its whole length."""
        return sum(self.lengths)


def invent(style: Melody, dice: Dice) -> Motif:
    """A motif in a preset's style."""
    lengths = dice.pick(style.rhythms, 0)
    contour = _CONTOURS[dice.pick(style.contours, 1)]
    reach = style.reach * (_LEAST_REACH + _REACH_RANGE * dice.unit(2))
    count = len(lengths)
    heights = []
    for index in range(count):
        place = index / (count - 1) * (len(contour) - 1)
        left = min(int(place), len(contour) - 2)
        height = contour[left] + (contour[left + 1] - contour[left]) * (place - left)
        heights.append(round((height + _CONTOUR_NOISE * (dice.unit(3, index) - 0.5)) * reach))
    for index in range(1, count):
        # One repeated note is speech, three are a stutter.
        if heights[index] == heights[index - 1] and (index < 2 or dice.chance(_LEAVE_REPEAT, 4, index)):
            heights[index] += 1 if dice.chance(0.5, 5, index) else -1
    return Motif(lengths, tuple(height - heights[0] for height in heights))


def vary(motif: Motif, dice: Dice) -> Motif:
    """The motif as it comes back: recognisable, not the same."""
    way = dice.below(7, 0)
    lengths, intervals = motif.lengths, motif.intervals
    if way == 0:  # upside down
        intervals = tuple(-interval for interval in intervals)
    elif way == 1:  # higher or lower
        shift = dice.pick((-2, -1, 1, 2), 1)
        intervals = tuple(interval + shift for interval in intervals)
    elif way == 2:  # another ending
        intervals = (*intervals[:-1], intervals[-1] + dice.pick((-3, -2, 2, 3), 1))
    elif way == 3:  # another rhythm for the same notes
        lengths = (*lengths[1:-1], lengths[0], lengths[-1])
    elif way == 4:  # without its second note
        lengths = (lengths[0] + lengths[1], *lengths[2:])
        intervals = (intervals[0], *intervals[2:])
    elif way == 5 and lengths[0] >= 2:  # a neighbour before the first leap
        half = lengths[0] // 2
        lengths = (lengths[0] - half, half, *lengths[1:])
        intervals = (intervals[0], dice.pick((-1, 1), 1), *intervals[1:])
    else:  # wider
        intervals = tuple(round(interval * _WIDER) for interval in intervals)
    return Motif(lengths, intervals)


def head(motif: Motif, dice: Dice) -> Motif:
    """Its first two or three notes, with the last one held."""
    count = 3 if len(motif.lengths) > 3 and dice.chance(_THREE_NOTE_HEAD, 0) else 2
    return Motif((*motif.lengths[: count - 1], motif.lengths[-1]), motif.intervals[:count])


def answer(motif: Motif, dice: Dice) -> Motif:
    """The call's rhythm with intervals that come down to rest."""
    last = len(motif.intervals) - 1
    settle = -abs(dice.pick((1, 2, 3), 0))
    direction = -1 if dice.chance(_INVERTED_ANSWER, 1) else 1
    intervals = tuple(
        round(direction * interval * (1 - index / (2 * last)) + settle * index / last)
        for index, interval in enumerate(motif.intervals)
    )
    return Motif(motif.lengths, intervals)
