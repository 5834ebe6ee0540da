"""Pure. The shimmer: high chord tones, and the figure where a passage culminates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.synthesis.score.events import Layer
from services.synthesis.score.hashing import Draw
from services.synthesis.score.plan import Plan
from services.synthesis.score.writing import Sheet

_FIRST_MOMENT: Final = 0.1
_MOMENT_RANGE: Final = 0.8
"""Each note lies at 0.1 to 0.9 of its own stretch of time: irregular, yet without clusters and holes."""
_LEAST_GAIN: Final = 0.7
_GAIN_RANGE: Final = 0.5
"""Notes are 0.7 to 1.2 times as loud as the preset says."""
_BRIGHTER: Final = 0.2
"""Added to the preset's brightness."""
_SHIMMER_WIDTH: Final = 0.85
"""Pan of the outermost notes."""
_SHIMMER_SHARE: Final = 0.8
"""Share of the time that the shimmer is there."""
_ABSENT: Final = 0.4
"""Added to the threshold, times how much of the shimmer is missing."""
_HALO_AFTER: Final = 0.3
_HALO_GAIN: Final = 0.7
_HALO_THRESHOLD: Final = 0.25
"""A halo's second note: after this share of the first one's length, its gain, and what its threshold has more."""
_DROP_GAIN: Final = 0.85
_DROP_THRESHOLD: Final = 0.12
"""Each drop of a group relative to the one before: its gain, and what its threshold has more."""
_FAST_GRID_STEP_S: Final = 0.4
"""On a slower grid drops fall at half its steps."""
_DRAWS: Final = 10
"""Draws for each group, four of them for its drops."""
_ARRIVAL_NOTES: Final = 6
"""Of the figure where the passage culminates, at most."""


@dataclass(frozen=True, slots=True)
class _ShimmerNote:
    """A note of a group.

    Attributes:
        after_s: onset, from the group's start.
        pitch_midi: in the key of C.
        gain: factor of the group's gain.
        threshold: added to the group's.
    """

    after_s: float
    pitch_midi: int
    gain: float
    threshold: float


def write_shimmer(sheet: Sheet, plan: Plan) -> None:
    """Write high chord tones at irregular moments, more of them where the arc is high."""
    style = plan.preset.shimmer
    dice = plan.own.at(Draw.SHIMMER)
    low_s, high_s = style.ring_s
    spacing_s = 60 / style.per_minute * plan.card.breath
    total = max(int(plan.length_s / spacing_s), 1)
    draws = dice.table(np.arange(total, dtype=np.int64), _DRAWS)
    onsets_s = (np.arange(total) + _FIRST_MOMENT + _MOMENT_RANGE * draws[:, 0]) * spacing_s
    presences = plan.presence(Layer.SHIMMER, onsets_s, _SHIMMER_SHARE).tolist()
    for number, rank in enumerate(dice.order(total, Draw.THRESHOLD)):
        onset_s, presence = float(onsets_s[number]), presences[number]
        if presence == 0 or not plan.wanted(onset_s, onset_s + high_s):
            continue
        _, choice, strength, side, length, size, *strays = draws[number].tolist()
        chord = plan.chord_at(onset_s)
        level = plan.level(onset_s)
        tones = chord.tones(style.low_midi, style.high_midi)
        place = int(choice * len(tones))
        threshold = style.threshold + style.spread * (rank + 0.5) / total - 0.25 * level
        threshold += _ABSENT * (1 - presence) - plan.busy(Layer.SHIMMER)
        gain = style.gain * (_LEAST_GAIN + _GAIN_RANGE * strength) * (1 + 0.6 * level)
        gain *= plan.gain(Layer.SHIMMER)
        pan = 2 * _SHIMMER_WIDTH * side - _SHIMMER_WIDTH
        brightness = plan.brightness + _BRIGHTER + 0.3 * level
        ring_s = low_s + (high_s - low_s) * length
        first = _ShimmerNote(0.0, tones[place], 1.0, 0.0)
        if style.style == "sparkle":
            group = [first]
        elif style.style == "halo":
            other = tones[(place + 2) % len(tones)]
            group = [first, _ShimmerNote(ring_s * _HALO_AFTER, other, _HALO_GAIN, _HALO_THRESHOLD)]
        else:
            step_s = plan.grid_step_s * (0.5 if plan.grid_step_s > _FAST_GRID_STEP_S else 1.0)
            group = [
                _ShimmerNote(
                    drop * step_s * (0.9 + 0.2 * strays[drop]),
                    tones[place - drop],
                    _DROP_GAIN**drop,
                    _DROP_THRESHOLD * drop,
                )
                for drop in range(min(2 + int(3 * size), place + 1))
            ]
        for note in group:
            # A note past the chord's end would belong to another harmony.
            if onset_s + note.after_s < chord.end_s:
                sheet.add(
                    Layer.SHIMMER,
                    onset_s + note.after_s,
                    ring_s,
                    note.pitch_midi,
                    gain=gain * note.gain,
                    pan=pan * (1 - note.threshold),
                    brightness=brightness,
                    threshold=threshold + note.threshold,
                )


def write_arrival(sheet: Sheet, plan: Plan) -> None:
    """Write one figure where the passage culminates: the chord's tones in a row."""
    style = plan.preset.shimmer
    dice = plan.own.at(Draw.ARRIVAL)
    chord = min(plan.chords, key=lambda candidate: abs(candidate.position - plan.form.arc.peak))
    tones = chord.tones(style.low_midi, style.high_midi)
    # Drops fall, the other styles rise.
    run = (tones[::-1] if style.style == "drops" else tones)[:_ARRIVAL_NOTES]
    step_s = plan.grid_step_s * (2.0 if style.style == "halo" else 1.0)
    level = plan.level(chord.begin_s)
    side = -1.0 if dice.chance(0.5, 0) else 1.0
    for number, pitch in enumerate(run):
        place = number / max(len(run) - 1, 1)
        onset_s = chord.begin_s + (number + 0.1 * dice.unit(1, number)) * step_s
        if onset_s < chord.end_s:
            sheet.add(
                Layer.SHIMMER,
                onset_s,
                style.ring_s[1],
                pitch,
                gain=style.gain * (0.7 + 0.4 * place) * (1 + 0.5 * level),
                pan=side * (1.2 * place - 0.6),
                brightness=plan.brightness + _BRIGHTER + 0.3 * level,
                threshold=style.threshold + 0.15 + 0.05 * number,
            )
