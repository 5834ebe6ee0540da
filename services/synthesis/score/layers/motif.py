"""Pure. Motifs: how a theme becomes one, and how it is varied, shortened and answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.synthesis.score.hashing import Dice
from services.synthesis.score.presets import Melody

_WAYS: Final = {"fall": -1, "rise": 1, "chant": 0, "arch": 0, "wave": 0, "leap": 0}
"""Directions of motifs: down, up, or as the theme goes."""
_THREE_NOTE_HEAD: Final = 0.6
"""Chance that a motif's head has three notes; otherwise it has two."""
_STRETCH: Final = 2
"""A stretched motif's notes are this many times as long, but for the last one."""
_FALLING_ANSWER: Final = 0.5
"""Chance that an answer turns the call upside down."""
_LEAP: Final = 3
"""Degrees of the least leap."""
_CHANT_LEAP: Final = 3
"""A chant has no larger move, in degrees."""


@dataclass(frozen=True, slots=True)
class Motif:
    """A melodic idea before it meets a chord.

    Attributes:
        lengths: of its notes, in grid steps.
        moves: from note to note, in degrees; one less than notes.
    """

    lengths: tuple[int, ...]
    moves: tuple[int, ...]

    @property
    def grid_steps(self) -> int:
        """Its whole length."""
        return sum(self.lengths)

    @property
    def heights(self) -> tuple[int, ...]:
        """Degrees of its notes above the first one."""
        heights = [0]
        for move in self.moves:
            heights.append(heights[-1] + move)
        return tuple(heights)


def state(theme: tuple[int, ...], style: Melody, dice: Dice) -> Motif:
    """A theme in a preset's style: in one of its rhythms and directions.

    Args:
        theme: moves in degrees, see `card.Card.themes`; nine notes or more.
        style: of the preset.
        dice: for the choice of rhythm and direction.
    """
    lengths = dice.pick(style.rhythms, 0)
    contour = dice.pick(style.contours, 1)
    moves = theme[: len(lengths) - 1]
    way = _WAYS[contour]
    if way and sum(moves) * way < 0:
        moves = tuple(-move for move in moves)
    if contour == "chant":
        moves = tuple(max(-_CHANT_LEAP, min(_CHANT_LEAP, move)) for move in moves)
    return Motif(lengths, moves)


def inverted(motif: Motif) -> Motif:
    """The motif upside down."""
    return Motif(motif.lengths, tuple(-move for move in motif.moves))


def stretched(motif: Motif) -> Motif:
    """The motif at half its speed; its last note keeps its length."""
    return Motif((*(_STRETCH * length for length in motif.lengths[:-1]), motif.lengths[-1]), motif.moves)


def vary(motif: Motif, dice: Dice) -> Motif:
    """The motif as it comes back: recognisable, not the same."""
    way = dice.below(6, 0)
    lengths, moves = motif.lengths, motif.moves
    if way == 0:
        return inverted(motif)
    if way == 1:  # another ending
        return Motif(lengths, (*moves[:-1], -moves[-1] if moves[-1] else dice.pick((-1, 1), 1)))
    if way == 2:  # another rhythm for the same notes
        return Motif((*lengths[1:-1], lengths[0], lengths[-1]), moves)
    if way == 3 and lengths[0] >= 2:  # a neighbour before the line sets out
        half = lengths[0] // 2
        turn = dice.pick((-1, 1), 1)
        return Motif((lengths[0] - half, half, *lengths[1:]), (turn, moves[0] - turn, *moves[1:]))
    if way == 4 and max(map(abs, moves)) < _LEAP:  # its second half upside down, where no leap waits to be filled
        half = len(moves) // 2
        return Motif(lengths, (*moves[:half], *(-move for move in moves[half:])))
    # The ending twice: the line goes on where it would rest.
    return Motif((*lengths[:-1], lengths[0], lengths[-1]), (*moves, 1 if moves[-1] > 0 else -1))


def head(motif: Motif, dice: Dice) -> Motif:
    """Its first two or three notes, with the last one held."""
    count = 3 if len(motif.lengths) > 3 and dice.chance(_THREE_NOTE_HEAD, 0) else 2
    return Motif((*motif.lengths[: count - 1], motif.lengths[-1]), motif.moves[: count - 1])


def answer(motif: Motif, dice: Dice) -> Motif:
    """The call's rhythm with moves that come down to rest."""
    moves = tuple(-move for move in motif.moves) if dice.chance(_FALLING_ANSWER, 0) else motif.moves
    if sum(moves[-2:]) > 0:
        moves = (*moves[:-2], *(-abs(move) for move in moves[-2:]))
    return Motif(motif.lengths, moves)


def fitting(motif: Motif, grid_steps: int) -> Motif | None:
    """The motif's beginning, as much of it as may begin within `grid_steps`; None if that is less than two notes."""
    count, at = 0, 0
    for length in motif.lengths:
        if at > grid_steps:
            break
        count, at = count + 1, at + length
    if count < 2:
        return None
    return Motif(motif.lengths[:count], motif.moves[: count - 1])
