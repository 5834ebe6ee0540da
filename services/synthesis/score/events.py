"""Pure. A composed section: its notes, its chords and the curve of its air.

A section depends on (key, mode, bpm, preset, seed, section number), and not on intensity or density. These select
notes afterwards by their `threshold`, so that steering them keeps chords and beat (`selection`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Layer(IntEnum):
    """A group of notes that behave alike. The preset's patch for the layer decides its sound."""

    DRONE = 0
    BASS = 1
    PAD = 2
    MELODY = 3
    SHIMMER = 4
    PULSE = 5


@dataclass(frozen=True, slots=True)
class Notes:
    """Note events of one section as arrays of equal length, sorted by `onset_s`.

    Attributes:
        onset_s: float64 [notes], from the section's start, in [0, 240).
        duration_s: float64 [notes], until the key is let go; the patch's release follows.
        pitch_midi: float64 [notes], in the stream's key.
        gain: float32 [notes], linear, about 0 to 1.
        pan: float32 [notes], -1 (left) to 1 (right).
        brightness: float32 [notes], 0 (dull) to 1 (bright), before intensity.
        threshold: float32 [notes], 0 to 1: the intensity from which the note sounds.
        layer: uint8 [notes], see `Layer`.
        seed: uint32 [notes], for what the patch leaves to chance (phases, detune).
    """

    onset_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    pitch_midi: NDArray[np.float64]
    gain: NDArray[np.float32]
    pan: NDArray[np.float32]
    brightness: NDArray[np.float32]
    threshold: NDArray[np.float32]
    layer: NDArray[np.uint8]
    seed: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.onset_s)

    def take(self, places: NDArray[np.intp]) -> Notes:
        """The notes at `places`, in that order."""
        return Notes(*(getattr(self, field.name)[places] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class SectionChord:
    """A chord that begins `onset_s` after the section's start; `name` is for people ("Am9")."""

    onset_s: float
    name: str


@dataclass(frozen=True, slots=True)
class Section:
    """One section of one stream.

    Attributes:
        number: section number since the epoch (block // 240).
        notes: may sound past the section's end; the renderer reads the section before a block's own, too.
        chords: sorted by onset, the first at 0.
        air_s: float64 [points], times from the section's start, rising, the first 0 and the last 240.
        air_level: float32 [points], level of the filtered noise, 0 to 1, linear between points; the last level of a
            section is the first one of the next.
    """

    number: int
    notes: Notes
    chords: tuple[SectionChord, ...]
    air_s: NDArray[np.float64]
    air_level: NDArray[np.float32]
