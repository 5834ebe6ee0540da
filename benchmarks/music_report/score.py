"""What is measured of the score itself: notes are read, nothing is rendered. Pure.

Everything here reads a stretch of the stream's notes as its intensity selects them (`stretch`), and where passages and
phrases begin. Figures are the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import KEYS, MODES, StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer, Notes, SectionChord
from services.synthesis.score.form import passages_between
from services.synthesis.score.harmony import roughness
from services.synthesis.score.plan import plan_passage
from services.synthesis.score.selection import played

Floats = NDArray[np.float64]

_BIN_S: Final = 10.0
_MIDDLE_C: Final = 60
_LAST_S: Final = 20.0
_WINDOW_S: Final = 180.0
_SHRINK: Final = 0.3
_LEAST_VARIANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Stretch:
    """Notes of a stream over some sections.

    Attributes:
        begin_s, end_s, pitch, gain: float64 [notes]; seconds from the stretch's beginning.
        layer: uint8 [notes].
        chords: beginnings and names.
        seconds: length.
    """

    begin_s: Floats
    end_s: Floats
    pitch: Floats
    gain: Floats
    layer: NDArray[np.uint8]
    chords: tuple[SectionChord, ...]
    seconds: float

    def of(self, layer: Layer) -> NDArray[np.intp]:
        """Indices of a layer's notes."""
        return np.flatnonzero(self.layer == layer)


def stretch(spec: StreamSpec, first: int, sections: int) -> Stretch:
    """The notes that a stream plays from section `first` on."""
    columns: list[Floats] = []
    layers: list[NDArray[np.uint8]] = []
    chords: list[SectionChord] = []
    for number in range(sections):
        section = compose_section(spec, first + number)
        notes: Notes = section.notes.take(np.flatnonzero(played(section.notes, spec)))
        begin_s = notes.onset_s + number * SECTION_S
        columns.append(np.stack((begin_s, begin_s + notes.duration_s, notes.pitch_midi, notes.gain)))
        layers.append(notes.layer)
        for chord in section.chords:
            if not chords or chord.onset_s > 0 or chord.name != chords[-1].name:
                chords.append(SectionChord(chord.onset_s + number * SECTION_S, chord.name))
    begin, end, pitch, gain = np.concatenate(columns, axis=1)
    return Stretch(begin, end, pitch, gain, np.concatenate(layers), tuple(chords), float(sections * SECTION_S))


# --- form -------------------------------------------------------------------------------------------------------------


def repetition(heard: Stretch) -> float:
    """The greater autocorrelation of the onsets in ten seconds, at 60 s and at 240 s; 0 where nothing comes back."""
    counts, _ = np.histogram(heard.begin_s, np.arange(0.0, heard.seconds + _BIN_S, _BIN_S))
    around = counts - counts.mean()
    power = float((around**2).sum())
    return max(float((around[lag:] * around[:-lag]).sum()) / power for lag in (6, 24))


def last_density(spec: StreamSpec, first: int, sections: int) -> float:
    """Onsets a second in the last 20 s of passages, relative to the whole passage's; the median."""
    heard = stretch(spec, first, sections)
    begin_ms = first * SECTION_S * 1000
    shares = []
    for passage in passages_between(spec.seed, begin_ms, begin_ms + sections * SECTION_S * 1000):
        begin_s, end_s = (passage.begin_ms - begin_ms) / 1000, (passage.end_ms - begin_ms) / 1000
        if begin_s < 0 or end_s > heard.seconds:
            continue
        inside = (heard.begin_s >= begin_s) & (heard.begin_s < end_s)
        last = inside & (heard.begin_s >= end_s - _LAST_S)
        shares.append(last.sum() / _LAST_S / (inside.sum() / (end_s - begin_s)))
    return float(np.median(shares))


# --- tempo ------------------------------------------------------------------------------------------------------------


def greatest_fall(spec: StreamSpec, first: int, sections: int, tempos: Sequence[int]) -> tuple[float, str]:
    """By how much notes a minute fall where bpm rises by one, in percent; and where."""
    counts = {bpm: len(stretch(replace(spec, bpm=bpm), first, sections).begin_s) for bpm in tempos}
    falls = [
        (100.0 * (1 - counts[bpm + 1] / counts[bpm]), f"{bpm} to {bpm + 1}") for bpm in tempos if bpm + 1 in counts
    ]
    return max(falls)


