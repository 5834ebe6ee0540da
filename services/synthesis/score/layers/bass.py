"""Pure. The lowest layers: the drone, and the bass that avoids it."""

from __future__ import annotations

from typing import Final

from services.synthesis.score.events import Layer
from services.synthesis.score.hashing import Draw
from services.synthesis.score.plan import PlacedChord, Plan
from services.synthesis.score.theory import semitones
from services.synthesis.score.writing import Sheet

_LEAST_GAIN: Final = 0.9
_GAIN_RANGE: Final = 0.2
"""Notes are 0.9 to 1.1 times as loud as their preset says."""

_DRONE_OVERLAP_S: Final = 7.0
"""How long a tone of the drone sounds on after it was struck again."""
_FIRST_STRIKES_S: Final = 5.0
"""The tones of a passage's drone enter within this time."""
_LAST_STRIKE: Final = 0.45
"""A tone is not struck again when less than this share of its period is left of the passage."""
_DRONE_PANS: Final = (0.0, -0.3, 0.3, 0.15)
"""Of the drone's voices, in their order."""
_DRONE_BRIGHTNESS: Final = 0.6
_BASS_BRIGHTNESS: Final = 0.7
"""Shares of the preset's brightness: low tones are duller than the rest."""

_BASS_CENTRE_MIDI: Final = 42
_BASS_WANDER_MIDI: Final = 12
"""The bass prefers octaves near 42, up to six semitones above or below: another place from chord to chord."""
_LOWEST_MIDI: Final = 28
_HIGHEST_MIDI: Final = 58
_GOLDEN: Final = 0.618034
"""Part of the register by which the bass's place moves on from slot to slot."""
_GROWL: Final = 60.0
"""What a low semitone costs: more than any octave."""
_BASS_SHARE: Final = 0.85
"""Share of the time that the bass is wholly there."""
_ABSENT: Final = 0.3
"""Added to the threshold where it is not."""
_ENTRY_BEATS: Final = 0.3
"""The bass enters within this part of a beat."""
_BASS_OVERLAP_S: Final = 0.4
_LAST_BASS_OVERLAP_S: Final = 0.2
"""How long a bass note is held into the next one, and into the next chord."""
_ANSWER_BARS: Final = 2.5
_STEP_BARS: Final = 2
"""Bars that a chord must last for a second bass note of these styles."""
_BASS_ANSWER: Final = 0.15
_BASS_STEP: Final = 0.35
"""Added to the bass's threshold for its second note."""
_SECOND_BASS_GAIN: Final = 0.8


def write_drone(sheet: Sheet, plan: Plan) -> None:
    """Write long tones on the passage's centre, each struck again with a period of its own."""
    dice = plan.own.at(Draw.DRONE)
    for number, tone in enumerate(plan.drone):
        voice = plan.preset.drone[tone.voice]
        period_s = plan.card.drone_periods_s[number % len(plan.card.drone_periods_s)]
        first_s = _FIRST_STRIKES_S * (0.15 + 0.85 * voice.lag) * dice.unit(number, 0) if number else 0.0
        # Whole beats, and a part of one: no tempo has the sound of another.
        onset_s = (round(first_s / plan.beat_s) + 0.2 * dice.unit(number, 1)) * plan.beat_s
        strike = 0
        while onset_s < plan.length_s:
            strike += 1
            following_s = (round((onset_s + period_s) / plan.beat_s) + 0.2 * dice.unit(number, 1)) * plan.beat_s
            if following_s > plan.length_s - _LAST_STRIKE * period_s:
                following_s = plan.length_s
            level = plan.level(onset_s)
            if plan.wanted(onset_s, onset_s):
                gain = voice.gain * tone.share * (_LEAST_GAIN + _GAIN_RANGE * dice.unit(number, 2, strike))
                sheet.add(
                    Layer.DRONE,
                    onset_s,
                    following_s - onset_s + _DRONE_OVERLAP_S,
                    tone.pitch_midi,
                    gain=gain * (1 + 0.6 * level),
                    pan=_DRONE_PANS[tone.voice % len(_DRONE_PANS)],
                    brightness=plan.brightness * _DRONE_BRIGHTNESS + 0.2 * level,
                    threshold=voice.threshold,
                )
            onset_s = following_s


