"""Pure. The sheet that layers write a passage's notes on, and how its pages become a section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import INTENSITY_STEPS
from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer, Notes
from services.synthesis.score.hashing import Dice, Draw

Floats = NDArray[np.float64]

_LAST_ONSET_S: Final = float(np.nextafter(SECTION_S, 0))
_PITCHES: Final = 128
_PLACES_PER_US: Final = 1024
"""Numbers of notes that begin in one microsecond: a pitch and a layer."""
_LET_GO_S: Final = 0.15
"""How long a note that would clash sounds into the next chord."""
_SHORTEST_S: Final = 0.25
"""No note is let go sooner."""
_US: Final = 1e6


class _Column(IntEnum):
    """Columns of the table that notes are collected in."""

    ONSET_S = 0
    DURATION_S = 1
    PITCH_MIDI = 2
    GAIN = 3
    PAN = 4
    BRIGHTNESS = 5
    THRESHOLD = 6
    LAYER = 7


class Sheet:
    """Collects notes of a passage in any order; `notes` sorts them.

    Args:
        length_s: of the passage; notes that begin later are left out, those before its start begin with it.
    """

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._rows: list[tuple[float, ...]] = []
        self._tables: list[Floats] = []

    def add(
        self,
        layer: Layer,
        onset_s: float,
        duration_s: float,
        pitch_midi: float,
        *,
        gain: float,
        pan: float = 0.0,
        brightness: float = 0.5,
        threshold: float = 0.0,
    ) -> None:
        """Write one note; see `events.Notes` for units and ranges.

        Args:
            threshold: the intensity from which the note is wanted; 0 or less always sounds.
        """
        if onset_s < self._length_s:
            self._rows.append((onset_s, duration_s, pitch_midi, gain, pan, brightness, threshold, int(layer)))

    def add_many(
        self,
        layer: Layer,
        onset_s: Floats,
        duration_s: Floats,
        pitch_midi: Floats,
        *,
        gain: Floats,
        pan: Floats,
        brightness: Floats,
        threshold: Floats,
    ) -> None:
        """Write notes from arrays of equal length, as `add`."""
        table = np.stack(
            (onset_s, duration_s, pitch_midi, gain, pan, brightness, threshold, np.full(len(onset_s), float(layer))),
            axis=1,
        )
        self._tables.append(table[onset_s < self._length_s])

    def notes(self, own: Dice, harmony: Harmony) -> Notes:
        """All notes, in order. A note that would ring a semitone beside a later chord is let go as that begins.

        Args:
            own: draws of the passage.
            harmony: the chords that the notes sound over.
        """
        table = np.concatenate((np.array(self._rows, np.float64).reshape(-1, len(_Column)), *self._tables))
        table[:, _Column.ONSET_S] = np.maximum(table[:, _Column.ONSET_S], 0.0)
        table = table[np.lexsort((table[:, _Column.PITCH_MIDI], table[:, _Column.LAYER], table[:, _Column.ONSET_S]))]
        layer = table[:, _Column.LAYER].astype(np.uint8)
        # A note's seed comes from its place, so that one more note changes no other.
        place = np.round(table[:, _Column.ONSET_S] * _US).astype(np.int64) * _PLACES_PER_US
        place += table[:, _Column.PITCH_MIDI].astype(np.int64) + _PITCHES * layer.astype(np.int64)
        onset_s = table[:, _Column.ONSET_S]
        return Notes(
            onset_s=onset_s.copy(),
            duration_s=harmony.let_go(onset_s, table[:, _Column.DURATION_S], table[:, _Column.PITCH_MIDI], layer),
            pitch_midi=table[:, _Column.PITCH_MIDI].copy(),
            gain=np.clip(table[:, _Column.GAIN], 0.0, 1.0).astype(np.float32),
            pan=np.clip(table[:, _Column.PAN], -1.0, 1.0).astype(np.float32),
            brightness=np.clip(table[:, _Column.BRIGHTNESS], 0.0, 1.0).astype(np.float32),
            threshold=_quantised(table[:, _Column.THRESHOLD]),
            layer=layer,
            seed=(own.at(Draw.NOTE).bits_at(place) >> np.uint64(32)).astype(np.uint32),
        )


class Harmony:
    """The chords of a passage and the one after it, as notes meet them.

    Args:
        begins_s: where chords begin, rising, the one after the passage included.
        classes: pitch classes of each, 0 (C) to 11.
    """

    def __init__(self, begins_s: Sequence[float], classes: Sequence[frozenset[int]]) -> None:
        self._begins_s = np.array(begins_s)
        # clashes[chord, pitch class]: no tone of the chord, and a semitone beside one.
        self._clashes = np.array(
            [[c not in tones and bool({(c - 1) % 12, (c + 1) % 12} & tones) for c in range(12)] for tones in classes]
        )

    def let_go(self, onset_s: Floats, duration_s: Floats, pitch_midi: Floats, layer: NDArray[np.uint8]) -> Floats:
        """Durations, shortened where a note would clash with a chord that begins while it sounds.

        The drone stays under the chords of its passage; they reckon with it.
        """
        ends = onset_s + duration_s
        pitch_class = pitch_midi.astype(np.int64) % 12
        later = np.searchsorted(self._begins_s, onset_s, side="right")
        later = np.where(layer == Layer.DRONE, len(self._begins_s) - 1, later)
        open_notes = np.flatnonzero(later < len(self._begins_s))
        while len(open_notes):
            chord = later[open_notes]
            begin_s = self._begins_s[chord]
            reached = begin_s < ends[open_notes]
            clash = reached & self._clashes[chord, pitch_class[open_notes]]
            cut = open_notes[clash]
            ends[cut] = np.maximum(begin_s[clash] + _LET_GO_S, onset_s[cut] + _SHORTEST_S)
            open_notes = open_notes[reached & ~clash]
            later[open_notes] += 1
            open_notes = open_notes[later[open_notes] < len(self._begins_s)]
        return ends - onset_s


def join(parts: Sequence[tuple[Notes, float]]) -> Notes:
    """The notes of passages that begin in a section.

    Args:
        parts: notes of each passage, and where the passage begins, in seconds from the section's start.
    """
    columns: list[dict[str, NDArray[np.generic]]] = []
    for notes, begin_s in parts:
        onset_s = notes.onset_s + begin_s
        # Whole microseconds decide, so that a note at a border is in one section, whatever the rounding.
        at_us = np.round(notes.onset_s * _US).astype(np.int64) + round(begin_s * _US)
        inside = np.flatnonzero((at_us >= 0) & (at_us < round(SECTION_S * _US)))
        taken = notes.take(inside)
        columns.append({f.name: getattr(taken, f.name) for f in fields(Notes)})
        columns[-1]["onset_s"] = np.clip(onset_s[inside], 0.0, _LAST_ONSET_S)
    return Notes(**{f.name: np.concatenate([column[f.name] for column in columns]) for f in fields(Notes)})


def _quantised(wanted: Floats) -> NDArray[np.float32]:
    """Thresholds halfway between two intensities, so that rounding never decides whether a note sounds.

    Notes wanted at 0 or less always sound. The highest threshold is below 1: at full intensity every note sounds.
    """
    steps = np.clip(np.floor(wanted * INTENSITY_STEPS), 0, INTENSITY_STEPS - 1)
    return np.where(wanted <= 0, 0.0, (steps + 0.5) / INTENSITY_STEPS).astype(np.float32)