def equal_seconds(spec: StreamSpec, section: int, tempos: Sequence[int]) -> int:
    """Seconds of a section in which a tempo and its double sound the same notes, begun at the same moments."""
    most = 0
    for bpm in tempos:
        both = []
        for tempo in (bpm, 2 * bpm):
            heard = stretch(replace(spec, bpm=tempo), section - 1, 2)
            sounding = []
            for second in range(SECTION_S, 2 * SECTION_S):
                inside = (heard.begin_s < second + 1) & (heard.end_s > second)
                rows = zip(heard.begin_s[inside], heard.end_s[inside], heard.pitch[inside], strict=True)
                sounding.append({tuple(round(value, 6) for value in row) for row in rows})
            both.append(sounding)
        most = max(most, sum(slow == quick for slow, quick in zip(*both, strict=True)))
    return most


# --- harmony ----------------------------------------------------------------------------------------------------------


def tension_follows(spec: StreamSpec, first: int, sections: int) -> float:
    """Correlation of the arc with the tension of what sounds.

    The tension of a chord is the roughness of its tones and the drone's, and the share of its tones that are strange to
    the drone's triad.
    """
    begin_ms = first * SECTION_S * 1000
    levels, tensions = [], []
    for passage in passages_between(spec.seed, begin_ms, begin_ms + sections * SECTION_S * 1000):
        plan = plan_passage(spec, passage)
        drone = {tone.pitch_midi % 12 for tone in plan.drone}
        ground = min(plan.drone, key=lambda tone: tone.voice).pitch_midi % 12
        for chord in plan.chords:
            classes = {pitch % 12 for pitch in chord.voicing}
            triad = {(ground + step) % 12 for step in (0, 3, 4, 7)}
            levels.append(passage.arc.shape((chord.begin_s + chord.end_s) / 2 / plan.length_s))
            tensions.append(roughness([*classes, *drone]) / 3 + len(classes - triad) / len(classes))
    return float(np.corrcoef(levels, tensions)[0, 1])


def low_seconds(heard: Stretch) -> float:
    """Seconds an hour in which two notes below middle C are held a semitone apart."""
    low = np.flatnonzero(heard.pitch < _MIDDLE_C)
    order = low[np.argsort(heard.begin_s[low], kind="stable")]
    spans = []
    for place, one in enumerate(order):
        for other in order[place + 1 :]:
            if heard.begin_s[other] >= heard.end_s[one]:
                break
            if abs(heard.pitch[one] - heard.pitch[other]) == 1:
                spans.append((heard.begin_s[other], min(heard.end_s[one], heard.end_s[other])))
    total, reached = 0.0, 0.0
    for begin_s, end_s in sorted(spans):
        total += max(end_s - max(begin_s, reached), 0.0)
        reached = max(reached, end_s)
    return total * 3600 / heard.seconds


def longest_clash(spec: StreamSpec, first: int, sections: int) -> float:
    """The longest time that a note of melody or shimmer is held a semitone beside a chord that began after it."""
    begin_ms = first * SECTION_S * 1000
    heard = stretch(spec, first, sections)
    chords: list[tuple[float, frozenset[int]]] = []
    for passage in passages_between(spec.seed, begin_ms, begin_ms + sections * SECTION_S * 1000):
        plan = plan_passage(spec, passage)
        offset_s = round((passage.begin_ms / 1000 - first * SECTION_S) / plan.bar_s) * plan.bar_s
        chords += [(c.begin_s + offset_s, frozenset(p % 12 for p in c.voicing)) for c in plan.chords]
    longest = 0.0
    for layer in (Layer.MELODY, Layer.SHIMMER):
        for place in heard.of(layer):
            begin_s, end_s, tone = heard.begin_s[place], heard.end_s[place], int(heard.pitch[place]) % 12
            for (at_s, classes), (next_s, _) in pairwise([*chords, (np.inf, frozenset())]):
                clash = tone not in classes and {(tone - 1) % 12, (tone + 1) % 12} & classes
                if begin_s + 0.1 < at_s < end_s and clash:
                    longest = max(longest, min(end_s, next_s) - at_s)
    return longest


def without_bass(spec: StreamSpec, first: int, sections: int) -> float:
    """Share of the chords under which no bass is written, in percent."""
    heard = stretch(replace(spec, intensity_steps=20), first, sections)
    onsets = np.sort(heard.begin_s[heard.of(Layer.BASS)])
    begins = [chord.onset_s for chord in heard.chords if chord.onset_s > 0]
    found = [np.searchsorted(onsets, at + 2.5) > np.searchsorted(onsets, at - 0.1) for at in begins]
    return 100.0 * (1 - float(np.mean(found)))


# --- keys -------------------------------------------------------------------------------------------------------------