def write_bass(sheet: Sheet, plan: Plan) -> None:
    """Write the lowest notes of the chords, in the octave where they rub least against the drone."""
    style = plan.preset.bass
    drone = [tone.pitch_midi for tone in plan.drone]
    dice = plan.own.at(Draw.BASS)
    there = plan.presence(Layer.BASS, [chord.begin_s for chord in plan.chords], _BASS_SHARE)
    for chord in plan.chords:
        if not plan.wanted(chord.begin_s, chord.end_s):
            continue
        pitch = _bass_pitch(plan, chord, chord.bass, drone)
        length_s = chord.end_s - chord.begin_s
        level = plan.level(chord.begin_s)
        gain = style.gain * (_LEAST_GAIN + _GAIN_RANGE * dice.unit(chord.slot, 0)) * (1 + 0.4 * level)
        gain *= plan.gain(Layer.BASS)
        brightness = plan.brightness * _BASS_BRIGHTNESS + 0.2 * level
        threshold = style.threshold - 0.1 * level + 0.08 * dice.unit(chord.slot, 1)
        threshold += _ABSENT * (1 - float(there[chord.index])) - plan.busy(Layer.BASS)
        entry_s = _ENTRY_BEATS * plan.beat_s * (0.1 + 0.9 * dice.unit(chord.slot, 2))
        second_s = 0.0
        if style.style == "answer" and length_s >= _ANSWER_BARS * plan.bar_s:
            second_s = plan.bar_s * max(round(length_s / plan.bar_s / 2), 1)
        elif style.style == "step" and length_s >= _STEP_BARS * plan.bar_s and chord.index + 1 < len(plan.chords):
            second_s = length_s - plan.bar_s / 2
        first_s = second_s or length_s
        sheet.add(
            Layer.BASS,
            chord.begin_s + entry_s,
            first_s - entry_s + _BASS_OVERLAP_S,
            pitch,
            gain=gain,
            brightness=brightness,
            threshold=threshold,
        )
        if not second_s:
            continue
        if style.style == "answer":
            other_class = chord.classes[0] if chord.bass != chord.classes[0] else _upper_tone(chord)
            other = _bass_pitch(plan, chord, other_class, drone)
            other_threshold = threshold + _BASS_ANSWER
        else:
            following = plan.chords[chord.index + 1]
            other = _step_towards(chord, pitch, _bass_pitch(plan, following, following.bass, drone))
            other_threshold = threshold + _BASS_STEP
        if other != pitch and not any(abs(other - tone) == 1 for tone in (*drone, *chord.voicing)):
            sheet.add(
                Layer.BASS,
                chord.begin_s + second_s,
                length_s - second_s + _LAST_BASS_OVERLAP_S,
                other,
                gain=gain * _SECOND_BASS_GAIN,
                brightness=brightness,
                threshold=other_threshold,
            )


def _bass_pitch(plan: Plan, chord: PlacedChord, pitch_class: int, drone: list[int]) -> int:
    """The octave for a bass note in which it rubs least against the drone and the pad's low voices."""
    # An even spread, so that from key to key a few notes at a time turn back into the register.
    wander = (plan.own.unit(Draw.BASS, 3) + chord.slot * _GOLDEN) % 1.0 - 0.5
    centre = _BASS_CENTRE_MIDI + _BASS_WANDER_MIDI * wander

    def rub(pitch: int) -> float:
        growls = any(abs(pitch - other) == 1 for other in (*drone, *chord.voicing[:2]))
        return (_GROWL if growls else 0.0) + abs(pitch - centre)

    lowest = _LOWEST_MIDI + (pitch_class + plan.tonic_midi - _LOWEST_MIDI) % 12
    octaves = [p for p in (lowest, lowest + 12, lowest + 24) if p <= _HIGHEST_MIDI]
    return min(octaves, key=rub)


def _upper_tone(chord: PlacedChord) -> int:
    """The chord's fifth, or the tone nearest to a fifth."""
    root = chord.classes[0]
    return min(chord.classes[1:], key=lambda pitch_class: abs((pitch_class - root) % 12 - 7))


def _step_towards(chord: PlacedChord, pitch: int, goal: int) -> int:
    """The note of the scale next to `goal`, on the side of `pitch`; `pitch` if the two are equal."""
    scale = [chord.tonic_midi - 24 + semitones(chord.mode, degree) for degree in range(-8, 15)]
    below = [p for p in scale if p < goal]
    above = [p for p in scale if p > goal]
    if goal == pitch:
        return pitch
    return (below[-1] if below else goal) if goal > pitch else (above[0] if above else goal)
