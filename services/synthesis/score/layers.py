"""The layers that are not melody: drone, bass, pad, shimmer, pulse, and the air's curve."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Layer
from services.synthesis.score.form import PARTS, Draw, join_unit
from services.synthesis.score.plan import PlacedChord, Plan
from services.synthesis.score.theory import semitones
from services.synthesis.score.writing import Sheet

_TONIC_MIDI: Final = 60
_DRONE_OVERLAP_S: Final = 7.0
_BASS_CENTRE_MIDI: Final = 43
_MUDDY_BELOW_MIDI: Final = 48
_SHORTEST_PULSE_BEAT_S: Final = 0.5
_PART_S: Final = SECTION_S / PARTS
_ARRIVAL_NOTES: Final = 6


def write_drone(sheet: Sheet, plan: Plan, home_mode: str) -> None:
    """Long tones that never all leave together. Those struck late in a section sound into the next one."""
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
                gain=voice.gain * (0.9 + 0.2 * dice.unit(number, part)) * (1 + 0.6 * level),
                pan=(0.0, -0.3, 0.3, 0.15)[number % 4],
                brightness=plan.preset.brightness * 0.6 + 0.2 * level,
                threshold=voice.threshold,
            )


def write_bass(sheet: Sheet, plan: Plan, home_mode: str) -> None:
    """The chord's foundation, in the octave where it does not growl with the drone."""
    style = plan.preset.bass
    drone = _drone_pitches(plan, home_mode)
    dice = plan.form.own.at(Draw.BASS)
    for chord in plan.chords:
        if plan.form.presence[chord.part].bass == 0:
            continue
        pitch = _bass_pitch(chord, chord.bass, drone)
        length_s = chord.end_s - chord.begin_s
        level = plan.form.arc.level(chord.position)
        gain = style.gain * (0.9 + 0.2 * dice.unit(chord.index, 0)) * (1 + 0.4 * level)
        brightness = plan.preset.brightness * 0.7 + 0.2 * level
        threshold = style.threshold - 0.1 * level + 0.08 * dice.unit(chord.index, 1)
        second_s = 0.0
        if style.style == "answer" and length_s >= 2.5 * plan.bar_s:
            second_s = plan.bar_s * max(round(length_s / plan.bar_s / 2), 1)
        elif style.style == "step" and length_s >= 2 * plan.bar_s and chord.index + 1 < len(plan.chords):
            second_s = length_s - plan.bar_s / 2
        first_s = second_s or length_s
        sheet.add(
            Layer.BASS, chord.begin_s, first_s + 0.4, pitch, gain=gain, brightness=brightness, threshold=threshold
        )
        if not second_s:
            continue
        if style.style == "answer":
            other_class = chord.classes[0] if chord.bass != chord.classes[0] else _upper_tone(chord)
            other = _bass_pitch(chord, other_class, drone)
            other_threshold = threshold + 0.15
        else:
            following = plan.chords[chord.index + 1]
            other = _step_towards(chord, pitch, _bass_pitch(following, following.bass, drone))
            other_threshold = threshold + 0.35
        if other != pitch:
            sheet.add(
                Layer.BASS,
                chord.begin_s + second_s,
                length_s - second_s + 0.2,
                other,
                gain=gain * 0.8,
                brightness=brightness,
                threshold=other_threshold,
            )


def write_pad(sheet: Sheet, plan: Plan) -> None:
    """The chords, voice by voice: a voice that stays may be tied over, a voice that moves steps into its new note."""
    pad = plan.preset.pad
    dice = plan.form.own.at(Draw.PAD)
    count = len(plan.chords)
    for voice, base_threshold in enumerate(pad.thresholds):
        index = 0
        while index < count:
            chord = plan.chords[index]
            last = index
            # Never more than three chords on one breath.
            while (
                last + 1 < count
                and last - index < 2
                and plan.chords[last + 1].voicing[voice] == chord.voicing[voice]
                and dice.chance(pad.tie, voice, last + 1)
            ):
                last += 1
            length_s = plan.chords[last].end_s - chord.begin_s
            level = plan.form.arc.level(chord.position)
            # Voices that always sound come first, so that no chord starts with a hole.
            delay_s = (
                min(pad.stagger_s, 0.25 * length_s) * dice.unit(voice, index, 1) * (0.3 if base_threshold <= 0 else 1)
            )
            threshold = (
                base_threshold - 0.15 * level + 0.06 * (dice.unit(voice, index, 2) - 0.5) if base_threshold else 0.0
            )
            spread = 2 * voice / (len(pad.thresholds) - 1) - 1
            pan = 0.6 * spread * (1 if index % 2 else -1) * (0.6 + 0.4 * dice.unit(voice, index, 4))
            gain = pad.gain * (0.9 + 0.2 * dice.unit(voice, index, 3)) * (1 + 0.7 * level)
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
                # The octave enters late and leaves early: a light on the chord, not a chord of its own.
                late_s = 0.2 * length_s
                sheet.add(
                    Layer.PAD,
                    chord.begin_s + late_s,
                    0.7 * length_s,
                    chord.voicing[voice] + 12,
                    gain=0.45 * gain,
                    pan=-pan,
                    brightness=brightness - 0.1,
                    threshold=pad.doubles[from_top] - 0.3 * level,
                )
            index = last + 1


