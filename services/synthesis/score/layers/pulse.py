"""Pure. The pulse: a soft beat in chord tones."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from services.synthesis.score.events import Layer
from services.synthesis.score.hashing import Draw
from services.synthesis.score.plan import Plan
from services.synthesis.score.writing import Sheet

_LONGEST_PULSE_EIGHTH_S: Final = 0.5
"""A pulse's notes are held as at this length of an eighth note, at most."""
_SHORTEST_PULSE_S: Final = 0.18
_PULSE_TONES_MIDI: Final = 24
"""Chord tones of a pulse lie within this range."""
_WANDER_MIDI: Final = 9
"""Width of the range, in semitones, in which the lowest tone of a pulse wanders."""
_GOLDEN: Final = 0.618034
_LOW_MIDI: Final = 60
"""Below it a tone that is a semitone from the drone or the pad gives way to the next one."""
_PULSE_HUMAN_S: Final = 0.006
"""Onsets of a pulse lie up to this much beside the beat."""
_RARE_STEP: Final = 0.15
_RARE_STEP_THRESHOLD: Final = 0.2
"""Chance that a step's threshold is higher, and by how much."""
_PULSE_SHARE: Final = 0.7
"""Share of the time that the pulse is there."""
_ABSENT: Final = 0.3
"""Added to the threshold, times how much of the pulse is missing."""
_LEAST_PULSE: Final = 0.08
"""No pulse sounds below this intensity."""


def write_pulse(sheet: Sheet, plan: Plan) -> None:
    """Write a beat in chord tones, eighth for eighth in tempo. Its pattern is steady, single steps take other tones."""
    style = plan.preset.pulse
    dice = plan.own.at(Draw.PULSE)
    eighth_s = plan.beat_s / 2
    pattern_s = 8 * style.bars * eighth_s
    # The passage begins with a bar of the whole stream's grid; the pattern begins with it.
    first = max(math.floor(max(plan.window_s[0], 0.0) / pattern_s) - 1, 0)
    last = math.ceil(min(plan.window_s[1] + _PULSE_HUMAN_S, plan.length_s) / pattern_s)
    if last <= first:
        return
    tones_of = [_tones(plan, index, style.low_midi) for index in range(len(plan.chords))]
    width = max(len(tones) for tones in tones_of)
    tones = np.array([[*row, *([row[-1]] * (width - len(row)))] for row in tones_of], np.float64)
    # The pulse comes and goes from pattern to pattern.
    turns_s = np.arange(first, last, dtype=np.float64) * np.float64(pattern_s)
    presences, levels = plan.presence(Layer.PULSE, turns_s, _PULSE_SHARE), plan.levels(turns_s)

    eighth, tone_number, wanted, accent = np.array(style.steps, np.float64).T
    number = np.arange(first * len(style.steps), last * len(style.steps), dtype=np.int64)
    turn, step = np.divmod(number, len(style.steps))
    presence, level = presences[turn - first], levels[turn - first]
    onset_s = turn * pattern_s + eighth[step] * eighth_s
    chord = plan.chords_at(onset_s)
    wanders = dice.at(0).units_at(number) < style.wander
    tone = tone_number[step].astype(np.int64)
    elsewhere = (dice.at(1).units_at(number) * 4).astype(np.int64) - 1
    tone = np.clip(np.where(wanders, tone + elsewhere, tone), 0, width - 1)
    human = dice.at(2).units_at(number)
    threshold = wanted[step] - 0.25 * level + 0.05 * (dice.at(3).units_at(number) - 0.5)
    threshold = threshold + np.where(dice.at(4).units_at(number) < _RARE_STEP, _RARE_STEP_THRESHOLD, 0.0)
    threshold = threshold + _ABSENT * (1 - presence) - plan.busy(Layer.PULSE)
    # Half a pulse is the first half of its pattern.
    keep = step < len(style.steps) * presence
    sheet.add_many(
        Layer.PULSE,
        (onset_s + _PULSE_HUMAN_S * (2 * human - 1))[keep],
        np.full(int(keep.sum()), max(style.hold * min(eighth_s, _LONGEST_PULSE_EIGHTH_S), _SHORTEST_PULSE_S)),
        tones[chord, tone][keep],
        gain=(style.gain * accent[step] * (0.85 + 0.3 * human) * (1 + 0.6 * level) * plan.gain(Layer.PULSE))[keep],
        pan=(0.3 * np.where(step % 2 == 0, -1.0, 1.0) * (0.5 + human / 2))[keep],
        brightness=(plan.brightness * 0.8 + 0.3 * level)[keep],
        threshold=np.maximum(threshold, _LEAST_PULSE)[keep],
    )


def _tones(plan: Plan, index: int, low_midi: int) -> list[int]:
    """The tones of a chord that its pulse may take."""
    chord = plan.chords[index]
    held = {tone.pitch_midi for tone in plan.drone} | set(chord.voicing)
    # The register wanders from chord to chord, so that no key drops all chords by an octave.
    low_midi += int(_WANDER_MIDI * ((plan.own.unit(Draw.PULSE, 6) + chord.slot * _GOLDEN) % 1.0 - 0.5))
    tones = chord.tones(low_midi, low_midi + _PULSE_TONES_MIDI)
    return [p for p in tones if p >= _LOW_MIDI or not {p - 1, p + 1} & held] or tones
