"""Pure. Chords as a walk over voicings: every voice holds or moves a little, neighbours share tones, no dead ends.

The states are voicings in the register of the preset's pad, with a pitch for each of its voices. The walk through a
section begins at the section's anchor, and takes only steps from which the next section's anchor can be reached. The
chain therefore goes on into the next section, although each section is composed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.score.form import SECTION_UNITS, Draw, Form
from services.synthesis.score.hashing import Dice
from services.synthesis.score.presets import SCORE_PRESETS, Pad
from services.synthesis.score.theory import BY_BRIGHTNESS, CHARACTERISTIC, chord_intervals, semitones

MAX_VOICE_STEP: Final = 4
"""Semitones that a voice may move from one chord to the next."""

_VOICINGS_PER_CHORD: Final = 6
_MODE_SHARE: Final = 0.5
_LARGEST_BOOST: Final = 6.0
"""Chords with the mode's characteristic note have half of all weight, or at most six times their own."""
_TONIC_WEIGHT: Final = 1.3
"""Chords on the tonic are more frequent by this factor."""

_ROOT_MOTION: Final = (0.35, 1.0, 1.2, 1.1, 1.1, 1.2, 1.0)
"""Weight of a step by the motion of the root, 0 to 6 degrees up: a new chord on the same root is rare."""
_ONE_COMMON_CLASS: Final = 0.5
_NO_HELD_VOICE: Final = 0.6
"""Weight of a step that shares only one pitch class, and of one in which every voice moves."""
_USUAL_MOTION: Final = 1.5
"""Semitones that a voice moves on average in a step of half the weight."""

# Weights in the walk.
_ARC_SEMITONES: Final = 5.0
"""The chords' register rises by this much when the arc rises by 1."""
_REGISTER_WIDTH: Final = 3.0
"""A voicing whose mean is this many semitones off that register has half the weight."""
_AWAY_CENTRE: Final = 3.0
_AWAY_COLOURED: Final = 4.0
"""While away: chords on the centre, and chords with the note that the home mode lacks."""
_NEW_PART_TONIC: Final = 4.0
_TONIC_PULL: Final = 0.5
"""At home: the tonic where a part begins; elsewhere it gains 0.5 with each chord since the last one."""
_SAME_CHORD: Final = ((2, 0.15), (3, 0.5))
"""The chord of two chords ago, and that of three chords ago."""
_VARIED: Final = 0.2
"""Chance, for each chord of a returning section, that it is drawn anew."""


@dataclass(frozen=True, slots=True)
class ChordTable:
    """All voicings of one mode and preset, and how they follow each other.

    Attributes:
        pitch_midi: int16 [states, voices], rising, in the key of C.
        mean_midi: float64 [states], mean of the voices.
        root: int8 [states], degree.
        kind: [states], names of `theory.KINDS`.
        mode: [states], the mode whose scale the chord is taken from: the home mode or a neighbour.
        step: int8 [states], 0 at home, -1 in the brighter neighbour, 1 in the darker one.
        chord: int16 [states], equal for voicings of one chord, whatever its mode.
        coloured: bool [states], whether the chord has the note that the home mode lacks.
        weight: float64 [states], how likely the voicing is, apart from where the walk stands.
        possible: bool [states, states], whether the column may follow the row without a leap.
        smooth: float32 [possible steps], weight of each step, row after row.
        row_at: int64 [states + 1], where each row begins in `smooth`.
    """

    pitch_midi: NDArray[np.int16]
    mean_midi: NDArray[np.float64]
    root: NDArray[np.int8]
    kind: tuple[str, ...]
    mode: tuple[str, ...]
    step: NDArray[np.int8]
    chord: NDArray[np.int16]
    coloured: NDArray[np.bool_]
    weight: NDArray[np.float64]
    possible: NDArray[np.bool_]
    smooth: NDArray[np.float32]
    row_at: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Chord:
    """A chord of a palette, before it is voiced."""

    mode: str
    step: int
    root: int
    kind: str
    classes: frozenset[int]
    fifth: int
    weight: float