def write_shimmer(sheet: Sheet, plan: Plan) -> None:
    """High chord tones at unforeseen moments, more where the arc is full."""
    style = plan.preset.shimmer
    dice = plan.form.own.at(Draw.SHIMMER)
    low_s, high_s = style.ring_s
    total = max(round(style.per_minute * SECTION_S / 60), 1)
    order = dice.order(total, Draw.THRESHOLD)
    spacing_s = SECTION_S / total
    for number, rank in enumerate(order):
        # One in each stretch of time: unforeseen, yet without heaps and holes.
        onset_s = (number + 0.1 + 0.8 * dice.unit(number, 0)) * spacing_s
        chord = _chord_at(plan, onset_s)
        level = plan.level(onset_s)
        presence = plan.form.presence[chord.part].shimmer
        if presence == 0:
            continue
        tones = _tones(chord, style.low_midi, style.high_midi)
        place = dice.below(len(tones), number, 1)
        threshold = style.threshold + style.spread * (rank + 0.5) / total - 0.25 * level + 0.4 * (1 - presence)
        threshold += 0.2 if chord.breath else 0.0
        gain = style.gain * (0.7 + 0.5 * dice.unit(number, 2)) * (1 + 0.6 * level)
        pan = 1.7 * dice.unit(number, 3) - 0.85
        brightness = plan.preset.brightness + 0.2 + 0.3 * level
        ring_s = low_s + (high_s - low_s) * dice.unit(number, 4)
        if style.style == "sparkle":
            fall = [(0.0, tones[place], 1.0, 0.0)]
        elif style.style == "halo":
            fall = [(0.0, tones[place], 1.0, 0.0), (ring_s * 0.3, tones[(place + 2) % len(tones)], 0.7, 0.25)]
        else:
            size = 2 + dice.below(3, number, 5)
            step_s = plan.tick_s * (0.5 if plan.tick_s > 0.4 else 1.0)
            fall = [
                (drop * step_s * (0.9 + 0.2 * dice.unit(number, 6, drop)), tones[place - drop], 0.85**drop, 0.12 * drop)
                for drop in range(min(size, place + 1))
            ]
        for late_s, pitch, softer, later in fall:
            # What falls past the chord's end belongs to another harmony.
            if onset_s + late_s < chord.end_s:
                sheet.add(
                    Layer.SHIMMER,
                    onset_s + late_s,
                    ring_s,
                    pitch,
                    gain=gain * softer,
                    pan=pan * (1 - later),
                    brightness=brightness,
                    threshold=threshold + later,
                )


