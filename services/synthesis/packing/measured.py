"""Pure. From the notes of a layer to partials of a measured instrument: each reads its row along the note's path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import SAMPLE_RATE_HZ
from services.synthesis.dsp.control import Column
from services.synthesis.dsp.grid import INTERVAL_FRAMES, INTERVAL_S, SPLIT_HZ
from services.synthesis.instruments.bank import LATEST_START, PATH_STEPS, REST_POINTS, VARIANTS, Bank, Tones
from services.synthesis.packing.partials import (
    FAINT,
    FAINT_HIGH,
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
    join_partials,
    narrowed,
    note_brightness,
    onset_frames,
    pack_words,
)
from services.synthesis.packing.table import ENTRY, INCREMENT, ONSET, PATH, PHASE, STRIDE, WIDTH
from services.synthesis.sound.brightness import brightness_gain
from services.synthesis.sound.parts import Part

_SLOW_S: Final = 0.3
"""From this attack on the recorded one is left out, and the note begins somewhere in its held part."""
_FADES_S: Final = 14.0
"""What is struck is let go after this time at the latest."""
_SLOWEST_FADE: Final = 1e-12
"""Of a partial that does not decay, per frame: it lasts longer than any section."""
_LOW_ATTACK_S: Final = 0.08
"""A held tone below MONO_HZ swells for this long at least."""
_SHORTEST_LOW_S: Final = 0.5
_NOTE_PAN: Final = 0.7
"""Share of a note's own pan; the rest of the width is the players'."""
_MOST_MOVING: Final = 0.8
_MOVING_RATE: Final = (0.6, 0.8)
"""A note's brightness moves at 0.6 to 1.4 times the part's rate."""
_SIDES_APART: Final = 0.1
"""Share of a turn by which the right side's brightness is ahead."""
_PLAYER: Final = 7_919
"""What a player's draws differ by from the one's before."""


class _Chance(IntEnum):
    """What chance decides, as the index of its draw for each note and player."""

    CENTS = 1_000
    SIDE = 1_001
    START = 1_002
    PATH = 1_003
    MOVING_RATE = 1_004
    MOVING_PHASE = 1_005
    PHASE = 1_006
    SEAT = 1_007


def measured_partials(layer: LayerNotes, part: Part, bank: Bank) -> Partials:
    """What `part` makes of the notes of a layer: the partials that are loud enough to be heard."""
    tones = bank.instruments[part.instrument]
    pitch = layer.notes.pitch_midi + part.transpose
    # The first player has the nearest recorded note, the second one the second nearest, and so on.
    order = np.argsort(np.abs(pitch[:, None] - tones.midi), axis=1, kind="stable")
    found = [
        _played(layer, part, tones, _Player(number, order[:, min(number, len(tones.midi) - 1)]))
        for number in range(part.players)
    ]
    joined = join_partials(found)
    # Players of a part play the same notes.
    return replace(joined, note_seconds=joined.note_seconds / part.players)


@dataclass(frozen=True, slots=True)
class _Player:
    """One of the players of a part.

    Attributes:
        number: from 0.
        tone: int64 [notes]: which recorded note it plays each note from.
    """

    number: int
    tone: NDArray[np.int64]


