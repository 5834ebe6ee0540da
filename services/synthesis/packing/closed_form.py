"""Pure. From the notes of a layer to the partials of a tone in closed form: what a patch makes of each note."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import SAMPLE_RATE_HZ
from services.synthesis.dsp.control import Column
from services.synthesis.packing.partials import (
    LAST_FRAME,
    LONGEST_ATTACK,
    MONO_HZ,
    QUIET,
    SHORTEST_ATTACK_S,
    Floats,
    LayerNotes,
    Partials,
    as_word,
    attack_pace,
    draw,
    narrowed,
    note_brightness,
    onset_frames,
    pack_words,
)
from services.synthesis.packing.table import INCREMENT, ONSET, PHASE, WIDTH
from services.synthesis.score.events import Notes
from services.synthesis.sound.brightness import brightness_gain
from services.synthesis.sound.parts import Patch

_SWELL_RATE: Final = (0.75, 0.5)
"""A partial swells at 0.75 to 1.25 times the patch's rate."""
_SWELL_LEAST: Final = (0.5, 0.35)
"""The lowest partial swells by half of the patch's depth, one n times as high by 0.35 (n - 1) more, up to all of it."""
_SWELL_APART: Final = (0.15, 0.2)
"""The right side swells 0.15 to 0.35 of a turn ahead of the left one."""
_VIBRATO_RATE: Final = (0.85, 0.3)
"""A note's vibrato runs at 0.85 to 1.15 times the patch's rate."""


class _Chance(IntEnum):
    """What chance decides, as the first index of its draws. A draw of partial i is at this index + i."""

    PAN = 0
    SWELL_RATE = 64
    SWELL_PHASE = 128
    SWELL_APART = 192
    PHASE = 256
    NOTE = 999
    """One draw for all partials of a note."""


def closed_form_partials(layer: LayerNotes, patch: Patch) -> Partials:
    """What `patch` makes of the notes of a layer: the partials that are loud enough to be heard."""
    notes, intensity = layer.notes, layer.intensity
    tone = _tone(patch)
    seed = notes.seed.view(np.int32)[:, None]
    note_chance = draw(seed, np.array([_Chance.NOTE]))

    def chance(what: _Chance) -> Floats:
        return draw(seed, np.arange(len(tone.ratio)) + what)

    jitter_cents = patch.jitter_cents * (2.0 * note_chance - 1.0)
    note_hz = 440.0 * 2.0 ** ((notes.pitch_midi[:, None] + patch.transpose - 69.0) / 12.0)
    hz = note_hz * tone.ratio
    # Copies of a low tone would beat, and its swell would cancel it: below MONO_HZ a tone stands still.
    still = hz < MONO_HZ
    hz = np.where(still, hz, hz * 2.0 ** ((tone.cents + jitter_cents) / 1200.0))
    amplitude = _amplitude(layer, patch, tone)
    amplitude = amplitude * brightness_gain(amplitude, hz, layer.brightness)
    angle = _pan_angle(notes, patch, tone, hz, chance(_Chance.PAN))
    send_gain = 10.0 ** (patch.send_db / 20.0)
    peak = amplitude * (1.0 + patch.swell_depth) * max(1.0, send_gain)
    envelope = _envelope(notes, patch, tone, intensity, peak)

    vibrato_hz = patch.vibrato_hz * (_VIBRATO_RATE[0] + _VIBRATO_RATE[1] * note_chance)
    swell_phase = chance(_Chance.SWELL_PHASE)
    swell_hz = patch.swell_hz * (_SWELL_RATE[0] + _SWELL_RATE[1] * chance(_Chance.SWELL_RATE))
    values: dict[Column, Floats | float] = {
        Column.ATTACK_RATE: 1.0 / (envelope.attack_s * SAMPLE_RATE_HZ),
        Column.DECAY_RATE: envelope.decay_rate,
        Column.SUSTAIN: patch.sustain,
        Column.HOLD: envelope.hold[:, None].astype(np.float64),
        Column.RELEASE_RATE: 1.0 / envelope.release,
        Column.GAIN_LEFT: amplitude * np.cos(angle),
        Column.GAIN_RIGHT: amplitude * np.sin(angle),
        Column.GAIN_SEND: amplitude * send_gain,
        Column.SWELL_DEPTH: np.where(still, 0.0, patch.swell_depth)
        * np.minimum(_SWELL_LEAST[0] + _SWELL_LEAST[1] * tone.above_first, 1.0),
        Column.SWELL_RATE: swell_hz / SAMPLE_RATE_HZ,
        Column.SWELL_PHASE_LEFT: swell_phase,
        Column.SWELL_PHASE_RIGHT: swell_phase + _SWELL_APART[0] + _SWELL_APART[1] * chance(_Chance.SWELL_APART),
        Column.VIBRATO_DEPTH: np.where(still, 0.0, hz)
        * (2.0 ** (patch.vibrato_cents / 1200.0) - 1.0)
        / (2.0 * np.pi * vibrato_hz),
        Column.VIBRATO_RATE: vibrato_hz / SAMPLE_RATE_HZ,
        Column.VIBRATO_PHASE: note_chance,
    }
    whole: dict[int, NDArray[np.int32] | int] = {
        # Low tones of one pitch begin alike: two of them add up and never cancel.
        PHASE: as_word(np.where(still, 0.0, chance(_Chance.PHASE)) * 2.0**32),
        INCREMENT: as_word(np.rint(hz * (2.0**32 / SAMPLE_RATE_HZ))),
        ONSET: envelope.onset[:, None].astype(np.int32),
    }
    words = pack_words(hz.shape, values, whole)
    audible = (peak > QUIET).reshape(-1)
    return Partials(
        words.reshape(-1, WIDTH)[audible],
        envelope.last_frame.reshape(-1)[audible],
        hz.reshape(-1)[audible],
        (amplitude * send_gain).reshape(-1)[audible],
        float(np.sum(np.max(envelope.last_frame, axis=1) - envelope.onset)) / SAMPLE_RATE_HZ,
    )


