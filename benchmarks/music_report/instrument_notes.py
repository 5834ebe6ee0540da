"""One note of each instrument: soft and loud, low and high, without a room (shell: it renders by way of the studio)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from unittest import mock

import numpy as np

from benchmarks.music_report.sound import Sound
from benchmarks.music_report.studio import START, Studio, without_room
from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer, Notes, Section, SectionChord
from services.synthesis.sound.instruments import INSTRUMENTS
from services.synthesis.sound.parts import Part
from services.synthesis.sound.patches import SOUNDS

NOTE_S: Final = 7
"""From one note to the next: four seconds of it and three after the key is let go."""
_HOLD_S: Final = 4.0
_ONSET_S: Final = 0.25
_INSIDE: Final = 2
"""Semitones inside the recorded range."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a note is played.

    Attributes:
        name: for people.
        place: in the instrument's range: 0 is near its bottom, 1 near its top.
        gain, brightness: of the note, 0 to 1.
    """

    name: str
    place: float
    gain: float
    brightness: float


STROKES: Final = (
    Stroke("low, soft", 0.0, 0.25, 0.1),
    Stroke("low, loud", 0.0, 1.0, 0.9),
    Stroke("high, soft", 1.0, 0.25, 0.1),
    Stroke("high, loud", 1.0, 1.0, 0.9),
)


def instrument_notes(studio: Studio, names: Sequence[str] = tuple(INSTRUMENTS)) -> dict[str, list[Sound]]:
    """The notes of each instrument in the order of STROKES, NOTE_S long each."""
    found: dict[str, list[Sound]] = {}
    for first in range(0, len(names), len(PRESETS)):
        # An instrument takes the place of a preset's pad.
        places = dict(zip(PRESETS, names[first : first + len(PRESETS)], strict=False))
        sounds = {preset: replace(SOUNDS[preset], layers={Layer.PAD: (Part(name),)}) for preset, name in places.items()}
        with mock.patch.dict(SOUNDS, sounds), without_room(), studio.playing(_score(places)) as play:  # type: ignore[arg-type] # a dict
            for preset, name in places.items():
                spec = StreamSpec.from_params({"preset": preset, "levels": {"air": 0}})
                found[name] = play(spec, range(0, NOTE_S * len(STROKES), NOTE_S), NOTE_S)
    return found


def _score(places: Mapping[str, str]) -> Any:
    """A score, for `Renderer`, in which each preset plays the STROKES of its instrument from START on."""

    def compose(spec: StreamSpec, section: int) -> Section:
        # A renderer warms up with other presets too.
        instrument = INSTRUMENTS[places.get(spec.preset, next(iter(places.values())))]
        low_midi, high_midi = instrument.low_midi + _INSIDE, instrument.high_midi - _INSIDE
        pitches = [low_midi + stroke.place * (high_midi - low_midi) for stroke in STROKES]
        onsets_s = START - section * SECTION_S + NOTE_S * np.arange(len(STROKES)) + _ONSET_S
        here = (onsets_s >= 0.0) & (onsets_s < SECTION_S)

        def each(values: Any, kind: type) -> Any:
            return np.broadcast_to(np.asarray(values, dtype=kind), len(STROKES))[here]

        notes = Notes(
            onset_s=each(onsets_s, np.float64),
            duration_s=each(_HOLD_S, np.float64),
            pitch_midi=each(pitches, np.float64),
            gain=each([stroke.gain for stroke in STROKES], np.float32),
            pan=each(0.0, np.float32),
            brightness=each([stroke.brightness for stroke in STROKES], np.float32),
            threshold=each(0.0, np.float32),
            layer=each(int(Layer.PAD), np.uint8),
            seed=each(1, np.uint32),
        )
        ends = np.array([0.0, float(SECTION_S)])
        return Section(section, notes, (SectionChord(0.0, "C"),), ends, np.zeros(2, np.float32))

    return compose
