"""What is measured of the melody: its moves, its ends, and whether its themes come back. Pure.

Phrases are those of the composer, in which a stream's intensity leaves some of the notes. Second voices and echoes do
not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from services.contract.spec import StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.form import passages_between
from services.synthesis.score.layers.melody import phrases
from services.synthesis.score.plan import plan_passage

_STEP: Final = 2
_LEAP: Final = 5
"""Semitones of the largest step, and of the least leap."""
_MATCH: Final = 5
"""Notes that two phrases must share, as intervals, to be one theme."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A phrase as a stream plays it.

    Attributes:
        at_s: where it begins, from the beginning of what is measured.
        pitches: of its notes.
        degrees: of its notes.
        onsets_s: of its notes.
        answers: whether it closes something.
        at_rest: whether its last note is root or fifth of the chord.
    """

    at_s: float
    pitches: tuple[int, ...]
    degrees: tuple[int, ...]
    onsets_s: tuple[float, ...]
    answers: bool
    at_rest: bool


def heard_phrases(spec: StreamSpec, first: int, sections: int) -> list[Heard]:
    """The phrases that a stream plays from section `first` on, as its intensity leaves them."""
    begin_ms = first * SECTION_S * 1000
    found = []
    for passage in passages_between(spec.seed, begin_ms, begin_ms + sections * SECTION_S * 1000):
        plan = plan_passage(spec, passage)
        for phrase in phrases(plan):
            notes = [note for note in phrase.notes if note.threshold <= spec.intensity]
            if not notes:
                continue
            last = notes[-1]
            above = (last.pitch_midi - plan.tonic_midi - last.chord.classes[0]) % 12
            found.append(
                Heard(
                    at_s=(passage.begin_ms - begin_ms) / 1000 + notes[0].onset_s,
                    pitches=tuple(note.pitch_midi for note in notes),
                    degrees=tuple(note.degree for note in notes),
                    onsets_s=tuple(note.onset_s for note in notes),
                    answers=phrase.answers,
                    at_rest=above in (0, 7),
                )
            )
    return found


def steps(found: Sequence[Heard]) -> float:
    """Share of steps among the moves of all phrases."""
    moves = [abs(b - a) for phrase in found for a, b in pairwise(phrase.pitches)]
    return sum(0 < move <= _STEP for move in moves) / max(len(moves), 1)


def leaps_filled(found: Sequence[Heard]) -> float:
    """Share of the leaps of a fourth or more that the next move answers in the other direction."""
    filled = total = 0
    for phrase in found:
        moves = [b - a for a, b in pairwise(phrase.pitches)]
        for move, after in pairwise(moves):
            if abs(move) >= _LEAP:
                total += 1
                filled += after * move < 0
    return filled / max(total, 1)


def answers_at_rest(found: Sequence[Heard]) -> float:
    """Share of the answers that close on root or fifth of their chord."""
    answers = [phrase.at_rest for phrase in found if phrase.answers and len(phrase.pitches) > 1]
    return sum(answers) / max(len(answers), 1)


def notes_a_phrase(found: Sequence[Heard]) -> float:
    """Mean number of notes."""
    return sum(len(phrase.pitches) for phrase in found) / max(len(found), 1)


def come_back(found: Sequence[Heard], others: Sequence[Heard], after_s: float = 1800.0) -> tuple[float, float]:
    """Share of phrases that say again, changed, what was said long before; and what chance finds.

    A phrase says another one again if four of its moves in a row, in degrees, are those of the other one, upside down
    or not, at whatever pitch and speed; it is changed if pitch, direction or speed differ.

    Args:
        found: phrases of one stream.
        others: of another seed, at the same time: what chance finds.
        after_s: how long before, at least.
    """
    return _share(found, found, after_s), _share(found, others, after_s)


def _share(found: Sequence[Heard], earlier: Sequence[Heard], after_s: float) -> float:
    said: dict[tuple[int, ...], list[Heard]] = {}
    for phrase in earlier:
        for shape in _shapes(phrase):
            said.setdefault(shape, []).append(phrase)
    late = [phrase for phrase in found if phrase.at_s >= after_s and len(phrase.degrees) >= _MATCH]
    hits = 0
    for phrase in late:
        shapes = _shapes(phrase)
        turned = [tuple(-move for move in shape) for shape in shapes]
        known = [other for shape in (*shapes, *turned) for other in said.get(shape, ())]
        hits += any(
            other.at_s <= phrase.at_s - after_s and other.pitches[: len(phrase.pitches)] != phrase.pitches
            for other in known
        )
    return hits / max(len(late), 1)


def _shapes(phrase: Heard) -> list[tuple[int, ...]]:
    moves = [b - a for a, b in pairwise(phrase.degrees)]
    width = _MATCH - 1
    return [tuple(moves[place : place + width]) for place in range(len(moves) - width + 1)]