def write_arrival(sheet: Sheet, plan: Plan) -> None:
    """One figure where the section culminates: the chord's tones, run through once, so that the height is felt."""
    style = plan.preset.shimmer
    dice = plan.form.own.at(Draw.ARRIVAL)
    awake = [chord for chord in plan.chords if not chord.breath and plan.form.presence[chord.part].shimmer > 0]
    if not awake:
        return
    chord = min(awake, key=lambda candidate: abs(candidate.position - plan.form.arc.peak))
    tones = _tones(chord, style.low_midi, style.high_midi)
    # Rain falls, everything else rises.
    run = (tones[::-1] if style.style == "drops" else tones)[:_ARRIVAL_NOTES]
    step_s = plan.tick_s * (2.0 if style.style == "halo" else 1.0)
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
    """A beat in chord tones. Its pattern is steady, single steps wander."""
    style = plan.preset.pulse
    dice = plan.form.own.at(Draw.PULSE)
    # At a quick bpm the pattern takes twice as many bars: a pulse that hurries is no longer soft.
    stretch = 2 if plan.beat_s < _SHORTEST_PULSE_BEAT_S else 1
    eighth_s = stretch * plan.beat_s / 2
    pattern_s = 8 * style.bars * eighth_s
    count = math.ceil(SECTION_S / pattern_s)
    begins = np.array([chord.begin_s for chord in plan.chords]) - 1e-9
    breath = np.array([chord.breath for chord in plan.chords])
    tones_of = [_tones(chord, style.low_midi, style.low_midi + 24) for chord in plan.chords]
    width = max(len(tones) for tones in tones_of)
    tones = np.array([[*row, *([row[-1]] * (width - len(row)))] for row in tones_of], np.float64)
    levels = np.array([plan.form.arc.level(chord.position) for chord in plan.chords])
    presence = np.array([plan.form.presence[chord.part].pulse for chord in plan.chords])

    steps = np.array(style.steps, np.float64)
    number = np.arange(count * len(steps), dtype=np.int64)
    turn, step = np.divmod(number, len(steps))
    onset_s = turn * pattern_s + steps[step, 0] * eighth_s
    chord = np.searchsorted(begins, onset_s, side="right") - 1
    wanders = dice.at(0).units_at(number) < style.wander
    tone = steps[step, 1].astype(np.int64)
    elsewhere = (dice.at(1).units_at(number) * 4).astype(np.int64) - 1
    tone = np.clip(np.where(wanders, tone + elsewhere, tone), 0, width - 1)
    human = dice.at(2).units_at(number)
    level = levels[chord]
    threshold = steps[step, 2] - 0.25 * level + 0.05 * (dice.at(3).units_at(number) - 0.5)
    # Some steps are left out below full intensity, all of them wait while the music breathes.
    threshold = threshold + np.where(dice.at(4).units_at(number) < 0.15, 0.2, 0.0) + np.where(breath[chord], 0.35, 0.0)
    threshold = threshold + 0.3 * (1 - presence[chord])
    # Half present is the plainer half of the pattern.
    keep = (onset_s < SECTION_S) & (step < len(steps) * presence[chord])
    keep &= ~(breath[chord] & (dice.at(5).units_at(number) < 0.7))
    sheet.add_many(
        Layer.PULSE,
        (onset_s + 0.006 * (2 * human - 1))[keep],
        np.full(int(keep.sum()), max(style.hold * min(eighth_s, 0.5), 0.18)),
        tones[chord, tone][keep],
        gain=(style.gain * steps[step, 3] * (0.85 + 0.3 * human) * (1 + 0.6 * level))[keep],
        pan=(0.3 * np.where(step % 2 == 0, -1.0, 1.0) * (0.5 + human / 2))[keep],
        brightness=(plan.preset.brightness * 0.8 + 0.3 * level)[keep],
        threshold=np.maximum(threshold, 0.08)[keep],
    )


def air_curve(plan: Plan, seed: int, section: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Times and levels of the air: gusts between the levels that a section shares with its neighbours."""
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
    return times, np.clip(level, 0.02, 1.0).astype(np.float32)


def _bass_pitch(chord: PlacedChord, pitch_class: int, drone: list[int]) -> int:
    """The octave for a bass note in which it rubs least against the drone and the pad's lowest voice."""

    def rub(pitch: int) -> float:
        cost = 6.0 if pitch > chord.voicing[0] else 0.0
        for other in (*drone, chord.voicing[0]):
            gap = abs(pitch - other)
            low = min(pitch, other) < _MUDDY_BELOW_MIDI
            cost += (20.0 if low else 8.0) if gap == 1 else (9.0 if low else 3.0) if gap == 2 else 0.0
            cost += 2.0 if low and gap in (3, 4) else 0.0
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
    """The chord's fifth, or what it has in its place."""
    root = chord.classes[0]
    return min(chord.classes[1:], key=lambda pitch_class: abs((pitch_class - root) % 12 - 7))


def _step_towards(chord: PlacedChord, pitch: int, goal: int) -> int:
    """A scale step from which the next bass note is reached; the same note where none is needed."""
    scale = [36 + semitones(chord.mode, degree) for degree in range(-7, 15)]
    below = [p for p in scale if p < goal]
    above = [p for p in scale if p > goal]
    if goal == pitch:
        return pitch
    return (below[-1] if below else goal) if goal > pitch else (above[0] if above else goal)


def _tones(chord: PlacedChord, low_midi: int, high_midi: int) -> list[int]:
    """The chord's tones from low to high, at least one."""
    return [p for p in range(low_midi, high_midi + 1) if (p - _TONIC_MIDI) % 12 in chord.classes]


def _chord_at(plan: Plan, onset_s: float) -> PlacedChord:
    for chord in reversed(plan.chords):
        if chord.begin_s <= onset_s + 1e-9:
            return chord
    return plan.chords[0]
