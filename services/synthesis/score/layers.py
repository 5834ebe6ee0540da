"""Pure. The layers besides melody: drone, bass, pad, shimmer, pulse, and the air's curve.

Each layer follows the section's arc (`level`, about -0.3 to 0.6): full passages are louder and brighter, and notes
sound at lower intensities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer
from services.synthesis.score.form import PARTS, Draw, join_unit
from services.synthesis.score.plan import PlacedChord, Plan
from services.synthesis.score.theory import TONIC_MIDI, semitones
from services.synthesis.score.writing import Sheet

_PART_S: Final = SECTION_S / PARTS
_LEAST_GAIN: Final = 0.9
_GAIN_RANGE: Final = 0.2
"""Notes of drone, bass and pad are 0.9 to 1.1 times as loud as their preset says."""

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
"""A chord must last so many bars for a second bass note of these styles."""
_BASS_ANSWER: Final = 0.15
_BASS_STEP: Final = 0.35
"""Added to the bass's threshold for its second note."""
_SECOND_BASS_GAIN: Final = 0.8

_LONGEST_TIE: Final = 3
"""Chords that a voice of the pad holds one note over, at most."""
_PAD_STAGGER: Final = 0.25
"""Share of a chord's length that its voices' entries may spread over, at most."""
_FIRM_VOICE_STAGGER: Final = 0.3
"""Share of that spread for voices that always sound, so that no chord begins with a hole."""
_PAD_WIDTH: Final = 0.6
"""Pan of the pad's outermost voices; they change sides from chord to chord."""
_DOUBLE_FROM: Final = 0.2
_DOUBLE_HOLD: Final = 0.7
"""A voice's octave begins and lasts for these shares of its note: a light on the chord, not a voice of its own."""
_DOUBLE_GAIN: Final = 0.45

_SHIMMER_WIDTH: Final = 0.85
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
_QUICK_GRID_STEP_S: Final = 0.4
"""On a slower grid drops fall at half its steps."""
_ARRIVAL_NOTES: Final = 6
"""Of the figure where the section culminates, at most."""

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

_LEAST_AIR: Final = 0.02
"""The air never falls silent."""


def write_drone(sheet: Sheet, plan: Plan, home_mode: str) -> None:
    """Long tones that never all end together. Those struck late in a section sound into the next one."""
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
    """The chord's foundation, in the octave where it rubs least against the drone."""
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


def write_pad(sheet: Sheet, plan: Plan) -> None:
    """The chords, voice by voice: a voice that stays may be held over, a voice that moves steps to its next note."""
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
            threshold = (
                base_threshold - 0.15 * level + 0.06 * (dice.unit(voice, index, 2) - 0.5) if base_threshold else 0.0
            )
            spread = 2 * voice / (len(pad.thresholds) - 1) - 1
            pan = _PAD_WIDTH * spread * (1 if index % 2 else -1) * (0.6 + 0.4 * dice.unit(voice, index, 4))
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


@dataclass(frozen=True, slots=True)
class _ShimmerNote:
    """A note of a group, relative to the group: seconds after its start, factor of its gain, added to its threshold."""

    after_s: float
    pitch_midi: int
    gain: float
    threshold: float


