"""Pure. Partials of some notes, and what all makers of partials share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import BLOCK_FRAMES, SAMPLE_RATE_HZ
from services.synthesis.dsp.control import COLUMNS, Column
from services.synthesis.dsp.grid import INTERVAL_FRAMES
from services.synthesis.dsp.noise import scramble
from services.synthesis.packing.table import SECONDS, WIDTH
from services.synthesis.score.events import Layer, Notes

Floats = NDArray[np.float64]

QUIET: Final = 2.0**-15
"""One step of 16 bits: a tone that has fallen to this amplitude is lost in the dither, and may end there."""
FAINT: Final = 2.0**-13
"""A partial whose loudest moment is below this amplitude, 60 dB below the music, is not played at all."""
FAINT_HIGH: Final = 2.0**-11
"""The same above the split, where a partial costs six times as much and the texture covers it."""

LAST_FRAME: Final = SECONDS * BLOCK_FRAMES - INTERVAL_FRAMES
"""No note sounds past the end of the section after its own."""

_BRIGHTNESS_SHARE: Final = 0.6
_INTENSITY_SHARE: Final = 0.7
"""A note is as bright as its own brightness and the stream's intensity say, in these shares; 1 is the brightest."""

MONO_HZ: Final = 120.0
_WIDE_HZ: Final = 320.0
"""Below MONO_HZ everything is in the middle, where every loudspeaker can carry it; from _WIDE_HZ up anything goes."""

_SLOWEST_ATTACK: Final = 1.25
_ATTACK_RANGE: Final = 0.5
"""Attacks are 1.25 times as long at intensity 0, and 0.75 times at intensity 1."""
LONGEST_ATTACK: Final = 0.5
"""Share of a note's length that its attack may take: a note shorter than its attack would not be heard."""
SHORTEST_ATTACK_S: Final = 0.006
"""However short the note: a shorter attack clicks."""

_TIDES: Final = ((43.7, 0.35), (118.3, 0.45), (397.0, 0.3))
"""Periods in seconds of the curve on which layers come and go, and their shares."""
_TIDE_HEIGHT: Final = 1.6
"""The curve is cut off where it is this much higher than 1: a part stays for a while where it is."""
_TIDE_GAIN: Final = 0.25
"""Share of a tide's depth by which a part gains at its height."""
_PART_TIDE: Final = 0
_LAYER_TIDE: Final = 10
"""Which draws begin the tides of a part and of its whole layer."""


@dataclass(frozen=True, slots=True)
class LayerNotes:
    """Notes of one layer, as a stream plays them.

    Attributes:
        notes: those that sound at its intensity.
        layer: theirs.
        intensity: of the stream, 0 to 1.
        brightness: of the stream, 0 to 1; 0.5 changes nothing.
        gain: linear, of the layer and the preset.
        first_frame: of the section, since the epoch.
        seed: of the stream.
        turn: 0 to 1: parts of a layer come forward one after the other, each at its own share of a round.
        ebb_db: how far the layer falls, with all its parts, where it rests.
    """

    notes: Notes
    layer: Layer
    intensity: float
    brightness: float
    gain: float
    first_frame: int
    seed: int
    turn: float = 0.0
    ebb_db: float = 0.0

    def tide(self, depth_db: float, pace: float) -> Floats:
        """Linear gain of each note: slow curves of the stream's time on which a part, and its layer, come and go.

        It gains little and loses much, so that a part with a deep tide rests: from a quarter of `depth_db` above its
        level to `depth_db` below it.

        Args:
            depth_db: see above.
            pace: how many times as fast as others the part comes and goes.
        """
        time_s = self.first_frame / SAMPLE_RATE_HZ + self.notes.onset_s
        own = depth_db * _eased(self._curve(time_s * pace, self.turn, _PART_TIDE))
        together = self.ebb_db * _eased(self._curve(time_s, 0.0, _LAYER_TIDE))
        return np.asarray(10.0 ** ((own + together) / 20.0))

    def _curve(self, time_s: Floats, turn: float, salt: int) -> Floats:
        """The curve of the stream, the layer and `salt` at `time_s`, about -1 to 1."""
        curve = np.zeros(len(time_s))
        for number, (period_s, share) in enumerate(_TIDES):
            place = np.array([50 * int(self.layer) + number + salt])
            begin = draw(np.array([[self.seed]], dtype=np.uint32).view(np.int32), place)[0, 0]
            curve += share * np.sin(2.0 * np.pi * (time_s / period_s + begin + turn))
        return curve


