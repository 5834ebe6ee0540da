"""Pure. The pad: the chords, voice by voice."""

from __future__ import annotations

from typing import Final

from services.synthesis.score.events import Layer
from services.synthesis.score.form import Draw
from services.synthesis.score.plan import Plan
from services.synthesis.score.writing import Sheet

_LEAST_GAIN: Final = 0.9
_GAIN_RANGE: Final = 0.2
"""Notes are 0.9 to 1.1 times as loud as their preset says."""
_LONGEST_TIE: Final = 3
"""Chords that a voice of the pad holds one note over, at most."""
_PAD_STAGGER: Final = 0.25
"""Share of a chord's length that its voices' entries may spread over, at most."""
_FIRM_VOICE_STAGGER: Final = 0.3
"""Share of that spread for voices that always sound, so that no chord begins with a hole."""
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
    dice = plan.form.own.at(Draw.PAD)
    count = len(plan.chords)
    for voice, base_threshold in enumerate(pad.thresholds):
        index = 0
        while index < count:
            chord = plan.chords[index]
            last = index
            while (
                last + 1 < count
                and last - index + 1 < _LONGEST_TIE
                and plan.chords[last + 1].voicing[voice] == chord.voicing[voice]
                and dice.chance(pad.tie, voice, last + 1)
            ):
                last += 1
            length_s = plan.chords[last].end_s - chord.begin_s
            level = plan.form.arc.level(chord.position)
            delay_s = min(pad.stagger_s, _PAD_STAGGER * length_s) * dice.unit(voice, index, 1)
            delay_s *= _FIRM_VOICE_STAGGER if base_threshold <= 0 else 1
            threshold = 0.0
            if base_threshold:
                threshold = base_threshold - 0.15 * level
                threshold += _THRESHOLD_RANGE * (dice.unit(voice, index, 2) - 0.5)
            spread = 2 * voice / (len(pad.thresholds) - 1) - 1
            pan = (
                _PAD_WIDTH
                * spread
                * (1 if index % 2 else -1)
                * (_LEAST_SPREAD + _SPREAD_RANGE * dice.unit(voice, index, 4))
            )
            gain = pad.gain * (_LEAST_GAIN + _GAIN_RANGE * dice.unit(voice, index, 3)) * (1 + 0.7 * level)
            brightness = plan.preset.brightness + 0.35 * level + 0.06 * spread
            sheet.add(
                Layer.PAD,
                chord.begin_s + delay_s,
                length_s - delay_s + pad.overlap_s,
                chord.voicing[voice],
                gain=gain,
                pan=pan,
                brightness=brightness,
                threshold=threshold,
            )
            from_top = len(pad.thresholds) - 1 - voice
            if from_top < len(pad.doubles):
                sheet.add(
                    Layer.PAD,
                    chord.begin_s + _DOUBLE_FROM * length_s,
                    _DOUBLE_HOLD * length_s,
                    chord.voicing[voice] + 12,
                    gain=_DOUBLE_GAIN * gain,
                    pan=-pan,
                    brightness=brightness - 0.1,
                    threshold=pad.doubles[from_top] - 0.3 * level,
                )
            index = last + 1
