"""Pure. Chance without state: every draw is a hash of where it is used, so that any section can be composed anywhere.

SplitMix64 over whole numbers: the same bits on every platform and in every process, for one number or for an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN: Final = 0x9E37_79B9_7F4A_7C15
_MIX_1: Final = 0xBF58_476D_1CE4_E5B9
_MIX_2: Final = 0x94D0_49BB_1331_11EB
_UNIT: Final = 2.0**-53
_TABLE: Final = 32
"""Columns of a table of draws, at most."""


class Draw(IntEnum):
    """First word of every path of draws, so that no two decisions share a draw."""

    CARD = 1
    MOVEMENT = 2
    MATERIAL = 3
    PASSAGE = 4
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
    CYCLE = 20
    DRONE = 21
    NOTE = 22
    VARY = 23
    THRESHOLD = 24
    CENTRE = 25
    ARRIVAL = 26
    PRESET = 27


@dataclass(frozen=True, slots=True)
class Dice:
    """A point in the space of draws. Whole numbers ("words") lead from it to other points.

    Attributes:
        state: 64 bits.
    """

    state: int

    def at(self, *words: int) -> Dice:
        """The point that `words` lead to."""
        return Dice(_walk(self.state, words))

    def bits(self, *words: int) -> int:
        """64 random bits."""
        return _walk(self.state, words)

    def unit(self, *words: int) -> float:
        """A number from 0 (included) to 1 (not included)."""
        return (_walk(self.state, words) >> 11) * _UNIT

    def below(self, limit: int, *words: int) -> int:
        """A whole number from 0 to `limit` - 1."""
        return (_walk(self.state, words) >> 32) * limit >> 32

    def chance(self, probability: float, *words: int) -> bool:
        """True with the given probability."""
        return self.unit(*words) < probability

    def pick[T](self, choices: Sequence[T], *words: int) -> T:
        """One of `choices`, each as likely as the others."""
        return choices[self.below(len(choices), *words)]

    def order(self, count: int, *words: int) -> list[int]:
        """The numbers from 0 to `count` - 1, in random order."""
        bits = self.at(*words).bits_at(np.arange(count, dtype=np.int64))
        return [int(index) for index in np.argsort(bits, kind="stable")]

    def table(self, rows: NDArray[np.int64], columns: int) -> NDArray[np.float64]:
        """Numbers from 0 to 1 for each of `rows` (words), [rows, columns]: all draws of many notes together."""
        return self.units_at(rows[:, None] * _TABLE + np.arange(columns))

    def bits_at(self, words: NDArray[np.int64]) -> NDArray[np.uint64]:
        """`bits(word)` for every word of an array of any shape."""
        steps = (words.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
        mixed = np.uint64(self.state) + steps
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MIX_1)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MIX_2)
        return mixed ^ (mixed >> np.uint64(31))

    def units_at(self, words: NDArray[np.int64]) -> NDArray[np.float64]:
        """`unit(word)` for every word of an array of any shape."""
        return (self.bits_at(words) >> np.uint64(11)).astype(np.float64) * _UNIT


def _walk(state: int, words: tuple[int, ...]) -> int:
    for word in words:
        state = (state + (word + 1) * _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * _MIX_1) & _MASK
        state = ((state ^ (state >> 27)) * _MIX_2) & _MASK
        state ^= state >> 31
    return state