@lru_cache(maxsize=64)
def chord_table(mode: str, preset: str) -> ChordTable:
    """The table of one mode and preset; about 20 ms, once."""
    pad = SCORE_PRESETS[preset].pad
    home_place = BY_BRIGHTNESS.index(mode)
    home = {semitones(mode, degree) for degree in range(7)}
    chords: list[_Chord] = []
    for step in (0, -1, 1):
        # Lydian has no brighter neighbour, locrian no darker one; locrian beside phrygian lacks the drone's fifth.
        if 0 <= home_place + step < len(BY_BRIGHTNESS) and (mode, step) != ("phrygian", 1):
            chords += _chords(pad, BY_BRIGHTNESS[home_place + step], step)
    voicings = [
        _voicings(
            tuple(sorted(chord.classes)),
            semitones(chord.mode, chord.root) % 12,
            chord.fifth,
            voices=len(pad.thresholds),
            low_midi=pad.low_midi,
            high_midi=pad.high_midi,
        )
        for chord in chords
    ]
    numbers = [number for number, choices in enumerate(voicings) for _ in choices]
    states = [chords[number] for number in numbers]
    pitch = np.array([voicing for choices in voicings for voicing in choices], np.int16)
    root = np.array([chord.root for chord in states], np.int8)
    # A chord that two modes share has one number.
    names = sorted({(chord.root, tuple(sorted(chord.classes))) for chord in chords})
    number_at = np.array([names.index((chord.root, tuple(sorted(chord.classes)))) for chord in states], np.int16)
    possible, weight = _steps(pitch, root, number_at)
    return ChordTable(
        pitch_midi=pitch,
        mean_midi=pitch.mean(axis=1),
        root=root,
        kind=tuple(chord.kind for chord in states),
        mode=tuple(chord.mode for chord in states),
        step=np.array([chord.step for chord in states], np.int8),
        chord=number_at,
        coloured=np.array([not chord.classes <= home for chord in states], np.bool_),
        weight=np.array([chords[number].weight / len(voicings[number]) for number in numbers], np.float64),
        possible=possible,
        # More than half of all pairs are leaps. Without them all tables together take 16 MB.
        smooth=weight[possible].astype(np.float32),
        row_at=np.concatenate(([0], np.cumsum(possible.sum(axis=1)))).astype(np.int64),
    )


def _chords(pad: Pad, mode: str, step: int) -> list[_Chord]:
    """The chords that a pad may play in a mode, weighted so that the mode is heard."""
    characteristic = semitones(mode, CHARACTERISTIC[mode])
    chords = []
    for root in range(7):
        for kind, weight in _palette(pad, mode, root):
            intervals = chord_intervals(mode, root, kind)
            if intervals is None or len(intervals) > len(pad.thresholds):
                continue
            base = semitones(mode, root)
            classes = frozenset((base + interval) % 12 for interval in intervals)
            fifth = (base + next(interval for interval in intervals if interval in (6, 7))) % 12
            chords.append(
                _Chord(mode, step, root, kind, classes, fifth, weight * (_TONIC_WEIGHT if root == 0 else 1.0))
            )
    # Palettes differ in how often they have the mode's characteristic note: even them out.
    telling = sum(chord.weight for chord in chords if characteristic in chord.classes)
    neutral = sum(chord.weight for chord in chords) - telling
    boost = min(max(_MODE_SHARE / (1 - _MODE_SHARE) * neutral / telling, 1.0), _LARGEST_BOOST)
    return [
        replace(chord, weight=chord.weight * (boost if characteristic in chord.classes else 1.0)) for chord in chords
    ]


def anchor(table: ChordTable, material: Dice) -> int:
    """The state that sections of this material begin with: a chord on the tonic, at home."""
    at_home = np.flatnonzero((table.step == 0) & (table.root == 0))
    noise = material.at(Draw.ANCHOR).units_at(at_home)
    return int(at_home[np.argmin(_race(noise, table.weight[at_home]))])