@dataclass(frozen=True, slots=True)
class _Tone:
    """The partials that a patch makes of every note, copies included: float64 [width] each.

    Attributes:
        ratio: to the note's frequency.
        level: linear.
        cents: detune.
        pan: added to the note's.
    """

    ratio: Floats
    level: Floats
    cents: Floats
    pan: Floats

    @property
    def above_first(self) -> Floats:
        """N - 1 of a partial n times as high as the note; 0 of what lies below the note."""
        return np.maximum(self.ratio, 1.0) - 1.0

    @property
    def octaves(self) -> Floats:
        """Octaves above the note; 0 of what lies below it."""
        return np.log2(np.maximum(self.ratio, 1.0))


def _tone(patch: Patch) -> _Tone:
    rows = []
    for index, (ratio, level_db) in enumerate(patch.harmonics):
        level = 10.0 ** ((level_db + patch.level_db) / 20.0)
        if index < patch.copy_harmonics and len(patch.copies) > 1:
            rows += [(ratio, level * copy.level, copy.cents, copy.pan) for copy in patch.copies]
        else:
            # Partials without copies keep to the copies' mean tuning.
            rows.append((ratio, level, 0.0, 0.0))
    return _Tone(*np.array(rows, dtype=np.float64).T)


def _amplitude(layer: LayerNotes, patch: Patch, tone: _Tone) -> Floats:
    """Linear, before pan, swell and envelope: float64 [notes, width]."""
    bright = note_brightness(layer)
    rise = 10.0 ** (patch.rise_db * (layer.intensity - 0.5) / 20.0)
    loud = layer.notes.gain.astype(np.float64) * layer.gain * rise * layer.tide(patch.tide_db, patch.tide_pace)
    loud = loud[:, None] * tone.level
    amplitude: Floats = loud * 10.0 ** (-patch.dull_db * tone.octaves * (1.0 - bright) / 20.0)
    return amplitude


def _pan_angle(notes: Notes, patch: Patch, tone: _Tone, hz: Floats, chance: Floats) -> Floats:
    """Constant-power pan, 0 (left) to pi / 2 (right): float64 [notes, width]."""
    # Neighbouring partials go to opposite sides, the lowest nowhere.
    side = np.where(np.arange(len(tone.ratio)) % 2 == 0, 1.0, -1.0) * (2.0 * chance - 0.5)
    apart = patch.width * side * np.minimum(tone.above_first, 1.0)
    pan = notes.pan.astype(np.float64)[:, None] + tone.pan + apart
    angle: Floats = (narrowed(pan, hz) + 1.0) * (np.pi / 4.0)
    return angle


@dataclass(frozen=True, slots=True)
class _Envelope:
    """When partials begin, rise, fall and end. Times in frames, from the section's start where they are moments.

    Attributes:
        onset, hold: int64 [notes]: first frame, and frames until the release.
        release: frames.
        attack_s: float64 [notes, width].
        decay_rate: float64 [width], per frame; 0 does not decay.
        last_frame: int64 [notes, width]: silent, or too quiet to be heard, from here on.
    """

    onset: NDArray[np.int64]
    hold: NDArray[np.int64]
    release: int
    attack_s: Floats
    decay_rate: Floats
    last_frame: NDArray[np.int64]


def _envelope(notes: Notes, patch: Patch, tone: _Tone, intensity: float, peak: Floats) -> _Envelope:
    duration_s = notes.duration_s
    onset = onset_frames(notes.onset_s)
    hold = np.rint(duration_s * SAMPLE_RATE_HZ).astype(np.int64)
    release = round(patch.release_s * SAMPLE_RATE_HZ)
    pace = attack_pace(intensity)
    attack_s = patch.attack_s * (1.0 + patch.attack_bloom * tone.above_first) * pace
    attack_s = np.minimum(attack_s, np.maximum(LONGEST_ATTACK * duration_s[:, None], SHORTEST_ATTACK_S))
    released = (onset + hold)[:, None]
    # A tone in the noise of the last bit is not worth its sines: it ends where its envelope brings it down to `QUIET`,
    # which saves about one partial in thirty. See `control.expand` for the envelopes' curves.
    left = np.minimum(QUIET / np.maximum(peak, QUIET), 1.0)
    last = np.broadcast_to(released + release, peak.shape)
    last = np.minimum(last, released + np.ceil(release * (1.0 - left ** (1.0 / 3.0))).astype(np.int64))
    decay_rate = np.zeros(len(tone.ratio))
    if patch.decay_s > 0.0:
        decay_rate = (1.0 + patch.damping * tone.above_first) / (patch.decay_s * SAMPLE_RATE_HZ)
        if patch.sustain == 0.0:
            last = np.minimum(last, onset[:, None] + np.ceil(1.0 / decay_rate).astype(np.int64))
            last = np.minimum(last, onset[:, None] + np.ceil((1.0 - left**0.25) / decay_rate).astype(np.int64))
    return _Envelope(onset, hold, release, attack_s, decay_rate, np.minimum(last, LAST_FRAME))
