"""Pure. The sheet that layers write their notes on."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import INTENSITY_STEPS
from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer, Notes
from services.synthesis.score.form import Draw
from services.synthesis.score.hashing import Dice

Floats = NDArray[np.float64]

_LAST_ONSET_S: Final = float(np.nextafter(SECTION_S, 0))
_NUMBERS_PER_LAYER: Final = 100_000
"""More than a layer has notes."""


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
    """Collects notes in any order; `notes` sorts them."""

    def __init__(self) -> None:
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

        A note after the section's end is left out. One before its start begins at the start.

        Args:
            threshold: the intensity from which the note is wanted; 0 or less always sounds.
        """
        if onset_s < SECTION_S:
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
        self._tables.append(table[onset_s < SECTION_S])

    def notes(self, transpose: int, own: Dice) -> Notes:
        """All notes, in order, in the stream's key.

        Args:
            transpose: semitones from C to the key.
            own: draws of this section.
        """
        table = np.concatenate((np.array(self._rows, np.float64).reshape(-1, len(_Column)), *self._tables))
        table = table[np.lexsort((table[:, _Column.PITCH_MIDI], table[:, _Column.LAYER], table[:, _Column.ONSET_S]))]
        layer = table[:, _Column.LAYER].astype(np.uint8)
        # Notes are numbered within their layer, so that one more note of the pulse does not change the pad's seeds.
        number = np.zeros(len(table), np.int64)
        for value in Layer:
            at = np.flatnonzero(layer == value)
            number[at] = np.arange(len(at)) + _NUMBERS_PER_LAYER * int(value)
        return Notes(
            onset_s=np.clip(table[:, _Column.ONSET_S], 0.0, _LAST_ONSET_S),
            duration_s=table[:, _Column.DURATION_S].copy(),
            pitch_midi=table[:, _Column.PITCH_MIDI] + transpose,
            gain=np.clip(table[:, _Column.GAIN], 0.0, 1.0).astype(np.float32),
            pan=np.clip(table[:, _Column.PAN], -1.0, 1.0).astype(np.float32),
            brightness=np.clip(table[:, _Column.BRIGHTNESS], 0.0, 1.0).astype(np.float32),
            threshold=_quantised(table[:, _Column.THRESHOLD]),
            layer=layer,
            seed=(own.at(Draw.NOTE).bits_at(number) >> np.uint64(32)).astype(np.uint32),
        )


def _quantised(wanted: Floats) -> NDArray[np.float32]:
    """Thresholds halfway between two intensities, so that rounding never decides whether a note sounds.

    Notes wanted at 0 or less always sound. The highest threshold is below 1: at full intensity every note sounds.
    """
    steps = np.clip(np.floor(wanted * INTENSITY_STEPS), 0, INTENSITY_STEPS - 1)
    return np.where(wanted <= 0, 0.0, (steps + 0.5) / INTENSITY_STEPS).astype(np.float32)