@dataclass(frozen=True, slots=True)
class Partials:
    """Partials of some notes.

    Attributes:
        words: int32 [partials, WIDTH], see `table`.
        last_frame: int64 [partials]: the frame from which each is silent, from the section's start.
        hz: float64 [partials]: frequency.
        sent: float64 [partials]: largest amplitude that is sent to the reverb.
        note_seconds: how long all notes sound, added up.
    """

    words: NDArray[np.int32]
    last_frame: NDArray[np.int64]
    hz: Floats
    sent: Floats
    note_seconds: float


def join_partials(parts: Sequence[Partials]) -> Partials:
    """All partials of `parts`, in their order."""
    if not parts:
        return Partials(np.zeros((0, WIDTH), np.int32), np.zeros(0, np.int64), np.zeros(0), np.zeros(0), 0.0)
    return Partials(
        np.concatenate([part.words for part in parts]),
        np.concatenate([part.last_frame for part in parts]),
        np.concatenate([part.hz for part in parts]),
        np.concatenate([part.sent for part in parts]),
        sum(part.note_seconds for part in parts),
    )


def _eased(curve: Floats) -> Floats:
    """What a tide of 1 dB does, in dB, where its curve is at `curve`: it gains less than it loses."""
    height = np.clip(_TIDE_HEIGHT * curve, -1.0, 1.0)
    return np.asarray(height * np.where(height > 0.0, _TIDE_GAIN, 1.0))


def note_brightness(layer: LayerNotes) -> Floats:
    """How bright each note is, 0 to 1: float64 [notes, 1]."""
    own = layer.notes.brightness.astype(np.float64)
    return np.clip(_BRIGHTNESS_SHARE * own + _INTENSITY_SHARE * layer.intensity, 0.0, 1.0)[:, None]


def attack_pace(intensity: float) -> float:
    """How many times as long attacks take at `intensity`."""
    return _SLOWEST_ATTACK - _ATTACK_RANGE * intensity


def onset_frames(onset_s: Floats) -> NDArray[np.int64]:
    """Frames of onsets: on a control point, so that a note's age is a whole number of points, and not on the first."""
    points = np.rint(onset_s * (SAMPLE_RATE_HZ / INTERVAL_FRAMES)).astype(np.int64)
    return np.maximum(points, 1) * INTERVAL_FRAMES


def narrowed(pan: Floats, hz: Floats) -> Floats:
    """`pan` (-1 to 1), moved to the middle where `hz` is low."""
    return np.clip(pan, -1.0, 1.0) * np.clip((hz - MONO_HZ) / (_WIDE_HZ - MONO_HZ), 0.0, 1.0)


def pack_words(
    shape: tuple[int, ...], values: Mapping[Column, Floats | float], whole: Mapping[int, NDArray[np.int32] | int]
) -> NDArray[np.int32]:
    """Words, int32 [notes, partials, WIDTH], of columns that broadcast to `shape`; what is not named is 0."""
    words = np.zeros((*shape, WIDTH), dtype=np.int32)
    floats = words[:, :, :COLUMNS].view(np.float32)
    for column, value in values.items():
        floats[:, :, column] = value
    for place, number in whole.items():
        words[:, :, place] = number
    return words


def draw(seed: NDArray[np.int32], index: NDArray[np.int64]) -> Floats:
    """A number in [0, 1) for each seed [notes, 1] and index [width]: [notes, width]."""
    bits = scramble(index.astype(np.int32)[None, :], seed)
    return np.asarray(bits.view(np.uint32) * 2.0**-32, dtype=np.float64)


def as_word(values: Floats) -> NDArray[np.int32]:
    """Whole numbers as 32-bit words, wrapping."""
    return (values.astype(np.uint64) & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)
