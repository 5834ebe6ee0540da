"""Pure. The pad: the chords, voice by voice."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.score.events import Layer
from services.synthesis.score.hashing import Draw
from services.synthesis.score.plan import Plan
from services.synthesis.score.writing import Sheet

_LEAST_GAIN: Final = 0.9
_GAIN_RANGE: Final = 0.2
"""Notes are 0.9 to 1.1 times as loud as their preset says."""
_LONGEST_TIE: Final = 3
_LONGEST_TIE_S: Final = 75.0
"""Chords, and seconds, that a voice of the pad holds one note over, at most."""
_LONGEST_STAGGER: Final = 0.4
"""Share of a chord's length that its voices' entries may spread over, at most."""
_ENTRY_STRAY: Final = 0.6
"""Part of the way to the next voice's entry by which an entry strays."""
_LEAST_ENTRY_BEATS: Final = 0.05
"""No voice enters on the beat itself, so that voices do not pile up there."""
_LET_GO_S: Final = 0.15
"""How long a voice sounds into a chord that has a tone a semitone beside it."""
_PAD_WIDTH: Final = 0.6
_LEAST_SPREAD: Final = 0.6
_SPREAD_RANGE: Final = 0.4
"""Pan of the pad's outermost voices, of which chance takes 0.6 to 1; they change sides from chord to chord."""
_THRESHOLD_RANGE: Final = 0.06
"""Width of what chance adds to a voice's threshold, half of it up and half down."""
_DOUBLE_FROM: Final = 0.2
_DOUBLE_HOLD: Final = 0.7
"""A voice's octave begins and lasts for these shares of its note: a light on the chord, not a voice of its own."""
_DOUBLE_GAIN: Final = 0.45


def write_pad(sheet: Sheet, plan: Plan) -> None:
    """Write the chords, voice by voice: a voice that stays on its note may be held over the next chord."""
    pad = plan.preset.pad
    dice = plan.own.at(Draw.PAD)
    chords, count, voices = plan.chords, len(plan.chords), len(pad.thresholds)
    slots = np.array([chord.slot for chord in chords], np.int64)
    # [what, chord, voice]
    entry, tie, wander, strength, width = (dice.at(what).table(slots, voices) for what in range(5))
    delays_s = _delays_s(plan, entry)
    levels = [plan.level(chord.begin_s) for chord in chords]
    busy, layer_gain = plan.busy(Layer.PAD), plan.gain(Layer.PAD)
    for voice, base_threshold in enumerate(pad.thresholds):
        following = 0
        while following < count:
            index = following
            chord = chords[index]
            pitch = chord.voicing[voice]
            following = index + 1
            while (
                following < count
                and following - index < _LONGEST_TIE
                and chords[following].voicing[voice] == pitch
                and chords[following].end_s - chord.begin_s < _LONGEST_TIE_S
                and tie[following, voice] < pad.tie
            ):
                following += 1
            end_s = chords[following - 1].end_s
            if not plan.wanted(chord.begin_s, end_s):
                continue
            delay_s = delays_s[index, voice]
            held_s = _LET_GO_S
            if following == count:
                held_s = pad.stagger_s / 2 + pad.overlap_s
            elif pitch + 1 not in chords[following].voicing and pitch - 1 not in chords[following].voicing:
                held_s = delays_s[following, voice] + pad.overlap_s
            level = levels[index]
            threshold = 0.0
            if base_threshold:
                threshold = base_threshold - 0.15 * level - busy
                threshold += _THRESHOLD_RANGE * (wander[index, voice] - 0.5)
            spread = 2 * voice / (voices - 1) - 1
            pan = _PAD_WIDTH * spread * (1 if index % 2 else -1) * (_LEAST_SPREAD + _SPREAD_RANGE * width[index, voice])
            gain = pad.gain * (_LEAST_GAIN + _GAIN_RANGE * strength[index, voice]) * (1 + 0.7 * level) * layer_gain
            brightness = plan.brightness + 0.35 * level + 0.06 * spread
            sheet.add(
                Layer.PAD,
                chord.begin_s + delay_s,
                end_s - chord.begin_s - delay_s + held_s,
                pitch,
                gain=gain,
                pan=pan,
                brightness=brightness,
                threshold=threshold,
            )
            from_top = voices - 1 - voice
            if from_top < len(pad.doubles) and plan.card.never != "octaves":
                length_s = end_s - chord.begin_s
                sheet.add(
                    Layer.PAD,
                    chord.begin_s + _DOUBLE_FROM * length_s,
                    _DOUBLE_HOLD * length_s,
                    pitch + 12,
                    gain=_DOUBLE_GAIN * gain,
                    pan=-pan,
                    brightness=brightness - 0.1,
                    threshold=pad.doubles[from_top] - 0.3 * level,
                )


def _delays_s(plan: Plan, entry: NDArray[np.float64]) -> NDArray[np.float64]:
    """How long after its chord each voice enters: one after the other, in another order each time; [chord, voice]."""
    lengths_s = np.array([chord.end_s - chord.begin_s for chord in plan.chords])
    spread_s = np.minimum(plan.preset.pad.stagger_s, _LONGEST_STAGGER * lengths_s)
    places = entry.argsort(axis=1).argsort(axis=1) + _ENTRY_STRAY * (entry - 0.5)
    delays_s = spread_s[:, None] * places / (entry.shape[1] - 1)
    return np.asarray(np.maximum(delays_s, 0.0) + _LEAST_ENTRY_BEATS * plan.beat_s, np.float64)
