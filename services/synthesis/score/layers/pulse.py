"""Pure. The pulse: a soft beat in chord tones."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer
from services.synthesis.score.form import Draw
from services.synthesis.score.plan import Plan
from services.synthesis.score.writing import Sheet

_SHORTEST_PULSE_BEAT_S: Final = 0.5
_LONGEST_PULSE_EIGHTH_S: Final = 0.5
"""A pulse's notes are held as at this length of an eighth note, at most."""
_SHORTEST_PULSE_S: Final = 0.18
_PULSE_TONES_MIDI: Final = 24
"""Chord tones of a pulse lie within this range."""
_PULSE_HUMAN_S: Final = 0.006
"""Onsets of a pulse lie up to this much beside the beat."""
_RARE_STEP: Final = 0.15
_RARE_STEP_THRESHOLD: Final = 0.2
"""Chance that a step's threshold is higher, and by how much."""
_BREATH_PULSE: Final = 0.35
_BREATH_PULSE_RESTS: Final = 0.7
"""While the music breathes: added to the threshold, and the chance that a step rests."""
_HALF_PULSE: Final = 0.3
"""Added to the threshold, times how much of the pulse a part lacks."""
_LEAST_PULSE: Final = 0.08
"""No pulse sounds below this intensity."""


def write_pulse(sheet: Sheet, plan: Plan) -> None:
    """Write a beat in chord tones. Its pattern is steady, single steps take other tones."""
    style = plan.preset.pulse
    dice = plan.form.own.at(Draw.PULSE)
    # At a quick bpm the pattern takes twice as many bars: a hurried pulse is no longer soft.
    stretch = 2 if plan.beat_s < _SHORTEST_PULSE_BEAT_S else 1
    eighth_s = stretch * plan.beat_s / 2
    pattern_s = 8 * style.bars * eighth_s
    count = math.ceil(SECTION_S / pattern_s)
    breath = np.array([chord.breath for chord in plan.chords])
    tones_of = [chord.tones(style.low_midi, style.low_midi + _PULSE_TONES_MIDI) for chord in plan.chords]
    width = max(len(tones) for tones in tones_of)
    tones = np.array([[*row, *([row[-1]] * (width - len(row)))] for row in tones_of], np.float64)
    levels = np.array([plan.form.arc.level(chord.position) for chord in plan.chords])
    presence = np.array([plan.form.presence[chord.part].pulse for chord in plan.chords])

    eighth, tone_number, wanted, accent = np.array(style.steps, np.float64).T
    number = np.arange(count * len(style.steps), dtype=np.int64)
    turn, step = np.divmod(number, len(style.steps))
    onset_s = turn * pattern_s + eighth[step] * eighth_s
    chord = plan.chords_at(onset_s)
    wanders = dice.at(0).units_at(number) < style.wander
    tone = tone_number[step].astype(np.int64)
    elsewhere = (dice.at(1).units_at(number) * 4).astype(np.int64) - 1
    tone = np.clip(np.where(wanders, tone + elsewhere, tone), 0, width - 1)
    human = dice.at(2).units_at(number)
    level = levels[chord]
    threshold = wanted[step] - 0.25 * level + 0.05 * (dice.at(3).units_at(number) - 0.5)
    threshold = threshold + np.where(dice.at(4).units_at(number) < _RARE_STEP, _RARE_STEP_THRESHOLD, 0.0)
    threshold = threshold + np.where(breath[chord], _BREATH_PULSE, 0.0)
    threshold = threshold + _HALF_PULSE * (1 - presence[chord])
    # Half a pulse is the first half of its pattern.
    keep = (onset_s < SECTION_S) & (step < len(style.steps) * presence[chord])
    keep &= ~(breath[chord] & (dice.at(5).units_at(number) < _BREATH_PULSE_RESTS))
    sheet.add_many(
        Layer.PULSE,
        (onset_s + _PULSE_HUMAN_S * (2 * human - 1))[keep],
        np.full(int(keep.sum()), max(style.hold * min(eighth_s, _LONGEST_PULSE_EIGHTH_S), _SHORTEST_PULSE_S)),
        tones[chord, tone][keep],
        gain=(style.gain * accent[step] * (0.85 + 0.3 * human) * (1 + 0.6 * level))[keep],
        pan=(0.3 * np.where(step % 2 == 0, -1.0, 1.0) * (0.5 + human / 2))[keep],
        brightness=(plan.preset.brightness * 0.8 + 0.3 * level)[keep],
        threshold=np.maximum(threshold, _LEAST_PULSE)[keep],
    )
