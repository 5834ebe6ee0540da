"""Pure. The plan of a section: its form, and its chords in time. Layers are written by it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.form import (
    PART_UNITS,
    SECTION_UNITS,
    Draw,
    Form,
    bar_of,
    material_of,
    plan_form,
)
from services.synthesis.score.harmony import chord_table, walk
from services.synthesis.score.presets import SCORE_PRESETS, ScorePreset
from services.synthesis.score.theory import TONIC_MIDI, chord_intervals, chord_name, semitones

_USUAL_BPM: Final = 70
"""Tempo for which `Melody.grid_step_s` is given."""
_SHORTEST_GRID_STEP_S: Final = 0.25
_ROUNDING_S: Final = 1e-9
"""A moment this much before a chord belongs to it: bars times their length are not exact."""


@dataclass(frozen=True, slots=True)
class PlacedChord:
    """A chord of the section.

    Attributes:
        index: from 0.
        part: quarter of the section, 0 to 3.
        position: where it begins in the section, 0 to 1, before it is rounded to a bar.
        bar: the bar that it begins with.
        begin_s, end_s: from the section's start; `end_s` is the next chord's beginning.
        mode: whose scale it is taken from: the home mode, or a neighbour where the section is coloured.
        root: degree.
        kind: a name of `theory.KINDS`.
        classes: semitones from the tonic, 0 to 11, of all its tones, the root first.
        voicing: MIDI pitches of the pad in the key of C, rising.
        bass: semitones from the tonic to the bass note, 0 to 11.
        breath: whether melody, shimmer and pulse rest.
        away: whether it is in a borrowed colour or another key.
        name: for people.
    """

    index: int
    part: int
    position: float
    bar: int
    begin_s: float
    end_s: float
    mode: str
    root: int
    kind: str
    classes: tuple[int, ...]
    voicing: tuple[int, ...]
    bass: int
    breath: bool
    away: bool
    name: str

    def tones(self, low_midi: int, high_midi: int) -> list[int]:
        """The chord's tones from `low_midi` to `high_midi`, rising."""
        return [p for p in range(low_midi, high_midi + 1) if (p - TONIC_MIDI) % 12 in self.classes]


@dataclass(frozen=True, slots=True)
class Plan:
    """What every layer of a section needs to know.

    Attributes:
        preset: the score's half of the preset.
        form: of the section.
        chords: in time.
        transpose: semitones from C to the key, -6 to 5: the shorter way, so that all keys keep their register.
        bar_s, beat_s: lengths of a bar and a beat.
        grid_step_s: a step of the melody's grid: a beat, doubled or halved to suit the preset.
    """

    preset: ScorePreset
    form: Form
    chords: tuple[PlacedChord, ...]
    transpose: int
    bar_s: float
    beat_s: float
    grid_step_s: float

    def level(self, onset_s: float) -> float:
        """The arc at a moment of the section, about -0.3 to 0.6."""
        return self.form.arc.level(onset_s / SECTION_S)

    def chord_at(self, onset_s: float) -> PlacedChord:
        """The chord at a moment of the section."""
        for chord in reversed(self.chords):
            if chord.begin_s <= onset_s + _ROUNDING_S:
                return chord
        return self.chords[0]

    def chords_at(self, onset_s: NDArray[np.float64]) -> NDArray[np.intp]:
        """Indices of the chords at several moments of the section."""
        begins = np.array([chord.begin_s for chord in self.chords]) - _ROUNDING_S
        return np.searchsorted(begins, onset_s, side="right") - 1


def plan_section(spec: StreamSpec, section: int) -> Plan:
    """The plan of `section` (its number since the epoch)."""
    preset = SCORE_PRESETS[spec.preset]
    form = plan_form(spec.preset, spec.seed, section)
    table = chord_table(spec.mode, spec.preset)
    parts = [unit // PART_UNITS for unit in form.chord_units]
    states, away = walk(table, form, material_of(spec.preset, spec.seed, section + 1), parts)
    bar_s = SECTION_S / spec.bpm
    bars = [bar_of(unit, spec.bpm) for unit in form.chord_units]
    chords = []
    for index, state in enumerate(states):
        mode, root, kind = table.mode[state], int(table.root[state]), table.kind[state]
        intervals = chord_intervals(mode, root, kind)
        if intervals is None:
            raise AssertionError(f"chord table of {spec.mode}/{spec.preset} holds a chord that does not exist: {state}")
        base = semitones(mode, root)
        classes = tuple((base + interval) % 12 for interval in intervals)
        bass = classes[0]
        silent = form.presence[parts[index]].bass == 0
        # The first chord stands on its root, so that a section begins on firm ground.
        if index and not silent and form.material.chance(preset.bass.inversion, Draw.BASS, index):
            thirds_and_fifths = [c for c, interval in zip(classes, intervals, strict=True) if interval in (3, 4, 7)]
            bass = form.material.pick(thirds_and_fifths, Draw.BASS, index, 1)
        chords.append(
            PlacedChord(
                index=index,
                part=parts[index],
                position=form.chord_units[index] / SECTION_UNITS,
                bar=bars[index],
                begin_s=bars[index] * bar_s,
                end_s=bars[index + 1] * bar_s if index + 1 < len(bars) else float(SECTION_S),
                mode=mode,
                root=root,
                kind=kind,
                classes=classes,
                voicing=tuple(int(p) for p in table.pitch_midi[state]),
                bass=bass,
                breath=index in form.breaths,
                away=index in away,
                name=chord_name(spec.pitch_class, mode, root, intervals, bass),
            )
        )
    beat_s = 60 / spec.bpm
    return Plan(
        preset=preset,
        form=form,
        chords=tuple(chords),
        transpose=spec.pitch_class if spec.pitch_class < 6 else spec.pitch_class - 12,
        bar_s=bar_s,
        beat_s=beat_s,
        grid_step_s=_grid_step_s(beat_s, preset.melody.grid_step_s),
    )


def _grid_step_s(beat_s: float, wanted_s: float) -> float:
    """The beat, doubled or halved until it is near `wanted_s`. At twice the bpm phrases are about 1.4 times as fast."""
    wanted_s *= math.sqrt(beat_s * _USUAL_BPM / 60)
    step_s = beat_s
    while step_s > wanted_s * math.sqrt(2):
        step_s /= 2
    while step_s < max(wanted_s / math.sqrt(2), _SHORTEST_GRID_STEP_S):
        step_s *= 2
    return step_s
