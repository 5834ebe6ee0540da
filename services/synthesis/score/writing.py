"""Where layers write their notes, and how a wish for an intensity becomes a threshold."""

from __future__ import annotations

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


class Sheet:
    """Collects notes in any order; `notes` sorts them."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, float, float, float, float, int]] = []
        self._blocks: list[Floats] = []

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
        """Write one note. One after the section's end is left out, one before its start begins there."""
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
        block = np.stack(
            (onset_s, duration_s, pitch_midi, gain, pan, brightness, threshold, np.full(len(onset_s), float(layer))),
            axis=1,
        )
        self._blocks.append(block[onset_s < SECTION_S])

    def notes(self, transpose: int, own: Dice) -> Notes:
        """All notes, in order, in the key."""
        table = np.concatenate((np.array(self._rows, np.float64).reshape(-1, 8), *self._blocks))
        table = table[np.lexsort((table[:, 2], table[:, 7], table[:, 0]))]
        layer = table[:, 7].astype(np.uint8)
        # Numbered within the layer: more beats must not change the strings of the pad.
        number = np.zeros(len(table), np.int64)
        for value in Layer:
            at = np.flatnonzero(layer == value)
            number[at] = np.arange(len(at)) + 100_000 * int(value)
        return Notes(
            onset_s=np.clip(table[:, 0], 0.0, _LAST_ONSET_S),
            duration_s=table[:, 1].copy(),
            pitch_midi=table[:, 2] + transpose,
            gain=np.clip(table[:, 3], 0.0, 1.0).astype(np.float32),
            pan=np.clip(table[:, 4], -1.0, 1.0).astype(np.float32),
            brightness=np.clip(table[:, 5], 0.0, 1.0).astype(np.float32),
            threshold=_quantised(table[:, 6]),
            layer=layer,
            seed=(own.at(Draw.NOTE).bits_at(number) >> np.uint64(32)).astype(np.uint32),
        )


def _quantised(wish: Floats) -> NDArray[np.float32]:
    """Thresholds halfway between two intensities, so that rounding never decides; what is not above 0 always sounds.

    The highest is just below 1: at full intensity everything that was written is heard.
    """
    steps = np.clip(np.floor(wish * INTENSITY_STEPS), 0, INTENSITY_STEPS - 1)
    return np.where(wish <= 0, 0.0, (steps + 0.5) / INTENSITY_STEPS).astype(np.float32)
