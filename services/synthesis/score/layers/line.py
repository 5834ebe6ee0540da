"""Pure. How a motif is fitted to the chords that it sounds over: the shortest path that keeps its moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.score.harmony import LOW_MIDI
from services.synthesis.score.layers.motif import Motif
from services.synthesis.score.plan import PlacedChord
from services.synthesis.score.theory import CHARACTERISTIC, semitones

_REACH: Final = 8
"""Degrees around the wanted register that a line may use."""
_ROW: Final = np.arange(2 * _REACH + 1)

# Costs; a move that is a degree other than the motif's costs 1.
_OFF_MOVE: Final = 1.0
_NEW_LEAP: Final = 3.5
"""A third or more where the motif has a step."""
_NEW_REPEAT: Final = 0.8
_OFF_START: Final = 0.35
"""For each degree that the first note lies off its register."""
_OFF_CHORD: Final = 0.9
"""A strong note that is no tone of the chord."""
_CLASH: Final = 1.6
"""A strong note a semitone beside a tone of the chord."""
_WEAK_CLASH: Final = 0.3
_FIRST_OFF_CHORD: Final = 1.2
_OPEN_END: Final = 3.0
"""A last note that is neither root nor fifth of its chord."""
_WRONG_END: Final = 3.0
"""Besides, where it is no tone of the chord either."""
_GROWL: Final = 4.0
"""A low note a semitone beside a tone of the pad or the drone."""
_MODE_NOTE: Final = -0.45
"""A strong note that is the mode's characteristic one."""


def fit(
    motif: Motif,
    chords: Sequence[PlacedChord],
    strong: Sequence[bool],
    start: int,
    drone: frozenset[int],
    *,
    rests: bool,
) -> tuple[int, ...]:
    """Degrees of a motif's notes.

    Args:
        motif: what is to be sung.
        chords: that each note sounds over.
        strong: whether each note is long, first or last.
        start: degree near which it begins.
        drone: pitches that sound below.
        rests: whether it must end on root or fifth; otherwise it may end on any tone of the chord.
    """
    degrees = np.arange(start - _REACH, start + _REACH + 1)
    count = len(motif.lengths)
    total = _OFF_START * np.abs(degrees - start) + _node(degrees, chords[0], drone, strong=True)
    steps = degrees % 7
    total = total + _FIRST_OFF_CHORD * ~_places(chords[0].mode, chords[0].classes).inside[steps]
    back: list[NDArray[np.intp]] = []
    for index in range(1, count):
        reach = total[:, None] + _moves(motif.moves[index - 1])
        best = reach.argmin(axis=0)
        back.append(best)
        total = reach[best, _ROW] + _node(degrees, chords[index], drone, strong=strong[index])
    last = _places(chords[-1].mode, chords[-1].classes)
    total = total + (_OPEN_END if rests else _OPEN_END / 3) * ~last.at_rest[steps] + _WRONG_END * ~last.inside[steps]
    place = int(total.argmin())
    found = [place]
    for best in reversed(back):
        place = int(best[place])
        found.append(place)
    return tuple(int(degrees[place]) for place in reversed(found))


def clashes(degree: int, chord: PlacedChord) -> bool:
    """Whether a degree lies a semitone beside a tone of the chord, and is none itself."""
    return bool(_places(chord.mode, chord.classes).beside[degree % 7])


@dataclass(frozen=True, slots=True)
class _Places:
    """What the seven degrees of a scale are to a chord: bool [7] each.

    Attributes:
        inside: tones of the chord.
        beside: a semitone beside one, and none themselves.
        at_rest: its root and its fifth.
    """

    inside: NDArray[np.bool_]
    beside: NDArray[np.bool_]
    at_rest: NDArray[np.bool_]


@lru_cache(maxsize=8192)
def _places(mode: str, classes: tuple[int, ...]) -> _Places:
    scale = [semitones(mode, degree) for degree in range(7)]
    root = classes[0]
    fifth = min(classes[1:], key=lambda pitch_class: abs((pitch_class - root) % 12 - 7))
    inside = np.array([step in classes for step in scale])
    near = np.array([bool({(step - 1) % 12, (step + 1) % 12} & set(classes)) for step in scale])
    return _Places(inside, near & ~inside, np.array([step in (root, fifth) for step in scale]))


@lru_cache(maxsize=64)
def _moves(wanted: int) -> NDArray[np.float64]:
    """Costs of going from each degree to each other one where the motif has a certain move."""
    moves = _ROW[None, :] - _ROW[:, None]
    cost = _OFF_MOVE * np.abs(moves - wanted)
    cost = cost + _NEW_LEAP * ((np.abs(moves) > 1) & (abs(wanted) <= 1))
    return np.asarray(cost + _NEW_REPEAT * ((moves == 0) & (wanted != 0)), np.float64)


def growls(pitch_midi: int, chord: PlacedChord, drone: frozenset[int]) -> bool:
    """Whether a pitch lies low, and a semitone beside a tone that is held under it."""
    beside = (pitch_midi - 1, pitch_midi + 1)
    return pitch_midi <= LOW_MIDI and any(p in drone or p in chord.voicing for p in beside)


def _node(
    degrees: NDArray[np.int64], chord: PlacedChord, drone: frozenset[int], *, strong: bool
) -> NDArray[np.float64]:
    places = _places(chord.mode, chord.classes)
    if strong:
        cost = _OFF_CHORD * ~places.inside + _CLASH * places.beside
        cost[CHARACTERISTIC[chord.mode]] += _MODE_NOTE
    else:
        cost = _WEAK_CLASH * places.beside
    found = cost[degrees % 7]
    lowest = int(degrees[0])
    if chord.tonic_midi + semitones(chord.mode, lowest) <= LOW_MIDI:
        for place in range(len(found)):
            pitch = chord.tonic_midi + semitones(chord.mode, lowest + place)
            if pitch > LOW_MIDI:
                break
            if growls(pitch, chord, drone):
                found[place] += _GROWL
    return np.asarray(found, np.float64)
