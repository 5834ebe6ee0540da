"""Pure. How a preset says the harmony: the kind of each chord, and its voicing.

Kinds follow the arc: plain chords where it is low, rough ones where it is high, the drone counted. Voicings are the
shortest path through a passage in the register of the preset's pad, which is the same in every key: each voice holds or
moves a little, and no voice lies a low semitone beside the drone. The path begins at the passage's anchor and leads to
the next one's, so the chain goes on, although each passage is composed alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.score.form import Passage
from services.synthesis.score.hashing import Dice, Draw
from services.synthesis.score.presets import SCORE_PRESETS, Pad
from services.synthesis.score.progression import Progression, Slot, progression
from services.synthesis.score.theory import CHARACTERISTIC, chord_intervals, semitones

MAX_VOICE_STEP: Final = 4
"""Semitones that a voice may move from one chord to the next."""
LOW_MIDI: Final = 60
"""Below middle C a semitone growls."""

_VOICINGS_PER_CHORD: Final = 14
_LEAST_VOICINGS: Final = 4
HIGHEST: Final = 9
"""Semitones above the pad's register to which a chord may rise that has no voicing clear of the drone."""
WIDER: Final = (0, 1, 2, 3, 4)
"""A chord with fewer voicings may leave the pad's register by this many semitones."""
_LARGEST_BOOST: Final = 2.0
"""Weight of a kind with the mode's characteristic note."""

ROUGHNESS: Final = (0.0, 1.0, 0.4, 0.12, 0.08, 0.05, 0.45)
"""Roughness of two tones by their interval class, 0 (unison) to 6 (tritone)."""
_TENSION_WIDTH: Final = 0.1
"""A kind whose roughness is this far from the arc's tension, on the palette's scale of 0 to 1, has half the weight."""
_NO_COMMON: Final = 0.02
_SAME_CLASSES: Final = 0.05
"""Weight of a kind without a common tone with a neighbour, and of one with the same tones."""

# Costs of a voicing and of a step between two. A semitone of mean motion of all voices costs 1.
_REGISTER: Final = 0.25
"""For each semitone that the voicing's mean lies off the arc's register."""
_ARC_SEMITONES: Final = 4.0
"""That register rises by this much when the arc rises by 1."""
_GROWL: Final = 40.0
"""For two voices a semitone apart below `LOW_MIDI`."""
_LEAP: Final = 8.0
"""For each semitone that a voice moves further than it may."""
_ALL_MOVE: Final = 0.5
"""Where no voice is held."""
_OWN_COST: Final = 0.12
"""Of a voicing's own cost among those of its chord."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A chord before it is voiced.

    Attributes:
        name: of `theory.KINDS`.
        intervals: semitones above the root, rising.
        classes: semitones above the tonic, 0 to 11, the root first.
        roughness: with the drone, 0 (the palette's plainest chord on this root) to 1.
        weight: in the preset's palette.
    """

    name: str
    intervals: tuple[int, ...]
    classes: tuple[int, ...]
    roughness: float
    weight: float

    @property
    def fifth(self) -> int:
        """Semitones from the tonic to the chord's fifth, perfect or not."""
        root = self.classes[0]
        above = next((interval for interval in self.intervals if interval in (6, 7)), 7)
        return (root + above) % 12


def roughness(classes: Sequence[int]) -> float:
    """Sum over all pairs of different tones; counts nothing twice."""
    tones = sorted({pitch_class % 12 for pitch_class in classes})
    return sum(ROUGHNESS[min(b - a, 12 - b + a)] for a, b in combinations(tones, 2))