def write_shimmer(sheet: Sheet, plan: Plan) -> None:
    """High chord tones at irregular moments, more of them where the arc is high."""
    style = plan.preset.shimmer
    dice = plan.form.own.at(Draw.SHIMMER)
    low_s, high_s = style.ring_s
    total = max(round(style.per_minute * SECTION_S / 60), 1)
    order = dice.order(total, Draw.THRESHOLD)
    spacing_s = SECTION_S / total
    for number, rank in enumerate(order):
        # One in each stretch of time: irregular, yet without clusters and holes.
        onset_s = (number + 0.1 + 0.8 * dice.unit(number, 0)) * spacing_s
        chord = plan.chord_at(onset_s)
        level = plan.level(onset_s)
        presence = plan.form.presence[chord.part].shimmer
        if presence == 0:
            continue
        tones = _tones(chord, style.low_midi, style.high_midi)
        place = dice.below(len(tones), number, 1)
        threshold = style.threshold + style.spread * (rank + 0.5) / total - 0.25 * level
        threshold += _HALF_SHIMMER * (1 - presence)
        threshold += _BREATH_SHIMMER if chord.breath else 0.0
        gain = style.gain * (0.7 + 0.5 * dice.unit(number, 2)) * (1 + 0.6 * level)
        pan = 2 * _SHIMMER_WIDTH * dice.unit(number, 3) - _SHIMMER_WIDTH
        brightness = plan.preset.brightness + 0.2 + 0.3 * level
        ring_s = low_s + (high_s - low_s) * dice.unit(number, 4)
        first = _ShimmerNote(0.0, tones[place], 1.0, 0.0)
        if style.style == "sparkle":
            group = [first]
        elif style.style == "halo":
            third_above = tones[(place + 2) % len(tones)]
            group = [first, _ShimmerNote(ring_s * _HALO_AFTER, third_above, _HALO_GAIN, _HALO_THRESHOLD)]
        else:
            size = 2 + dice.below(3, number, 5)
            step_s = plan.grid_step_s * (0.5 if plan.grid_step_s > _QUICK_GRID_STEP_S else 1.0)
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
    """One figure where the section culminates: the chord's tones in a row."""
    style = plan.preset.shimmer
    dice = plan.form.own.at(Draw.ARRIVAL)
    awake = [chord for chord in plan.chords if not chord.breath and plan.form.presence[chord.part].shimmer > 0]
    if not awake:
        return
    chord = min(awake, key=lambda candidate: abs(candidate.position - plan.form.arc.peak))
    tones = _tones(chord, style.low_midi, style.high_midi)
    # Rain falls, everything else rises.
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
                brightness=plan.preset.brightness + 0.2 + 0.3 * level,
                threshold=style.threshold + 0.15 + 0.05 * number,
            )


def write_pulse(sheet: Sheet, plan: Plan) -> None:
    """A beat in chord tones. Its pattern is steady, single steps take other tones."""
    style = plan.preset.pulse
    dice = plan.form.own.at(Draw.PULSE)
    # At a quick bpm the pattern takes twice as many bars: a hurried pulse is no longer soft.
    stretch = 2 if plan.beat_s < _SHORTEST_PULSE_BEAT_S else 1
    eighth_s = stretch * plan.beat_s / 2
    pattern_s = 8 * style.bars * eighth_s
    count = math.ceil(SECTION_S / pattern_s)
    breath = np.array([chord.breath for chord in plan.chords])
    tones_of = [_tones(chord, style.low_midi, style.low_midi + _PULSE_TONES_MIDI) for chord in plan.chords]
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


def air_curve(plan: Plan, seed: int, section: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Times and levels of the air, see `events.Section`: gusts between the levels that neighbouring sections share."""
    air = plan.preset.air
    dice = plan.form.own.at(Draw.AIR)
    times = np.linspace(0.0, float(SECTION_S), 2 * air.gusts + 1)
    number = np.arange(len(times), dtype=np.int64)
    # Every second point is a crest, those between are lulls.
    crest = np.where(number % 2 == 1, 1.0, -1.0)
    position = times / SECTION_S
    level = air.level + air.depth * 0.5 * crest * (0.3 + 0.7 * dice.units_at(number))
    level += 0.25 * air.depth * np.array([plan.form.arc.level(float(p)) for p in position])
    level[0] = air.level + 0.4 * air.depth * (join_unit(seed, section, Draw.AIR) - 0.5)
    level[-1] = air.level + 0.4 * air.depth * (join_unit(seed, section + 1, Draw.AIR) - 0.5)
    times[1:-1] += (dice.at(1).units_at(number[1:-1]) - 0.5) * 0.6 * (times[1] - times[0])
    return times, np.clip(level, _LEAST_AIR, 1.0).astype(np.float32)


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
    """The degree next to the next bass note, on the side of this one; this pitch again if both are equal."""
    scale = [36 + semitones(chord.mode, degree) for degree in range(-7, 15)]
    below = [p for p in scale if p < goal]
    above = [p for p in scale if p > goal]
    if goal == pitch:
        return pitch
    return (below[-1] if below else goal) if goal > pitch else (above[0] if above else goal)


def _tones(chord: PlacedChord, low_midi: int, high_midi: int) -> list[int]:
    """The chord's tones from low to high, at least one."""
    return [p for p in range(low_midi, high_midi + 1) if (p - TONIC_MIDI) % 12 in chord.classes]
