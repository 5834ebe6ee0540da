"""Pure. The plan of a passage: its form, its chords and its drone in time. Layers are written by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.card import Card, card_of
from services.synthesis.score.events import Layer
from services.synthesis.score.form import Passage, bar_of, neighbour, presence
from services.synthesis.score.harmony import Kind, anchor, kinds_of, voice
from services.synthesis.score.hashing import Dice, Draw
from services.synthesis.score.presets import SCORE_PRESETS, ScorePreset
from services.synthesis.score.progression import Progression, Slot, progression
from services.synthesis.score.theory import TONIC_MIDI, chord_name, semitones

USUAL_BPM: Final = 70
"""Rates of a preset are given for this tempo."""
_ROUNDING_S: Final = 1e-6
"""A moment this much before a chord belongs to it: bars times their length are not exact."""
_RATE_RISE: Final = 0.6
"""How a preset's rate of chords rises with the tempo: as its power of 0.6."""
_OCTAVE: Final = 12
_LEAD_SHARE: Final = 0.25
_LEAD_GAIN: Final = 1.25
_LEAD_BUSY: Final = 0.08
"""The layer that leads a passage is there for this much more of the time, louder, and heard from a lower intensity."""
_BALANCE_DB: Final = 3.5
"""Layers are up to this much louder or softer from letter to letter of a movement."""
_LETTER_BUSY: Final = 0.05
"""Layers are heard from an intensity up to this much lower or higher from letter to letter of a movement."""
_MOOD_BUSY: Final = 0.05
"""Taken off thresholds in the fullest movement, added in the emptiest one."""
_MOOD_LIGHT: Final = 0.07
"""A movement is up to this much brighter or darker than its piece."""
_DRONE_SHARE: Final = 0.1
"""A drone's tone is left out in the octave where it has less than this share of its power."""


@dataclass(frozen=True, slots=True)
class PlacedChord:
    """A chord of the passage.

    Attributes:
        index: from 0.
        slot: its slot's number in the passage; the same whichever other slots are played.
        position: where it begins in the passage, 0 to 1, before it is rounded to a bar.
        begin_s, end_s: from the passage's start; `end_s` is the next chord's beginning.
        mode: whose scale it is taken from: the home mode, or a neighbour where the passage is coloured.
        root: degree of the home scale.
        kind: a name of `theory.KINDS`.
        tonic_midi: the key's tonic near middle C.
        classes: semitones from the tonic, 0 to 11, of all its tones, the root first.
        voicing: MIDI pitches of the pad, rising.
        bass: semitones from the tonic to the bass note, 0 to 11.
        away: whether it is borrowed from another mode.
        name: for people.
    """

    index: int
    slot: int
    position: float
    begin_s: float
    end_s: float
    mode: str
    root: int
    kind: str
    tonic_midi: int
    classes: tuple[int, ...]
    voicing: tuple[int, ...]
    bass: int
    away: bool
    name: str

    def tones(self, low_midi: int, high_midi: int) -> list[int]:
        """The chord's tones from `low_midi` to `high_midi`, rising."""
        return [p for p in range(low_midi, high_midi + 1) if (p - self.tonic_midi) % 12 in self.classes]


