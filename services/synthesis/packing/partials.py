"""Pure. From the notes of a layer to partials: what a patch makes of each note, as the kernels want it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_FRAMES, SAMPLE_RATE_HZ
from services.synthesis.dsp.control import COLUMNS, Column
from services.synthesis.dsp.grid import INTERVAL_FRAMES, SPLIT_HZ
from services.synthesis.dsp.noise import scramble
from services.synthesis.packing.table import INCREMENT, ONSET, PHASE, SECONDS, WIDTH
from services.synthesis.score.events import Notes
from services.synthesis.sound.brightness import with_brightness
from services.synthesis.sound.patches import Patch

Floats = NDArray[np.float64]

QUIET: Final = 2.0**-15
"""One step of 16 bits: a tone of this amplitude is lost in the dither, and 70 dB below the music."""

_LAST_FRAME: Final = SECONDS * BLOCK_FRAMES - INTERVAL_FRAMES
"""No note sounds past the end of the section after its own."""

_BRIGHTNESS_SHARE: Final = 0.6
_INTENSITY_SHARE: Final = 0.7
"""A note is as bright as its own brightness and the stream's intensity say, in these shares; 1 is the brightest."""

_CENTRE_HZ: Final = 70.0
_CENTRE_RANGE_HZ: Final = 180.0
_LEAST_WIDTH: Final = 0.1
"""Low tones stay in the middle, where every loudspeaker can carry them: from 70 Hz (a tenth of the pan) up to 250 Hz
(all of it)."""

_SLOWEST_ATTACK: Final = 1.25
_ATTACK_RANGE: Final = 0.5
"""Attacks are 1.25 times as long at intensity 0, and 0.75 times at intensity 1."""
_LONGEST_ATTACK: Final = 0.5
"""Share of a note's length that its attack may take: a note shorter than its attack would not be heard."""
_SHORTEST_ATTACK_S: Final = 0.006
"""However short the note: a shorter attack clicks."""

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


@dataclass(frozen=True, slots=True)
class Partials:
    """Partials of some notes.

    Attributes:
        words: int32 [partials, WIDTH], see `table`.
        last_frame: int64 [partials]: the frame from which each is silent, from the section's start.
        hz: float64 [partials]: frequency.
        note_seconds: how long all notes sound, added up.
    """

    words: NDArray[np.int32]
    last_frame: NDArray[np.int64]
    hz: Floats
    note_seconds: float


def join_partials(parts: Sequence[Partials]) -> Partials:
    """All partials of `parts`, in their order."""
    if not parts:
        return Partials(np.zeros((0, WIDTH), np.int32), np.zeros(0, np.int64), np.zeros(0), 0.0)
    return Partials(
        np.concatenate([part.words for part in parts]),
        np.concatenate([part.last_frame for part in parts]),
        np.concatenate([part.hz for part in parts]),
        sum(part.note_seconds for part in parts),
    )