def key_step(spec: StreamSpec, first: int, sections: int) -> tuple[float, str]:
    """By how many semitones the mean pitch of a layer changes between neighbouring keys, at most; and where."""
    means: dict[Layer, list[float]] = {layer: [] for layer in Layer}
    for key in KEYS:
        heard = stretch(replace(spec, key=key), first, sections)
        for layer in Layer:
            at = heard.of(layer)
            weight = heard.gain[at] ** 2 * (heard.end_s[at] - heard.begin_s[at])
            if len(at):
                means[layer].append(float((heard.pitch[at] * weight).sum() / weight.sum()))
    names = [*KEYS, next(iter(KEYS))]
    steps = [
        (abs(after - before), f"{layer.name.lower()}, {names[number]} to {names[number + 1]}")
        for layer, row in means.items()
        for number, (before, after) in enumerate(pairwise([*row, *row[:1]]))
    ]
    return max(steps)


# --- what it costs ----------------------------------------------------------------------------------------------------


def sounding(heard: Stretch) -> float:
    """Mean number of notes that are held at the same time."""
    return float((heard.end_s - heard.begin_s).sum()) / heard.seconds


def notes_a_minute(heard: Stretch) -> float:
    """Onsets a minute."""
    return len(heard.begin_s) / heard.seconds * 60


# --- identity ---------------------------------------------------------------------------------------------------------


def features(heard: Stretch, begin_s: float, seconds: float, *, lively: bool = True) -> Floats:
    """What a window sounds like: its chroma, and the register and share of each layer.

    Args:
        lively: whether onsets a minute count too; short windows have too few of them.
    """
    begun = (heard.begin_s >= begin_s) & (heard.begin_s < begin_s + seconds)
    inside = np.minimum(heard.end_s, begin_s + seconds) - np.maximum(heard.begin_s, begin_s)
    weight = np.where(inside > 0, inside * heard.gain, 0.0)
    chroma = np.bincount(heard.pitch.astype(int) % 12, weight, 12)
    row = list(chroma / max(chroma.sum(), 1e-9) * 4)
    for layer in Layer:
        part = np.where(heard.layer == layer, weight, 0.0)
        row.append(float(part.sum() / max(weight.sum(), 1e-9)))
        row.append(float((part * heard.pitch).sum() / max(part.sum(), 1e-9)) / 24)
        if lively:
            row.append(float(np.log1p((begun & (heard.layer == layer)).sum() * 60 / seconds)) / 4)
    return np.array(row)


def told_apart(windows: Sequence[Sequence[Floats]], unseen: Sequence[Sequence[Floats]]) -> float:
    """Share of unseen windows that lie nearest to the mean of their own class.

    Args:
        windows: of each class, to learn from.
        unseen: of each class, to be told.
    """
    classes = [np.stack(rows) for rows in windows]
    means = np.stack([rows.mean(axis=0) for rows in classes])
    # Distances count in units of what varies within a class; the covariance is shrunk, for windows are few.
    within = np.concatenate([rows - mean for rows, mean in zip(classes, means, strict=True)])
    covariance = within.T @ within / len(within)
    shrunk = (1 - _SHRINK) * covariance + _SHRINK * np.diag(np.diag(covariance) + _LEAST_VARIANCE)
    inverse = np.linalg.inv(shrunk)
    right = []
    for number, rows in enumerate(unseen):
        for row in rows:
            away = row - means
            distance = np.einsum("ij,jk,ik->i", away, inverse, away)
            right.append(int(np.argmin(distance)) == number)
    return float(np.mean(right))


def seeds_told_apart(make: Callable[[int], StreamSpec], first: int, seeds: int = 6) -> float:
    """Share of windows of an unseen hour that are told to be of the right one of six seeds."""
    learned, unseen = [], []
    for seed in range(seeds):
        hours = [stretch(make(seed), first + 15 * hour, 15) for hour in range(4)]
        rows = [[features(hour, at, _WINDOW_S) for at in np.arange(0.0, 3600.0, _WINDOW_S)] for hour in hours]
        learned.append([row for hour in rows[:3] for row in hour])
        unseen.append(rows[3])
    return told_apart(learned, unseen)


def passages_told_apart(spec: StreamSpec, first: int, passages: int = 8) -> float:
    """Share of windows of 20 s that are told to be of the right one of eight passages; every second one is learned."""
    begin_ms = first * SECTION_S * 1000
    found = passages_between(spec.seed, begin_ms, begin_ms + 3_600_000)[1 : passages + 1]
    heard = stretch(spec, first, 15)
    learned, unseen = [], []
    for passage in found:
        begin_s, end_s = (passage.begin_ms - begin_ms) / 1000, (passage.end_ms - begin_ms) / 1000
        rows = [features(heard, at, 20.0, lively=False) for at in np.arange(begin_s, end_s - 20.0, 20.0)]
        learned.append(rows[::2])
        unseen.append(rows[1::2])
    return told_apart(learned, unseen)


def worst_mode(spec: StreamSpec, first: int, sections: int) -> tuple[float, str]:
    """`low_seconds` of the mode that has most of them."""
    return max((low_seconds(stretch(replace(spec, mode=mode), first, sections)), mode) for mode in MODES)
