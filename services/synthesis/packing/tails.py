"""Pure. What a room answers to bright partials: a tail for each, because the convolution ends where they begin.

A dense room answers a tone with the same tone, at a level of chance on either side, that rises and dies at the room's
own pace. So a tail is one more partial, which costs no transform. That of a held tone reads the same table, a moment
later.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import SAMPLE_RATE_HZ
from services.synthesis.dsp.control import COLUMNS, Column
from services.synthesis.dsp.grid import INTERVAL_FRAMES, QUARTER_HZ, SPLIT_HZ
from services.synthesis.packing.partials import LAST_FRAME, QUIET, Floats, Partials, as_word, draw
from services.synthesis.packing.table import ENTRY, ONSET, PATH, PHASE, STRIDE
from services.synthesis.sound.room import Room, level, rt60_s

TOP_HZ: Final = 10_500.0
"""Brighter partials have no tail: air takes it."""
FAINT: Final = 2.0**-13
"""A tail whose loudest moment is below this amplitude is left out."""
_DELAY_INTERVALS: Final = (3, 9)
"""A tail begins this many control intervals (5.7 ms) after its partial: least, and one more than most."""
_BUILD_UP: Final = 0.12
"""Share of the decay in which the tail of a held tone comes to nine tenths of its level."""
_CHANCE_LEVEL: Final = (0.35, 1.7)
"""Least and greatest level that chance gives a tone in a room, relative to the RMS."""
_SIXTY_DB: Final = 3.0 * np.log(10.0)
_SHARE_OF_RELEASE: Final = 0.9
"""Share of a release, (1 - t)^3, after which it is at -60 dB."""
_GRID_HZ: Final = 50.0


@cache
def tail_power(room: Room) -> float:
    """Factor of `level` squared by decay in a response of energy 1, so that tails go on from it where it ends."""
    hz = np.arange(_GRID_HZ, QUARTER_HZ / 2.0, _GRID_HZ)
    return float(1.0 / np.mean(level(room, hz) ** 2 * rt60_s(room, hz)))


def tails(partials: Partials, room: Room) -> Partials:
    """The tails of those of `partials` that lie above SPLIT_HZ and are sent to the reverb."""
    chosen = np.flatnonzero((partials.hz >= SPLIT_HZ) & (partials.hz < TOP_HZ) & (partials.sent > FAINT))
    words, hz = partials.words[chosen].copy(), partials.hz[chosen]
    values = words[:, :COLUMNS].view(np.float32)
    own: Floats = values.astype(np.float64)
    decay_s = rt60_s(room, hz)
    chance = draw(words[:, PHASE : PHASE + 1] ^ words[:, ONSET : ONSET + 1], np.arange(4))

    # Amplitude falls by this share in a frame; a note that dies faster leaves less in the room, and that stays longer.
    room_rate = _SIXTY_DB / (decay_s * SAMPLE_RATE_HZ)
    note_rate = 64.0 * own[:, Column.FADE_RATE]
    dies = note_rate > room_rate
    caught = np.where(note_rate > 0.0, room_rate / np.maximum(np.abs(note_rate - room_rate), 1e-12), 1.0)
    response = np.sqrt(tail_power(room) * level(room, hz) ** 2 * decay_s * np.minimum(caught, 1.0))
    by_chance = np.clip(np.sqrt(-np.log(np.maximum(chance[:, 0], 1e-9))), *_CHANCE_LEVEL)
    answer = np.sqrt(2.0) * response * by_chance
    loud = partials.sent[chosen] * answer
    angle = 0.5 * np.pi * chance[:, 1]

    attack_s = 1.0 / (own[:, Column.ATTACK_RATE] * SAMPLE_RATE_HZ)
    attack_s = attack_s + np.maximum(room.bloom_s, _BUILD_UP * decay_s / (1.0 + note_rate / room_rate))
    release = np.maximum(1.0 / own[:, Column.RELEASE_RATE], decay_s * SAMPLE_RATE_HZ / _SHARE_OF_RELEASE)
    delay = np.floor(_DELAY_INTERVALS[0] + chance[:, 2] * (_DELAY_INTERVALS[1] - _DELAY_INTERVALS[0])).astype(np.int64)
    onset = words[:, ONSET] + delay * INTERVAL_FRAMES
    # What dies by itself is dead before any release ends.
    hold = np.where(dies, float(LAST_FRAME), own[:, Column.HOLD])
    values[:, Column.ATTACK_RATE] = 1.0 / (attack_s * SAMPLE_RATE_HZ)
    values[:, Column.HOLD] = hold
    values[:, Column.RELEASE_RATE] = 1.0 / release
    values[:, Column.FADE_RATE] = np.where(dies, room_rate, note_rate) / 64.0
    # A table's decay is taken out of it: read with another one, it would grow. So these tails are plain tones.
    struck = note_rate > 0.0
    base = np.where(struck, partials.sent[chosen], own[:, Column.GAIN_SEND]) * answer
    words[np.ix_(struck, (ENTRY, PATH, STRIDE))] = 0
    values[:, Column.GAIN_LEFT] = base * np.cos(angle)
    values[:, Column.GAIN_RIGHT] = base * np.sin(angle)
    values[:, Column.GAIN_SEND] = 0.0
    words[:, ONSET] = onset
    words[:, PHASE] += as_word(np.floor(chance[:, 3] * 2.0**32))
    last = _last_frame(loud, onset, hold, release, np.where(dies, room_rate, note_rate))
    heard = (loud > FAINT) & (onset < LAST_FRAME)
    return Partials(words[heard], last[heard], hz[heard], np.zeros(np.count_nonzero(heard)), 0.0)


def _last_frame(
    loud: Floats, onset: NDArray[np.int64], hold: Floats, release: Floats, rate: Floats
) -> NDArray[np.int64]:
    """The frame from which each tail is silent, or too quiet to be heard."""
    left = np.minimum(QUIET / np.maximum(loud, QUIET), 1.0)
    released = onset + hold + release * (1.0 - left ** (1.0 / 3.0))
    faded = onset - np.log(left) / np.maximum(rate, 1e-12)
    return np.minimum(np.ceil(np.minimum(released, faded)).astype(np.int64), LAST_FRAME)