@lru_cache(maxsize=1024)
def kinds_of(preset: str, mode: str, seed: int, passage: Passage) -> tuple[Kind, ...]:
    """A kind for each slot of a passage.

    A slot's kind depends on slots of lower rank and on the pillar before alone, so that it does not matter which slots
    a preset plays.
    """
    harmony = progression(seed, mode, passage)
    slots = harmony.slots
    drone = _drone_classes(mode, harmony)
    chosen: dict[int, Kind] = {}
    for rank, step in ((0, 4), (1, 4), (2, 2)):
        for number in range(0 if rank == 0 else step // 2, len(slots), step):
            slot = slots[number]
            reach = 4 if rank == 0 else step // 2
            around = [chosen[place] for place in (number - reach, number + reach) if place in chosen]
            varied = passage.visit > 0 and passage.own.chance(0.25, Draw.CHORD, number, 1)
            dice = (passage.own if varied else passage.material).at(Draw.CHORD, number, 2)
            chosen[number] = _pick(candidates(preset, slot.mode, slot.root, drone), slot, around, dice)
    return tuple(chosen[number] for number in range(len(slots)))


def voice(
    preset: str,
    tonic: int,
    chords: Sequence[tuple[Slot, Kind]],
    following: tuple[int, ...],
    *,
    drone_midi: Sequence[int],
    levels: Sequence[float],
) -> list[tuple[int, ...]]:
    """Voicings of a passage's chords, as MIDI pitches.

    Args:
        preset: its pad's register is used.
        tonic: pitch class of the key, 0 to 11.
        chords: in time.
        following: the voicing that the next passage begins with.
        drone_midi: pitches that the drone holds under them.
        levels: the arc at each chord, -0.5 to 0.7.
    """
    pad = SCORE_PRESETS[preset].pad
    middle = (pad.low_midi + pad.high_midi) / 2
    low = beside_drone(drone_midi)
    layers = [_options(pad, tonic, kind, low) for _, kind in chords]
    costs = [
        _own_costs(options, middle + _ARC_SEMITONES * level) for options, level in zip(layers, levels, strict=True)
    ]
    first = int(np.argmin(_own_costs(layers[0], middle)))
    layers[0], costs[0] = layers[0][first : first + 1], costs[0][first : first + 1]
    total = costs[0]
    back: list[NDArray[np.intp]] = []
    for index in range(1, len(layers)):
        reach = total[:, None] + _steps(layers[index - 1], layers[index])
        best = reach.argmin(axis=0)
        back.append(best)
        total = reach[best, np.arange(len(best))] + costs[index]
    total = total + _steps(layers[-1], np.array([following], np.int64))[:, 0]
    place = int(total.argmin())
    found = [place]
    for best in reversed(back):
        place = int(best[place])
        found.append(place)
    found.reverse()
    return [tuple(int(p) for p in options[place]) for options, place in zip(layers, found, strict=True)]


def anchor(preset: str, tonic: int, first: Kind, drone_midi: Sequence[int]) -> tuple[int, ...]:
    """The voicing that a passage begins with, whatever came before."""
    pad = SCORE_PRESETS[preset].pad
    options = _options(pad, tonic, first, beside_drone(drone_midi))
    costs = _own_costs(options, (pad.low_midi + pad.high_midi) / 2)
    return tuple(int(p) for p in options[int(np.argmin(costs))])


def beside_drone(drone_midi: Sequence[int]) -> tuple[int, ...]:
    """Pitches that would growl: a semitone beside a tone of the drone, below `LOW_MIDI`."""
    beside = {pitch + step for pitch in drone_midi for step in (-1, 1) if min(pitch, pitch + step) < LOW_MIDI}
    return tuple(sorted(beside))


def warm(preset: str, mode: str) -> None:
    """Work out the voicings of a preset's chords in a mode, in all keys."""
    pad = SCORE_PRESETS[preset].pad
    for root in range(7):
        for name, _ in palette(pad, mode, root):
            intervals = chord_intervals(mode, root, name)
            if intervals is not None and len(intervals) <= len(pad.thresholds):
                base = semitones(mode, root)
                classes = tuple((base + interval) % 12 for interval in intervals)
                for tonic in range(12):
                    _options(pad, tonic, Kind(name, intervals, classes, 0.0, 1.0), ())


def _pick(options: tuple[Kind, ...], slot: Slot, around: list[Kind], dice: Dice) -> Kind:
    best, best_kind = -1.0, options[0]
    for number, kind in enumerate(options):
        weight = kind.weight / (1.0 + ((kind.roughness - slot.tension) / _TENSION_WIDTH) ** 2)
        classes = set(kind.classes)
        for other in around:
            shared = len(classes.intersection(other.classes))
            weight *= _NO_COMMON if shared == 0 else 1.0 if shared < len(classes) else _SAME_CLASSES
        pace = weight / -math.log1p(-max(dice.unit(number), 1e-12))
        if pace > best:
            best, best_kind = pace, kind
    return best_kind


@lru_cache(maxsize=4096)
def candidates(preset: str, mode: str, root: int, drone: tuple[int, ...]) -> tuple[Kind, ...]:
    """The kinds that a preset may play on a root.

    Args:
        drone: semitones from the tonic to the drone's tones, 0 to 11.
    """
    pad = SCORE_PRESETS[preset].pad
    base = semitones(mode, root)
    telling = semitones(mode, CHARACTERISTIC[mode]) % 12
    found: list[tuple[str, tuple[int, ...], tuple[int, ...], float, float]] = []
    for name, weight in palette(pad, mode, root):
        intervals = chord_intervals(mode, root, name)
        if intervals is None or len(intervals) > len(pad.thresholds):
            continue
        classes = tuple((base + interval) % 12 for interval in intervals)
        boost = _LARGEST_BOOST if telling in classes else 1.0
        found.append((name, intervals, classes, roughness((*classes, *drone)), weight * boost))
    rough = [row[3] for row in found]
    least, width = min(rough), max(max(rough) - min(rough), 1e-9)
    return tuple(Kind(name, inter, classes, (r - least) / width, w) for name, inter, classes, r, w in found)


def palette(pad: Pad, mode: str, root: int) -> list[tuple[str, int]]:
    """Kinds of chords with their weights."""
    kinds = dict(pad.kinds)
    if root == 0 and mode == "locrian":
        # Chords that show that the tonic has no perfect fifth.
        kinds |= {"triad": 2, "seventh": 4, "eleventh": 2}
    if root == 0 and mode == "phrygian":
        kinds.setdefault("ninth_sus4", 1)
    return sorted(kinds.items())


def _drone_classes(mode: str, harmony: Progression) -> tuple[int, ...]:
    base = semitones(mode, harmony.centre)
    return tuple(sorted({base % 12, (base + harmony.fifth) % 12}))


def _options(pad: Pad, tonic: int, kind: Kind, without: tuple[int, ...]) -> NDArray[np.int64]:
    classes = tuple(sorted((tonic + pitch_class) % 12 for pitch_class in kind.classes))
    root, fifth = (tonic + kind.classes[0]) % 12, (tonic + kind.fifth) % 12
    voices = len(pad.thresholds)
    found, low_midi = np.zeros((0, voices), np.int64), pad.low_midi
    # A register of less than two octaves has few voicings of a chord of three tones in some keys.
    for low_midi, high_midi in ((pad.low_midi - wider, pad.high_midi + wider) for wider in WIDER):
        barred = tuple(p for p in without if low_midi <= p <= high_midi and p % 12 in classes)
        more = voicings(classes, root, fifth, barred, voices=voices, low_midi=low_midi, high_midi=high_midi)
        found = more if len(more) else found
        if len(found) >= _LEAST_VOICINGS:
            break
    if not len(found):
        # Rather a doubled third, and a chord higher up, than a growl.
        high_midi = pad.high_midi + HIGHEST
        barred = tuple(p for p in without if low_midi <= p <= high_midi and p % 12 in classes)
        found = voicings(
            classes, root, fifth, barred, voices=voices, low_midi=low_midi, high_midi=high_midi, double_any=True
        )
    return found if len(found) or not without else _options(pad, tonic, kind, ())


def _own_costs(options: NDArray[np.int64], register: float) -> NDArray[np.float64]:
    cost = _GROWL * ((np.diff(options, axis=1) == 1) & (options[:, :-1] < LOW_MIDI)).sum(axis=1)
    cost = cost + _REGISTER * np.abs(options.mean(axis=1) - register)
    # Voicings are sorted from the best to the least good one.
    return np.asarray(cost + _OWN_COST * np.arange(len(options)), np.float64)


def _steps(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.float64]:
    """Costs of moving from each voicing to each other one: [before, after]."""
    moved = np.abs(before[:, None, :] - after[None, :, :])
    cost = moved.mean(axis=2) + _LEAP * np.maximum(moved - MAX_VOICE_STEP, 0).sum(axis=2)
    return np.asarray(cost + _ALL_MOVE * (moved > 0).all(axis=2), np.float64)


@lru_cache(maxsize=16_384)
def voicings(
    classes: tuple[int, ...],
    root: int,
    fifth: int,
    without: tuple[int, ...],
    *,
    voices: int,
    low_midi: int,
    high_midi: int,
    double_any: bool = False,
) -> NDArray[np.int64]:
    """The best voicings of a chord, [voicings, voices]: complete, only root and fifth doubled, open below, close above.

    Args:
        classes: pitch classes, sorted.
        root, fifth: two of them.
        without: pitches that no voice may take.
        voices: how many pitches.
        low_midi, high_midi: the register.
        double_any: whether other tones than root and fifth may be doubled.
    """
    register = [p for p in range(low_midi, high_midi + 1) if p % 12 in classes and p not in without]
    pitches = np.array(register, np.int16)
    if len(register) < voices:
        return np.zeros((0, voices), np.int64)
    chosen = pitches[_choices(len(pitches), voices)]
    gaps = np.diff(chosen, axis=1)
    counts = np.stack([(chosen % 12 == pitch_class).sum(axis=1) for pitch_class in classes], axis=1)
    complete = (counts > 0).all(axis=1)
    single = np.array([pitch_class not in (root, fifth) for pitch_class in classes])
    complete &= double_any | (counts[:, single] == 1).all(axis=1)
    complete &= (gaps <= 14).all(axis=1) & (gaps[:, 0] >= 3)
    complete &= ~((gaps[:, 1:] == 1) & (gaps[:, :-1] == 1)).any(axis=1)
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
    best: list[int] = []
    tops: dict[int, int] = {}
    for top_repeats in (0, 1, 2, 3):
        # First one for each top note: the uppermost voice is heard as a tune and needs a choice of notes.
        for row in order.tolist():
            top = int(chosen[row, -1])
            if tops.get(top, 0) <= top_repeats and row not in best and len(best) < _VOICINGS_PER_CHORD:
                best.append(row)
                tops[top] = tops.get(top, 0) + 1
    return chosen[best].astype(np.int64)


@lru_cache(maxsize=64)
def _choices(count: int, voices: int) -> NDArray[np.intp]:
    return np.array(list(combinations(range(count), voices)), np.intp)
