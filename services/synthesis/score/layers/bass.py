"""Pure. The lowest layers: the drone, and the bass that avoids it."""

from __future__ import annotations

from typing import Final

from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer
from services.synthesis.score.form import PARTS, Draw
from services.synthesis.score.plan import PlacedChord, Plan
from services.synthesis.score.theory import semitones
from services.synthesis.score.writing import Sheet

_PART_S: Final = SECTION_S / PARTS
_LEAST_GAIN: Final = 0.9
_GAIN_RANGE: Final = 0.2
"""Notes are 0.9 to 1.1 times as loud as their preset says."""

_DRONE_OVERLAP_S: Final = 7.0
"""How long a tone of the drone sounds on after it was struck again."""
_DRONE_PANS: Final = (0.0, -0.3, 0.3, 0.15)
"""Of the drone's voices, in their order."""
_DRONE_BRIGHTNESS: Final = 0.6
_BASS_BRIGHTNESS: Final = 0.7
"""Shares of the preset's brightness: low tones are duller than the rest."""

_BASS_CENTRE_MIDI: Final = 43
"""The bass prefers octaves near this pitch."""
_MUDDY_BELOW_MIDI: Final = 48
"""Below this pitch seconds and thirds sound muddy."""
_RUBS: Final = {1: (20.0, 8.0), 2: (9.0, 3.0), 3: (2.0, 0.0), 4: (2.0, 0.0)}
"""How much two low tones disturb each other, by their distance in semitones: in the muddy register, and above it."""
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


def write_drone(sheet: Sheet, plan: Plan, home_mode: str) -> None:
    """Write long tones that never all end together. Those struck late in a section sound into the next one.

    Args:
        home_mode: the stream's mode; the drone follows no colour.
    """
    dice = plan.form.own.at(Draw.DRONE)
    pitches = _drone_pitches(plan, home_mode)
    for number, voice in enumerate(plan.preset.drone):
        pitch = pitches[number]
        for part in range(PARTS):
            onset_s = (part + voice.lag) * _PART_S
            level = plan.level(onset_s)
            sheet.add(
                Layer.DRONE,
                onset_s,
                _PART_S + _DRONE_OVERLAP_S,
                pitch,
                gain=voice.gain * (_LEAST_GAIN + _GAIN_RANGE * dice.unit(number, part)) * (1 + 0.6 * level),
                pan=_DRONE_PANS[number % len(_DRONE_PANS)],
                brightness=plan.preset.brightness * _DRONE_BRIGHTNESS + 0.2 * level,
                threshold=voice.threshold,
            )


def write_bass(sheet: Sheet, plan: Plan, home_mode: str) -> None:
    """Write the lowest notes of the chords, in the octave where they rub least against the drone."""
    style = plan.preset.bass
    drone = _drone_pitches(plan, home_mode)
    dice = plan.form.own.at(Draw.BASS)
    for chord in plan.chords:
        if plan.form.presence[chord.part].bass == 0:
            continue
        pitch = _bass_pitch(chord, chord.bass, drone)
        length_s = chord.end_s - chord.begin_s
        level = plan.form.arc.level(chord.position)
        gain = style.gain * (_LEAST_GAIN + _GAIN_RANGE * dice.unit(chord.index, 0)) * (1 + 0.4 * level)
        brightness = plan.preset.brightness * _BASS_BRIGHTNESS + 0.2 * level
        threshold = style.threshold - 0.1 * level + 0.08 * dice.unit(chord.index, 1)
        second_s = 0.0
        if style.style == "answer" and length_s >= _ANSWER_BARS * plan.bar_s:
            second_s = plan.bar_s * max(round(length_s / plan.bar_s / 2), 1)
        elif style.style == "step" and length_s >= _STEP_BARS * plan.bar_s and chord.index + 1 < len(plan.chords):
            second_s = length_s - plan.bar_s / 2
        first_s = second_s or length_s
        sheet.add(
            Layer.BASS,
            chord.begin_s,
            first_s + _BASS_OVERLAP_S,
            pitch,
            gain=gain,
            brightness=brightness,
            threshold=threshold,
        )
        if not second_s:
            continue
        if style.style == "answer":
            other_class = chord.classes[0] if chord.bass != chord.classes[0] else _upper_tone(chord)
            other = _bass_pitch(chord, other_class, drone)
            other_threshold = threshold + _BASS_ANSWER
        else:
            following = plan.chords[chord.index + 1]
            other = _step_towards(chord, pitch, _bass_pitch(following, following.bass, drone))
            other_threshold = threshold + _BASS_STEP
        if other != pitch:
            sheet.add(
                Layer.BASS,
                chord.begin_s + second_s,
                length_s - second_s + _LAST_BASS_OVERLAP_S,
                other,
                gain=gain * _SECOND_BASS_GAIN,
                brightness=brightness,
                threshold=other_threshold,
            )


def _bass_pitch(chord: PlacedChord, pitch_class: int, drone: list[int]) -> int:
    """The octave for a bass note in which it rubs least against the drone and the pad's lowest voice."""

    def rub(pitch: int) -> float:
        # A bass above the pad costs 6. Seconds and thirds cost as `_RUBS` says, a semitone from the centre costs 0.3.
        cost = 6.0 if pitch > chord.voicing[0] else 0.0
        for other in (*drone, chord.voicing[0]):
            low = min(pitch, other) < _MUDDY_BELOW_MIDI
            muddy, clear = _RUBS.get(abs(pitch - other), (0.0, 0.0))
            cost += muddy if low else clear
        return cost + 0.3 * abs(pitch - _BASS_CENTRE_MIDI)

    octaves: list[int] = [36 + pitch_class, 48 + pitch_class]
    if pitch_class >= 9:
        octaves.append(24 + pitch_class)
    return min(octaves, key=rub)


def _drone_pitches(plan: Plan, home_mode: str) -> list[int]:
    """The drone's pitches in the key of C; in a mode without a perfect fifth the fifth becomes the octave."""
    return [
        voice.octave_midi
        + semitones(home_mode, 7 if voice.degree == 4 and semitones(home_mode, 4) != 7 else voice.degree)
        for voice in plan.preset.drone
    ]


def _upper_tone(chord: PlacedChord) -> int:
    """The chord's fifth, or the tone nearest to a fifth."""
    root = chord.classes[0]
    return min(chord.classes[1:], key=lambda pitch_class: abs((pitch_class - root) % 12 - 7))


def _step_towards(chord: PlacedChord, pitch: int, goal: int) -> int:
    """The note of the scale next to `goal`, on the side of `pitch`; `pitch` if the two are equal."""
    scale = [36 + semitones(chord.mode, degree) for degree in range(-7, 15)]
    below = [p for p in scale if p < goal]
    above = [p for p in scale if p > goal]
    if goal == pitch:
        return pitch
    return (below[-1] if below else goal) if goal > pitch else (above[0] if above else goal)
