"""Chords as a walk over voicings: every voice holds or moves a little, neighbours share tones, no dead ends.

The states are voicings, all in one band, each with as many voices as the preset's pad. The walk through a section
starts from the section's anchor and only takes steps from which the next section's anchor can still be reached, so the
chain goes on over the join although each section is composed alone.
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
_TELLING_SHARE: Final = 0.5

# Motion of the root in scale steps: fourths, thirds and seconds all belong; a new colour on the same root is rare.
_ROOT_MOTION: Final = (0.35, 1.0, 1.2, 1.1, 1.1, 1.2, 1.0)


@dataclass(frozen=True, slots=True)
class ChordTable:
    """All voicings of one mode and preset, and how they follow each other.

    Attributes:
        pitch_midi: int16 [states, voices], rising, in the key of C.
        mean_midi: float64 [states], of the voices.
        root: int8 [states], degree.
        kind: names of `theory.KINDS`, by state.
        mode: the mode whose scale a state is taken from, by state: the home mode or a neighbour.
        step: int8 [states], 0 home, -1 towards lydian, 1 towards locrian.
        chord: int16 [states], equal for voicings of one chord, in whatever mode.
        coloured: bool [states], holds the note by which its mode differs from home.
        weight: float64 [states], how likely, for its own sake.
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
        # Past lydian and locrian the tonic itself would move, and from phrygian to locrian the fifth of the drone.
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
    # A chord that two neighbouring modes share is one chord.
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
        # More than half of all steps are leaps: only the others are kept, all tables together are 16 MB.
        smooth=weight[possible].astype(np.float32),
        row_at=np.concatenate(([0], np.cumsum(possible.sum(axis=1)))).astype(np.int64),
    )


def _chords(pad: Pad, mode: str, step: int) -> list[_Chord]:
    """What a pad may play in a mode, weighted so that the mode is heard."""
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
            chords.append(_Chord(mode, step, root, kind, classes, fifth, weight * (1.3 if root == 0 else 1.0)))
    # Palettes differ in how often they touch the note that makes the mode: even them out.
    telling = sum(chord.weight for chord in chords if characteristic in chord.classes)
    neutral = sum(chord.weight for chord in chords) - telling
    boost = min(max(_TELLING_SHARE / (1 - _TELLING_SHARE) * neutral / telling, 1.0), 6.0)
    return [
        replace(chord, weight=chord.weight * (boost if characteristic in chord.classes else 1.0)) for chord in chords
    ]


def anchor(table: ChordTable, material: Dice) -> int:
    """The state that a section of this material begins with: a chord on the tonic, at home."""
    at_home = np.flatnonzero((table.step == 0) & (table.root == 0))
    noise = material.at(Draw.ANCHOR).units_at(at_home)
    return int(at_home[np.argmin(_race(noise, table.weight[at_home]))])


def walk(table: ChordTable, form: Form, next_material: Dice, parts: Sequence[int]) -> tuple[list[int], frozenset[int]]:
    """The states of a section's chords.

    Args:
        next_material: of the section after; the last chord leads to its anchor.
        parts: the part (0 to 3) that each chord lies in.

    Returns:
        One state per chord, and the indices of the chords in `form.colour` (empty where it cannot be reached).
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
        target = middle + 5.0 * form.arc.level(form.chord_units[index] / SECTION_UNITS)
        weight /= 1.0 + ((table.mean_midi[choices] - target) / 3.0) ** 2
        if index in away.chords:
            weight *= np.where(table.root[choices] == away.centre, 3.0, 1.0)
            weight *= np.where(table.coloured[choices], 4.0, 1.0)
        else:
            pull = 4.0 if parts[index] != parts[index - 1] else 1.0 + 0.5 * since_tonic
            weight *= np.where(table.root[choices] == 0, pull, 1.0)
        for back, keep in ((2, 0.15), (3, 0.5)):
            if back <= len(states):
                weight *= np.where(table.chord[choices] == table.chord[states[-back]], keep, 1.0)
        # A returning section keeps most of its chords and changes a few.
        varied = form.visit > 0 and form.own.chance(0.2, Draw.CHORD, index)
        noise = (form.own if varied else form.material).at(Draw.CHORD, index).units_at(choices)
        state = int(choices[np.argmin(_race(noise, weight))])
        since_tonic = 0 if table.root[state] == 0 else since_tonic + 1
        states.append(state)
    return states, away.chords


def _palette(pad: Pad, mode: str, root: int) -> list[tuple[str, int]]:
    palette = dict(pad.kinds)
    if root == 0 and mode == "locrian":
        # The tonic has no perfect fifth: these are the chords that say so.
        palette |= {"triad": 2, "seventh": 4, "eleventh": 2}
    if root == 0 and mode == "phrygian":
        palette.setdefault("ninth_sus4", 1)
    return sorted(palette.items())


@lru_cache(maxsize=4096)
def _voicings(
    classes: tuple[int, ...], root: int, fifth: int, *, voices: int, low_midi: int, high_midi: int
) -> tuple[tuple[int, ...], ...]:
    """The best voicings of a chord: all tones there, nothing doubled but root and fifth, open below, close above."""
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
        # One per top note first: the uppermost voice is a tune, it needs somewhere to go.
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
    """Which state may follow which, and how well."""
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
    shared = classes @ classes.T  # sums of ones: exact in any order
    possible = (leap <= MAX_VOICE_STEP) & (shared >= 1) & (chord[:, None] != chord[None, :])
    smooth = 1.0 / (1.0 + (motion / (1.5 * voices)) ** 2)
    common = np.where(shared >= 2, 1.0, 0.5) * np.where(held >= 1, 1.0, 0.6)
    motion_weight = np.array(_ROOT_MOTION)[(root[None, :] - root[:, None]) % 7]
    return possible, smooth * common * motion_weight


@dataclass(frozen=True, slots=True)
class _Away:
    """Chords in a neighbouring mode: their indices, the table's step, the degree that they turn around."""

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
        # Lydian has no brighter neighbour, phrygian and locrian have no darker one: go the other way.
        step, centre = -step, {0: 0, 3: 4, 4: 3}[centre]
    ends = (*form.chord_units[1:], SECTION_UNITS)
    inside = frozenset(
        index
        for index, (begin, end) in enumerate(zip(form.chord_units, ends, strict=True))
        if begin >= colour.begin and end <= colour.end
    )
    return _Away(inside, step, centre)


def _reach(table: ChordTable, away: _Away, count: int, goal: int) -> list[NDArray[np.bool_]]:
    """For every chord of the section: the states that it may take and from which the goal can still be reached."""
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
    """Arrival times of a race that each runner wins with a chance in proportion to its weight.

    Changing who takes part changes the winner only if the winner is taken out: a returning section that must lead
    somewhere else still keeps its chords.
    """
    times: NDArray[np.float64] = -np.log1p(-noise) / weight
    return times