def layer_partials(notes: Notes, patch: Patch, spec: StreamSpec, layer_gain: float) -> Partials:
    """What `patch` makes of the notes of one layer.

    Args:
        notes: of the layer.
        patch: the layer's.
        spec: the stream; its intensity and brightness count.
        layer_gain: linear, of the whole layer.

    Returns:
        The partials that are loud enough to be heard.
    """
    tone = _tone(patch)
    seed = notes.seed.view(np.int32)[:, None]
    note_chance = _draw(seed, np.array([_Chance.NOTE]))

    def chance(what: _Chance) -> Floats:
        return _draw(seed, np.arange(len(tone.ratio)) + what)

    jitter_cents = patch.jitter_cents * (2.0 * note_chance - 1.0)
    note_hz = 440.0 * 2.0 ** ((notes.pitch_midi[:, None] - 69.0) / 12.0)
    hz = note_hz * tone.ratio * 2.0 ** ((tone.cents + jitter_cents) / 1200.0)
    amplitude = with_brightness(_amplitude(notes, patch, tone, spec.intensity, layer_gain), hz, spec.brightness)
    angle = _pan_angle(notes, patch, tone, hz, chance(_Chance.PAN))
    send_gain = 10.0 ** (patch.send_db / 20.0)
    peak = amplitude * (1.0 + patch.swell_depth) * max(1.0, send_gain)
    envelope = _envelope(notes, patch, tone, spec.intensity, peak)

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
        Column.GAIN_SEND: np.where(hz < SPLIT_HZ, amplitude * send_gain, 0.0),
        Column.SWELL_DEPTH: patch.swell_depth * np.minimum(_SWELL_LEAST[0] + _SWELL_LEAST[1] * tone.above_first, 1.0),
        Column.SWELL_RATE: swell_hz / SAMPLE_RATE_HZ,
        Column.SWELL_PHASE_LEFT: swell_phase,
        Column.SWELL_PHASE_RIGHT: swell_phase + _SWELL_APART[0] + _SWELL_APART[1] * chance(_Chance.SWELL_APART),
        Column.VIBRATO_DEPTH: hz * (2.0 ** (patch.vibrato_cents / 1200.0) - 1.0) / (2.0 * np.pi * vibrato_hz),
        Column.VIBRATO_RATE: vibrato_hz / SAMPLE_RATE_HZ,
        Column.VIBRATO_PHASE: note_chance,
    }
    words = np.zeros((*hz.shape, WIDTH), dtype=np.int32)
    floats = words[:, :, :COLUMNS].view(np.float32)
    for column, value in values.items():
        floats[:, :, column] = value
    words[:, :, PHASE] = _word(chance(_Chance.PHASE) * 2.0**32)
    words[:, :, INCREMENT] = _word(np.rint(hz * (2.0**32 / SAMPLE_RATE_HZ)))
    words[:, :, ONSET] = envelope.onset[:, None]
    audible = (peak > QUIET).reshape(-1)
    return Partials(
        words.reshape(-1, WIDTH)[audible],
        envelope.last_frame.reshape(-1)[audible],
        hz.reshape(-1)[audible],
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


def _amplitude(notes: Notes, patch: Patch, tone: _Tone, intensity: float, layer_gain: float) -> Floats:
    """Linear, before pan, swell and envelope: float64 [notes, width]."""
    brightness = notes.brightness.astype(np.float64)
    bright = np.clip(_BRIGHTNESS_SHARE * brightness + _INTENSITY_SHARE * intensity, 0.0, 1.0)[:, None]
    rise = 10.0 ** (patch.rise_db * (intensity - 0.5) / 20.0)
    loud = notes.gain.astype(np.float64)[:, None] * tone.level * layer_gain * rise
    amplitude: Floats = loud * 10.0 ** (-patch.dull_db * tone.octaves * (1.0 - bright) / 20.0)
    return amplitude


def _pan_angle(notes: Notes, patch: Patch, tone: _Tone, hz: Floats, chance: Floats) -> Floats:
    """Constant-power pan, 0 (left) to pi / 2 (right): float64 [notes, width]."""
    # Neighbouring partials go to opposite sides, the lowest nowhere.
    side = np.where(np.arange(len(tone.ratio)) % 2 == 0, 1.0, -1.0) * (2.0 * chance - 0.5)
    apart = patch.width * side * np.minimum(tone.above_first, 1.0)
    pan = notes.pan.astype(np.float64)[:, None] + tone.pan + apart
    pan = np.clip(pan, -1.0, 1.0) * np.clip((hz - _CENTRE_HZ) / _CENTRE_RANGE_HZ, _LEAST_WIDTH, 1.0)
    angle: Floats = (pan + 1.0) * (np.pi / 4.0)
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
    onset = np.maximum(np.rint(notes.onset_s * SAMPLE_RATE_HZ), INTERVAL_FRAMES).astype(np.int64)
    hold = np.rint(duration_s * SAMPLE_RATE_HZ).astype(np.int64)
    release = round(patch.release_s * SAMPLE_RATE_HZ)
    pace = _SLOWEST_ATTACK - _ATTACK_RANGE * intensity
    attack_s = patch.attack_s * (1.0 + patch.attack_bloom * tone.above_first) * pace
    attack_s = np.minimum(attack_s, np.maximum(_LONGEST_ATTACK * duration_s[:, None], _SHORTEST_ATTACK_S))
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
    return _Envelope(onset, hold, release, attack_s, decay_rate, np.minimum(last, _LAST_FRAME))


def _draw(seed: NDArray[np.int32], index: NDArray[np.int64]) -> Floats:
    """A number in [0, 1) for each seed [notes, 1] and index [width]: [notes, width]."""
    bits = scramble(index.astype(np.int32)[None, :], seed)
    return np.asarray(bits.view(np.uint32) * 2.0**-32, dtype=np.float64)


def _word(values: Floats) -> NDArray[np.int32]:
    """Whole numbers as 32-bit words, wrapping."""
    return (values.astype(np.uint64) & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)
