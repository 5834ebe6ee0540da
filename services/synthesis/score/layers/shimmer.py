"""Pure. The shimmer: high chord tones, and the figure where a section culminates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer
from services.synthesis.score.form import Draw
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
_HALF_SHIMMER: Final = 0.4
"""Added to the threshold, times how much of the shimmer a part lacks."""
_BREATH_SHIMMER: Final = 0.2
"""Added to the threshold while the music breathes."""
_HALO_AFTER: Final = 0.3
_HALO_GAIN: Final = 0.7
_HALO_THRESHOLD: Final = 0.25
"""A halo's second note: after this share of the first one's length, its gain, and what its threshold has more."""
_DROP_GAIN: Final = 0.85
_DROP_THRESHOLD: Final = 0.12
"""Each drop of a group relative to the one before: its gain, and what its threshold has more."""
_FAST_GRID_STEP_S: Final = 0.4
"""On a slower grid drops fall at half its steps."""
_ARRIVAL_NOTES: Final = 6
"""Of the figure where the section culminates, at most."""


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
    dice = plan.form.own.at(Draw.SHIMMER)
    low_s, high_s = style.ring_s
    total = max(round(style.per_minute * SECTION_S / 60), 1)
    order = dice.order(total, Draw.THRESHOLD)
    spacing_s = SECTION_S / total
    for number, rank in enumerate(order):
        onset_s = (number + _FIRST_MOMENT + _MOMENT_RANGE * dice.unit(number, 0)) * spacing_s
        chord = plan.chord_at(onset_s)
        level = plan.level(onset_s)
        presence = plan.form.presence[chord.part].shimmer
        if presence == 0:
            continue
        tones = chord.tones(style.low_midi, style.high_midi)
        place = dice.below(len(tones), number, 1)
        threshold = style.threshold + style.spread * (rank + 0.5) / total - 0.25 * level
        threshold += _HALF_SHIMMER * (1 - presence)
        threshold += _BREATH_SHIMMER if chord.breath else 0.0
        gain = style.gain * (_LEAST_GAIN + _GAIN_RANGE * dice.unit(number, 2)) * (1 + 0.6 * level)
        pan = 2 * _SHIMMER_WIDTH * dice.unit(number, 3) - _SHIMMER_WIDTH
        brightness = plan.preset.brightness + _BRIGHTER + 0.3 * level
        ring_s = low_s + (high_s - low_s) * dice.unit(number, 4)
        first = _ShimmerNote(0.0, tones[place], 1.0, 0.0)
        if style.style == "sparkle":
            group = [first]
        elif style.style == "halo":
            other = tones[(place + 2) % len(tones)]
            group = [first, _ShimmerNote(ring_s * _HALO_AFTER, other, _HALO_GAIN, _HALO_THRESHOLD)]
        else:
            size = 2 + dice.below(3, number, 5)
            step_s = plan.grid_step_s * (0.5 if plan.grid_step_s > _FAST_GRID_STEP_S else 1.0)
            group = [
                _ShimmerNote(
                    drop * step_s * (0.9 + 0.2 * dice.unit(number, 6, drop)),
                    tones[place - drop],
                    _DROP_GAIN**drop,
                    _DROP_THRESHOLD * drop,
                )
                for drop in range(min(size, place + 1))
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
    """Write one figure where the section culminates: the chord's tones in a row."""
    style = plan.preset.shimmer
    dice = plan.form.own.at(Draw.ARRIVAL)
    awake = [chord for chord in plan.chords if not chord.breath and plan.form.presence[chord.part].shimmer > 0]
    if not awake:
        return
    chord = min(awake, key=lambda candidate: abs(candidate.position - plan.form.arc.peak))
    tones = chord.tones(style.low_midi, style.high_midi)
    # Drops fall, the other styles rise.
    run = (tones[::-1] if style.style == "drops" else tones)[:_ARRIVAL_NOTES]
    step_s = plan.grid_step_s * (2.0 if style.style == "halo" else 1.0)
    level = plan.form.arc.level(chord.position)
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
                brightness=plan.preset.brightness + _BRIGHTER + 0.3 * level,
                threshold=style.threshold + 0.15 + 0.05 * number,
            )