def walk(table: ChordTable, form: Form, next_material: Dice, parts: Sequence[int]) -> tuple[list[int], frozenset[int]]:
    """The states of a section's chords.

    Args:
        table: of the stream's mode and preset.
        form: of the section.
        next_material: of the section after it; the last chord leads to its anchor.
        parts: the part (0 to 3) that each chord lies in.

    Returns:
        One state for each chord, and the indices of the chords in `form.colour` (empty if it cannot be reached).
    """
    count = len(form.chord_units)
    start, goal = anchor(table, form.material), anchor(table, next_material)
    away = _away(table, form)
    reach = _reach(table, away, count, goal)
    if not reach[0][start]:
        away = _AT_HOME
        reach = _reach(table, away, count, goal)

    states = [start]
    middle = float(table.mean_midi[table.step == 0].mean())
    since_tonic = 0
    for index in range(1, count):
        steps = np.flatnonzero(table.possible[states[-1]])
        smooth = table.smooth[table.row_at[states[-1]] : table.row_at[states[-1] + 1]]
        ahead = reach[index][steps]
        choices = steps[ahead]
        weight = smooth[ahead] * table.weight[choices]
        # The register of the chords follows the arc, slowly.
        target = middle + _ARC_SEMITONES * form.arc.level(form.chord_units[index] / SECTION_UNITS)
        weight /= 1.0 + ((table.mean_midi[choices] - target) / _REGISTER_WIDTH) ** 2
        if index in away.chords:
            weight *= np.where(table.root[choices] == away.centre, _AWAY_CENTRE, 1.0)
            weight *= np.where(table.coloured[choices], _AWAY_COLOURED, 1.0)
        else:
            pull = _NEW_PART_TONIC if parts[index] != parts[index - 1] else 1.0 + _TONIC_PULL * since_tonic
            weight *= np.where(table.root[choices] == 0, pull, 1.0)
        for back, share in _SAME_CHORD:
            if back <= len(states):
                weight *= np.where(table.chord[choices] == table.chord[states[-back]], share, 1.0)
        varied = form.visit > 0 and form.own.chance(_VARIED, Draw.CHORD, index)
        noise = (form.own if varied else form.material).at(Draw.CHORD, index).units_at(choices)
        state = int(choices[np.argmin(_race(noise, weight))])
        since_tonic = 0 if table.root[state] == 0 else since_tonic + 1
        states.append(state)
    return states, away.chords


def _palette(pad: Pad, mode: str, root: int) -> list[tuple[str, int]]:
    palette = dict(pad.kinds)
    if root == 0 and mode == "locrian":
        # Chords that show that the tonic has no perfect fifth.
        palette |= {"triad": 2, "seventh": 4, "eleventh": 2}
    if root == 0 and mode == "phrygian":
        palette.setdefault("ninth_sus4", 1)
    return sorted(palette.items())


@lru_cache(maxsize=4096)
def _voicings(
    classes: tuple[int, ...], root: int, fifth: int, *, voices: int, low_midi: int, high_midi: int
) -> tuple[tuple[int, ...], ...]:
    """The best voicings of a chord: complete, only root and fifth doubled, open below, close above."""
    pitches = np.array([p for p in range(low_midi, high_midi + 1) if p % 12 in classes], np.int16)
    chosen = pitches[_choices(len(pitches), voices)]
    gaps = np.diff(chosen, axis=1)
    counts = np.stack([(chosen % 12 == pitch_class).sum(axis=1) for pitch_class in classes], axis=1)
    complete = (counts > 0).all(axis=1)
    single = np.array([pitch_class not in (root, fifth) for pitch_class in classes])
    complete &= (counts[:, single] == 1).all(axis=1) & (gaps <= 14).all(axis=1) & (gaps[:, 0] >= 3)
    chosen, gaps = chosen[complete], gaps[complete]
    spread = chosen[:, -1] - chosen[:, 0]
    ninths = sum(
        ((chosen[:, j] - chosen[:, i]) % 12 == 1).astype(np.int64) for i in range(voices) for j in range(i + 1, voices)
    )
    centre = (low_midi + high_midi) * voices
    cost = (
        2 * np.maximum(5 - gaps[:, 0], 0)
        + 8 * (gaps == 1).sum(axis=1)
        + 3 * np.maximum((gaps == 2).sum(axis=1) - 1, 0)
        + np.maximum(gaps - 8, 0).sum(axis=1) * 2
        + 6 * ninths
        + np.maximum(voices * 4 - spread, 0)
        + np.abs(2 * chosen.sum(axis=1, dtype=np.int64) - centre) // (2 * voices)
    )
    order = np.argsort(cost, kind="stable")
    best: list[tuple[int, ...]] = []
    for top_repeats in (0, 1, 2):
        # First one for each top note: the uppermost voice is heard as a tune and needs a choice of notes.
        for row in order:
            voicing = tuple(int(p) for p in chosen[row])
            tops = sum(other[-1] == voicing[-1] for other in best)
            if tops <= top_repeats and voicing not in best and len(best) < _VOICINGS_PER_CHORD:
                best.append(voicing)
    return tuple(best)