def _played(layer: LayerNotes, part: Part, tones: Tones, player: _Player) -> Partials:
    """The partials of one player."""
    notes, tone = layer.notes, player.tone
    rows = np.arange(min(part.rows, tones.ratio.shape[1]))
    ratio = tones.ratio[tone][:, rows]
    own = notes.seed.view(np.int32)[:, None]
    seed = own + np.int32(_PLAYER * player.number)

    def chance(what: _Chance) -> Floats:
        return draw(seed, np.array([what]))

    hz = 440.0 * 2.0 ** ((notes.pitch_midi[:, None] + part.transpose - 69.0) / 12.0) * ratio
    low = hz < MONO_HZ
    # A low tone that is held stands still: the mean level in place of the recording's, and exactly a harmonic, so that
    # it beats with nothing.
    still = low & tones.sustained
    hz = np.where(still, hz / ratio * np.rint(ratio), hz)
    hz = hz * np.where(low, 1.0, 2.0 ** (part.cents * (2.0 * chance(_Chance.CENTS) - 1.0) / 1200.0))

    loud = _loudness(layer, part, tones, player, low) * np.where(still, tones.steady[tone][:, rows], 1.0)
    sounding = loud * np.where(still, 1.0, tones.steady[tone][:, rows])
    loud = loud * brightness_gain(sounding, hz, layer.brightness)
    send_gain = 10.0 ** (part.send_db / 20.0)
    peak = loud * np.where(still, 1.0, tones.loudest[tone][:, rows]) * max(1.0, send_gain)
    peak = np.where(tones.loudest[tone][:, rows] > 0.0, peak, 0.0)

    place = 2.0 * player.number / (part.players - 1) - 1.0 if part.players > 1 else 0.0
    # Which player sits left is drawn for each note.
    seat = np.where(draw(own, np.array([_Chance.SEAT])) < 0.5, -place, place)
    side = np.where(rows % 2 == 0, 1.0, -1.0) * part.width * np.minimum(ratio - 1.0, 1.0)
    side = side * (2.0 * chance(_Chance.SIDE) - 1.0)
    pan = notes.pan.astype(np.float64)[:, None] * _NOTE_PAN + part.spread * seat + side
    angle = (narrowed(pan, hz) + 1.0) * (np.pi / 4.0)

    onset = onset_frames(notes.onset_s)
    hold_s = np.where(
        low, np.maximum(notes.duration_s[:, None] - part.shorten_s, _SHORTEST_LOW_S), notes.duration_s[:, None]
    )
    if not tones.sustained:
        hold_s = np.minimum(hold_s, _FADES_S)
    hold = np.rint(hold_s * SAMPLE_RATE_HZ).astype(np.int64)
    release_s = np.full(len(notes), part.release_s) if part.release_s else tones.release_s[tone]
    release = np.rint(release_s * SAMPLE_RATE_HZ)[:, None]
    fade = tones.fade[tone][:, rows] / INTERVAL_FRAMES
    attack_s = np.full(hz.shape, INTERVAL_S)
    if part.attack_s:
        longest = np.maximum(LONGEST_ATTACK * hold_s, SHORTEST_ATTACK_S)
        attack_s = np.minimum(part.attack_s * attack_pace(layer.intensity), longest)
    attack_s = np.where(still, np.maximum(attack_s, _LOW_ATTACK_S), attack_s)

    begin = np.zeros(len(notes))
    if part.attack_s >= _SLOW_S and tones.sustained:
        begin = tones.points[tone] + chance(_Chance.START)[:, 0] * (LATEST_START - tones.points[tone])
    variant = (chance(_Chance.PATH)[:, 0] * VARIANTS).astype(np.int64)
    path = tones.path[tone] + variant * PATH_STEPS + begin.astype(np.int64)
    increment = np.rint(hz * (2.0**32 / SAMPLE_RATE_HZ))
    moving_phase = chance(_Chance.MOVING_PHASE)
    breath = 10.0 ** (part.breath_db / 20.0)
    breath = (breath - 1.0) / (breath + 1.0)
    values: dict[Column, Floats | float] = {
        Column.ATTACK_RATE: 1.0 / (attack_s * SAMPLE_RATE_HZ),
        Column.SUSTAIN: 1.0,
        Column.HOLD: hold.astype(np.float64),
        Column.RELEASE_RATE: 1.0 / release,
        Column.GAIN_LEFT: loud * np.cos(angle),
        Column.GAIN_RIGHT: loud * np.sin(angle),
        Column.GAIN_SEND: loud * send_gain,
        # All partials of a note move together, the upper ones further: that is brightness and breath, and no tremolo.
        Column.SWELL_DEPTH: np.where(
            still, 0.0, np.minimum(breath + part.moving * np.log2(np.maximum(ratio, 1.0)), _MOST_MOVING)
        ),
        Column.SWELL_RATE: part.moving_hz
        * (_MOVING_RATE[0] + _MOVING_RATE[1] * chance(_Chance.MOVING_RATE))
        / SAMPLE_RATE_HZ,
        Column.SWELL_PHASE_LEFT: moving_phase,
        Column.SWELL_PHASE_RIGHT: moving_phase + _SIDES_APART,
        Column.FADE_RATE: fade,
    }
    measured = np.where(still, 0, 1)
    whole: dict[int, NDArray[np.int32] | int] = {
        PHASE: np.where(still, 0, _start(increment, onset, layer.first_frame, ratio * chance(_Chance.PHASE))),
        INCREMENT: as_word(increment),
        ONSET: onset[:, None].astype(np.int32),
        PATH: (measured * path[:, None]).astype(np.int32),
        ENTRY: (measured * (tones.entry[tone][:, None] + rows)).astype(np.int32),
        STRIDE: (measured * tones.stride[tone][:, None]).astype(np.int32),
    }
    last = _last_frame(peak, onset[:, None] + hold, release)
    if not tones.sustained:
        loudest_gain = loud * max(1.0, send_gain)
        last = np.minimum(last, onset[:, None] + _faded_frames(loudest_gain, tones, tone, fade))
    audible = (peak > np.where(hz < SPLIT_HZ, FAINT, FAINT_HIGH)).reshape(-1)
    return Partials(
        pack_words(hz.shape, values, whole).reshape(-1, WIDTH)[audible],
        last.reshape(-1)[audible],
        hz.reshape(-1)[audible],
        (peak * (send_gain / max(1.0, send_gain))).reshape(-1)[audible],
        float(np.sum(np.max(last, axis=1, initial=0) - onset)) / SAMPLE_RATE_HZ,
    )