@dataclass(frozen=True, slots=True)
class DroneTone:
    """A tone of the drone in one octave.

    Attributes:
        voice: which of the preset's drone voices it belongs to.
        pitch_midi: where it lies.
        share: of its voice's amplitude, 0 to 1.
    """

    voice: int
    pitch_midi: int
    share: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What every layer of a passage needs to know. Times are seconds from the passage's first bar.

    Attributes:
        preset: the score's half of the preset.
        card: of the seed.
        form: of the passage.
        own, material: the passage's draws, for this preset alone.
        harmony: what all presets share.
        chords: in time.
        drone: its tones.
        tonic_midi: the key's tonic near middle C.
        length_s: of the passage, to a bar.
        bar_s, beat_s: lengths of a bar and a beat.
        grid_step_s: a step of the melody's grid: a fixed part of a beat.
        pace: tempo relative to the usual one.
        next_classes: tones of the chord after the passage, in semitones above the tonic.
        next_drone: pitch classes of the drone after the passage, 0 (C) to 11.
        window_s: the stretch of the passage that is wanted.
    """

    preset: ScorePreset
    card: Card
    form: Passage
    own: Dice
    material: Dice
    harmony: Progression
    chords: tuple[PlacedChord, ...]
    drone: tuple[DroneTone, ...]
    tonic_midi: int
    length_s: float
    bar_s: float
    beat_s: float
    grid_step_s: float
    pace: float
    next_classes: frozenset[int]
    next_drone: frozenset[int]
    window_s: tuple[float, float]
    _begins: NDArray[np.float64] = field(repr=False, compare=False)

    @property
    def drone_midi(self) -> frozenset[int]:
        """Pitches of the drone."""
        return frozenset(tone.pitch_midi for tone in self.drone)

    @property
    def brightness(self) -> float:
        """Of the preset, in this piece's and this movement's light; 0 to 1."""
        return self.preset.brightness + self.card.light + _MOOD_LIGHT * self.form.mood.light

    def level(self, at_s: float) -> float:
        """The arc at a moment of the passage, about -0.3 to 0.6 times the preset's amount."""
        return self.form.arc.level(min(max(at_s / self.length_s, 0.0), 1.0), self.preset.arc)

    def chord_at(self, at_s: float) -> PlacedChord:
        """The chord at a moment of the passage."""
        return self.chords[max(int(np.searchsorted(self._begins, at_s + _ROUNDING_S, side="right")) - 1, 0)]

    def chords_at(self, at_s: NDArray[np.float64]) -> NDArray[np.intp]:
        """Indices of the chords at several moments of the passage."""
        return np.maximum(np.searchsorted(self._begins, at_s + _ROUNDING_S, side="right") - 1, 0)

    def levels(self, at_s: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """`level` at several moments."""
        return np.array([self.level(float(moment_s)) for moment_s in at_s])

    def presence(self, layer: Layer, at_s: Sequence[float] | NDArray[np.float64], share: float) -> NDArray[np.float64]:
        """How much of a layer is there at several moments, 0 to 1."""
        leads = _LEAD_SHARE if layer is self.form.lead else 0.0
        moments_s = np.asarray(at_s, np.float64)
        return presence(self.own, layer, self.card.cycle_periods_s[layer], moments_s, min(share + leads, 1.0))

    def gain(self, layer: Layer) -> float:
        """Factor of a layer's gain, by the seed's card and the passage's balance and lead."""
        own = 10 ** (_BALANCE_DB * (2 * self.form.material.unit(Draw.CARD, layer) - 1) / 20)
        return self.card.gain[layer] * own * (_LEAD_GAIN if layer is self.form.lead else 1.0)

    def busy(self, layer: Layer) -> float:
        """Taken off the thresholds of a layer: what the piece, the movement and its lead make of it."""
        leads = _LEAD_BUSY if layer is self.form.lead else 0.0
        own = _LETTER_BUSY * (2 * self.form.material.unit(Draw.CARD, layer, 1) - 1)
        return self.card.busy[layer] + own + _MOOD_BUSY * self.form.mood.fullness + leads

    def wanted(self, begin_s: float, end_s: float) -> bool:
        """Whether a note that begins within a stretch may be asked for."""
        return end_s >= self.window_s[0] and begin_s < self.window_s[1]


def plan_passage(spec: StreamSpec, passage: Passage, window_s: tuple[float, float] = (0.0, math.inf)) -> Plan:
    """The plan of a passage.

    Args:
        spec: the stream.
        passage: from `form.passages_between`.
        window_s: the stretch of the passage that is wanted.
    """
    addressed = StreamSpec(spec.key, spec.mode, spec.bpm, 0, spec.preset, spec.seed)
    return replace(_whole(addressed, passage), window_s=window_s)


@lru_cache(maxsize=512)
def _whole(spec: StreamSpec, passage: Passage) -> Plan:
    """The plan of a passage; sections that share the passage share it."""
    preset = SCORE_PRESETS[spec.preset]
    bar_s, beat_s = SECTION_S / spec.bpm, 60 / spec.bpm
    tonic = spec.pitch_class
    harmony = progression(spec.seed, spec.mode, passage)
    kinds = kinds_of(spec.preset, spec.mode, spec.seed, passage)
    first_bar, last_bar = bar_of(passage.begin_ms, spec.bpm), bar_of(passage.end_ms, spec.bpm)
    played: list[tuple[Slot, Kind, int]] = []
    for slot in _played(preset, harmony.slots, spec.bpm):
        at_ms = passage.begin_ms + slot.position * (passage.end_ms - passage.begin_ms)
        bar = min(bar_of(round(at_ms), spec.bpm), last_bar - 1) - first_bar
        if played and bar <= played[-1][2]:
            # Where a bar is too long for two chords the pillar is kept.
            if slot.rank >= played[-1][0].rank:
                continue
            played.pop()
        played.append((slot, kinds[slot.number], bar))
    card = card_of(spec.seed)
    drone = drone_tones(spec, harmony)
    following = neighbour(spec.seed, passage, 1)
    next_first = kinds_of(spec.preset, spec.mode, spec.seed, following)[0]
    next_drone = [tone.pitch_midi for tone in drone_tones(spec, progression(spec.seed, spec.mode, following))]
    voicings = voice(
        spec.preset,
        tonic,
        [(slot, kind) for slot, kind, _ in played],
        anchor(spec.preset, tonic, next_first, next_drone),
        drone_midi=[tone.pitch_midi for tone in drone],
        levels=[passage.arc.level(slot.position, preset.arc) for slot, _, _ in played],
    )
    word = _word(spec.preset)
    material = passage.material.at(Draw.PRESET, word)
    length_s = (last_bar - first_bar) * bar_s
    tonic_midi = TONIC_MIDI + (tonic if tonic < 6 else tonic - _OCTAVE)
    base = semitones(spec.mode, harmony.centre)
    drone_classes = (base % _OCTAVE, (base + harmony.fifth) % _OCTAVE)
    chords = []
    for index, (slot, kind, bar) in enumerate(played):
        # Pillars stand on their roots: the ground that the other chords move over.
        inverts = slot.rank > 0 and card.never != "inversions"
        inverts = inverts and material.chance(preset.bass.inversion, Draw.BASS, slot.number, 0)
        bass = _bass(kind, drone_classes, inverts=inverts, dice=material.at(Draw.BASS, slot.number))
        chords.append(
            PlacedChord(
                index=index,
                slot=slot.number,
                position=slot.position,
                begin_s=bar * bar_s,
                end_s=played[index + 1][2] * bar_s if index + 1 < len(played) else length_s,
                mode=slot.mode,
                root=slot.root,
                kind=kind.name,
                tonic_midi=tonic_midi,
                classes=kind.classes,
                voicing=voicings[index],
                bass=bass,
                away=slot.away,
                name=chord_name(tonic, slot.mode, slot.root, kind.intervals, bass),
            )
        )
    return Plan(
        preset=preset,
        card=card,
        form=passage,
        own=passage.own.at(Draw.PRESET, word),
        material=material,
        harmony=harmony,
        chords=tuple(chords),
        drone=drone,
        tonic_midi=tonic_midi,
        length_s=length_s,
        bar_s=bar_s,
        beat_s=beat_s,
        grid_step_s=preset.melody.grid_beats * beat_s,
        pace=spec.bpm / USUAL_BPM,
        next_classes=frozenset(next_first.classes),
        next_drone=frozenset(pitch % _OCTAVE for pitch in next_drone),
        window_s=(0.0, length_s),
        _begins=np.array([chord.begin_s for chord in chords]),
    )


def drone_tones(spec: StreamSpec, harmony: Progression) -> tuple[DroneTone, ...]:
    """The drone's tones: each in two octaves whose levels cross, so that no key drops it by an octave.

    A tone that rises through the keys grows fainter above and louder below, and the mean pitch stays where it is.
    """
    tones: list[DroneTone] = []
    base = spec.pitch_class + semitones(spec.mode, harmony.centre)
    for number, drone_voice in enumerate(SCORE_PRESETS[spec.preset].drone):
        above = {0: 0, 4: harmony.fifth, 7: _OCTAVE}[drone_voice.degree]
        middle = drone_voice.octave_midi + (7 if drone_voice.degree == 4 else above)
        low = middle - _OCTAVE + (base + above - middle) % _OCTAVE
        share = float(np.sin(np.pi / 2 * (low - middle + _OCTAVE) / _OCTAVE) ** 2)
        for pitch, power in ((low, share), (low + _OCTAVE, 1.0 - share)):
            if power >= _DRONE_SHARE:
                tones.append(DroneTone(number, pitch, power**0.5))
    return tuple(tones)


def _bass(kind: Kind, drone: tuple[int, int], *, inverts: bool, dice: Dice) -> int:
    """The class of a chord's bass: the root, or a third or fifth, and never a semitone from the drone."""
    root = kind.classes[0]
    clear = [c for c in kind.classes if not {(c - 1) % _OCTAVE, (c + 1) % _OCTAVE} & set(drone)]
    others = [c for c in clear if (c - root) % _OCTAVE in (3, 4, 7)]
    if root not in clear:
        # Where every tone rubs, the drone itself is the pedal.
        return ([c for c in clear if c in drone] or others or clear or drone)[0]
    return dice.pick(others, 1) if inverts and others else root


def _played(preset: ScorePreset, slots: tuple[Slot, ...], bpm: int) -> list[Slot]:
    """The slots that a preset plays: pillars always, divisions by its rates, more of them as bpm rises."""
    pace = (bpm / USUAL_BPM) ** _RATE_RISE
    found: list[Slot] = []
    divided = False
    for slot in slots:
        if slot.rank == 2:
            # A second division is heard where the first one is.
            first = slots[slot.number - slot.number % 4 + 2]
            divided = first.chance < preset.chord_rates[0] * pace
            if divided and slot.chance < preset.chord_rates[1] * pace:
                found.append(slot)
        elif slot.rank == 0 or slot.chance < preset.chord_rates[0] * pace:
            found.append(slot)
    return found


def _word(name: str) -> int:
    # Python's own hash differs from process to process.
    return int.from_bytes(name.encode(), "big")