@lru_cache(maxsize=64)
def _choices(count: int, voices: int) -> NDArray[np.intp]:
    return np.array(list(combinations(range(count), voices)), np.intp)


def _steps(
    pitch: NDArray[np.int16], root: NDArray[np.int8], chord: NDArray[np.int16]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which state may follow which, bool [states, states], and with which weight, float64 of the same shape."""
    states, voices = pitch.shape
    leap = np.zeros((states, states), np.int16)
    motion = np.zeros((states, states), np.int16)
    held = np.zeros((states, states), np.int16)
    for voice in range(voices):
        moved = np.abs(pitch[:, None, voice] - pitch[None, :, voice])
        np.maximum(leap, moved, out=leap)
        motion += moved
        held += moved == 0
    classes = np.zeros((states, 12), np.float32)
    for voice in range(voices):
        classes[np.arange(states), pitch[:, voice] % 12] = 1.0
    # Sums of ones: exact in any order of addition.
    shared = classes @ classes.T
    possible = (leap <= MAX_VOICE_STEP) & (shared >= 1) & (chord[:, None] != chord[None, :])
    smooth = 1.0 / (1.0 + (motion / (_USUAL_MOTION * voices)) ** 2)
    common = np.where(shared >= 2, 1.0, _ONE_COMMON_CLASS) * np.where(held >= 1, 1.0, _NO_HELD_VOICE)
    motion_weight = np.array(_ROOT_MOTION)[(root[None, :] - root[:, None]) % 7]
    return possible, smooth * common * motion_weight


@dataclass(frozen=True, slots=True)
class _Away:
    """The chords of a section that are in a neighbouring mode.

    Attributes:
        chords: their indices.
        step: see `ChordTable`.
        centre: see `form.Colour`.
    """

    chords: frozenset[int]
    step: int
    centre: int


_AT_HOME: Final = _Away(frozenset(), 0, 0)


def _away(table: ChordTable, form: Form) -> _Away:
    colour = form.colour
    if colour is None:
        return _AT_HOME
    step, centre = colour.step, colour.centre
    if not (table.step == step).any():
        # Lydian has no brighter neighbour, phrygian and locrian have no usable darker one: go the other way.
        step, centre = -step, {0: 0, 3: 4, 4: 3}[centre]
    ends = (*form.chord_units[1:], SECTION_UNITS)
    inside = frozenset(
        index
        for index, (begin, end) in enumerate(zip(form.chord_units, ends, strict=True))
        if begin >= colour.begin and end <= colour.end
    )
    return _Away(inside, step, centre)


def _reach(table: ChordTable, away: _Away, count: int, goal: int) -> list[NDArray[np.bool_]]:
    """For each chord of a section, which states it may take and `goal` be reached from: bool [states]."""
    ahead = np.zeros(len(table.root), np.bool_)
    ahead[goal] = True
    reach: list[NDArray[np.bool_]] = []
    for index in range(count - 1, -1, -1):
        allowed = table.step == (away.step if index in away.chords else 0)
        ahead = (table.possible & ahead).any(axis=1) & allowed
        reach.append(ahead)
    reach.reverse()
    return reach


def _race(noise: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Arrival times of a race: each state arrives first with a chance in proportion to its weight.

    If other states may be chosen, the winner changes only if it was taken out or a new one is faster. A returning
    section that must lead to another anchor therefore keeps most of its chords.
    """
    times: NDArray[np.float64] = -np.log1p(-noise) / weight
    return times