def _loudness(layer: LayerNotes, part: Part, tones: Tones, player: _Player, low: NDArray[np.bool_]) -> Floats:
    """Linear gain of each partial of one player, before its table: float64 [notes, partials]."""
    rows = low.shape[1]
    octaves = np.log2(np.maximum(tones.ratio[player.tone][:, :rows], 1.0))
    dull_db = tones.soft_db[player.tone][:, :rows] - part.dull_db * octaves
    level_db = part.level_db + part.rise_db * (layer.intensity - 0.5) + dull_db * (1.0 - note_brightness(layer))
    loud = layer.notes.gain.astype(np.float64) * layer.gain * layer.tide(part.tide_db, part.tide_pace)
    # Low tones are the first player's alone.
    low_gain = 10.0 ** (part.low_db / 20.0) if player.number == 0 else 0.0
    return np.asarray(loud[:, None] * 10.0 ** (level_db / 20.0) * np.where(low, low_gain, part.players**-0.5))


def _last_frame(peak: Floats, released: NDArray[np.int64], release: Floats) -> NDArray[np.int64]:
    """The frame from which a partial that is released at `released` is silent, or too quiet to be heard."""
    left = np.minimum(QUIET / np.maximum(peak, QUIET), 1.0)
    last = released + np.ceil(release * (1.0 - left ** (1.0 / 3.0))).astype(np.int64)
    return np.minimum(last, LAST_FRAME)


def _faded_frames(gain: Floats, tones: Tones, tone: NDArray[np.int64], fade: Floats) -> NDArray[np.int64]:
    """Frames, from the onset, after which a partial that decays by itself is too quiet to be heard.

    Args:
        gain: linear [notes, partials], of the table's amplitudes.
        tones: the instrument's.
        tone: int64 [notes]: which of them each note reads.
        fade: rate of the decay per frame, see `control.expand`.
    """
    audible = QUIET / np.maximum(gain, _SLOWEST_FADE)
    rows = gain.shape[1]
    steps = (tones.rest[tone][:, :, :rows] > audible[:, None, :]).sum(axis=1)
    inside = steps * (REST_POINTS * INTERVAL_FRAMES)
    # Past the table's end the decay goes on, whatever is read back and forth.
    left = np.minimum(audible / np.maximum(tones.later[tone][:, :rows], _SLOWEST_FADE), 1.0)
    beyond = np.ceil((1.0 - left ** (1.0 / 64.0)) / np.maximum(fade, _SLOWEST_FADE)).astype(np.int64)
    ends = tones.points[tone][:, None] * INTERVAL_FRAMES
    # Control points are joined by lines: the point after the last audible one still counts.
    return np.where(beyond > ends, np.maximum(beyond, inside), inside) + INTERVAL_FRAMES


def _start(increment: Floats, onset: NDArray[np.int64], first_frame: int, cycles: Floats) -> NDArray[np.int32]:
    """Phases at frame 0 of the epoch with which partials have `cycles` at their onsets: as recorded to each other."""
    frames = ((first_frame + onset) % 2**32).astype(np.uint64)[:, None]
    passed = (increment.astype(np.uint64) * frames) & np.uint64(0xFFFFFFFF)
    wanted = np.rint((cycles % 1.0) * 2.0**32).astype(np.uint64)
    return ((wanted - passed) & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)
