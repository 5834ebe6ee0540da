"""Pure. The melody: motifs that are stated, answered, varied and remembered.

Melodies move on a grid: lengths and moments are whole *grid steps* (`plan.Plan.grid_step_s`), pitches are degrees of
the scale (see `theory`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.synthesis.score.events import Layer
from services.synthesis.score.form import Draw, Letter
from services.synthesis.score.hashing import Dice
from services.synthesis.score.layers.motif import Motif, answer, head, invent, vary
from services.synthesis.score.plan import PlacedChord, Plan
from services.synthesis.score.theory import CHARACTERISTIC, TONIC_MIDI, semitones
from services.synthesis.score.writing import Sheet

# Where phrases stand.
_OWN_VARIANT: Final = 0.35
"""Chance, for each chord of a returning section, that its phrase is new."""
_PLAIN_CALL: Final = 0.4
"""Chance that a call which has been heard comes back unvaried."""
_LONGEST_DELAY: Final = 4
"""A phrase enters 0 to 3 grid steps after its chord."""
_ARC_DEGREES: Final = 4
"""Degrees that the register rises when the arc rises by 1."""
_PULL_TO_LAST: Final = 0.25
"""Share of the way from a phrase's register to the last note before it that the phrase begins at."""

# From which intensity notes are heard: added to a phrase's threshold.
_LATER_PHRASE: Final = 0.07
"""For each phrase of a dialogue after its call."""
_HALF_PRESENT: Final = 0.25
"""For the phrases after the call in a part where melody is only half present."""
_ARC_THRESHOLD: Final = 0.20
"""Taken off when the arc rises by 1: full passages have more notes."""
_STRONG_NOTE: Final = 0.06
_WEAK_NOTE: Final = 0.18
_WEAK_NOTE_RANGE: Final = 0.12
"""For the strong notes after a phrase's first, and for its weak notes: 0.18 to 0.30."""
_SECOND_VOICE: Final = 0.2
_SECOND_VOICE_RANGE: Final = 0.2
"""For the second voice: 0.2 above the phrase or `Melody.harmony`, and up to 0.2 more."""
_ECHO_FROM: Final = 0.1
_ECHO: Final = 0.12
_EACH_ECHO: Final = 0.22
"""For echoes: 0.12 and 0.22 for each, above the phrase's threshold or 0.1."""

# How a note is played.
_MODE_NOTE_AT_PEAK: Final = 0.6
_MODE_NOTE: Final = 0.12
"""Chance that a strong note takes the mode's characteristic degree if that is near."""
_MODE_NOTE_REACH: Final = 2
"""Degrees that it may be away."""
_REPEAT: Final = 0.35
"""Chance that a note may repeat the one before, once in a row."""
_STRONG_ACCENT: Final = 0.80
_WEAK_ACCENT: Final = 0.62
_PEAK_ACCENT: Final = 0.14
"""Gain of strong and weak notes; the highest note has 0.14 more."""
_ACCENT_RANGE: Final = 0.10
"""Width of what chance adds to an accent, half of it up and half down."""
_ANSWER_GAIN: Final = 0.92
"""Answers are softer than calls."""
_ARC_GAIN: Final = 0.5
"""Share of its gain that a note gains when the arc rises by 1."""
_LEGATO: Final = 1.15
"""A note is held for this share of its length."""
_NEUTRAL_ACCENT: Final = 0.75
_ACCENT_BRIGHTNESS: Final = 0.25
_ARC_BRIGHTNESS: Final = 0.3
"""Accented notes and full passages are brighter, by these shares of the accent above 0.75 and of the arc."""
_SIDE_PAN: Final = 0.35
_PAN_RANGE: Final = 0.12
"""Calls come from the right, answers from the left, each note up to 0.12 beside."""
_SECOND_VOICE_GAIN: Final = 0.6
_SECOND_VOICE_DULLER: Final = 0.1
_ECHO_GAIN: Final = 0.5
_ECHO_HOLD: Final = 0.8
_ECHO_PAN: Final = 1.4
_ECHO_DULLER: Final = 0.12
"""Of each echo relative to the one before (gain, brightness) or to the note (hold, pan, on the other side)."""


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A motif placed under a chord.

    Attributes:
        delay: grid steps of rest before it.
        centre: degree around which it lies.
        answers: whether it answers a call.
        dialogue: number of the call that it belongs to.
        place: number of phrases between it and that call; 0 for the call.
    """

    motif: Motif
    chord: PlacedChord
    delay: int
    centre: int
    answers: bool
    dialogue: int
    place: int


@dataclass(frozen=True, slots=True)
class _Note:
    """A note of a phrase.

    Attributes:
        index: in the phrase.
        onset_s: on the grid, from the section's start.
        length: grid steps.
        degree: of the scale.
        chord: the chord that it sounds over.
        strong: whether it is long, first, last: a chord tone.
        peak: whether it is the phrase's highest.
    """

    index: int
    onset_s: float
    length: int
    degree: int
    chord: PlacedChord
    strong: bool
    peak: bool


def write_melody(sheet: Sheet, plan: Plan) -> None:
    """Write the melody of a section."""
    style = plan.preset.melody
    phrases = _phrases(plan)
    if not phrases:
        return
    dialogues = phrases[-1].dialogue + 1
    # Dialogues come in one after the other as intensity grows, each with its call first.
    order = plan.form.own.order(dialogues, Draw.THRESHOLD, Layer.MELODY)
    last_degree = _degree_near(plan.chords[0].mode, style.centre_midi)
    for phrase in phrases:
        threshold = style.threshold + style.spread * order[phrase.dialogue] / dialogues + _LATER_PHRASE * phrase.place
        if plan.form.presence[phrase.chord.part].melody < 1 and phrase.place:
            threshold += _HALF_PRESENT
        dice = plan.form.own.at(Draw.MELODY, phrase.chord.index)
        notes = _notes(plan, phrase, last_degree, dice)
        for note in notes:
            _write_note(sheet, plan, phrase, note, threshold=threshold, dice=dice)
        if notes:
            last_degree = notes[-1].degree


def _phrases(plan: Plan) -> list[_Phrase]:
    style, form = plan.preset.melody, plan.form
    calls = [invent(style, form.material.at(Draw.MOTIF, index)) for index in range(2)]
    if form.letter is not Letter.A:
        # The other sections of a group remember the first one's motif.
        calls[1] = invent(style, form.group.at(Draw.MATERIAL, Letter.A, Draw.MOTIF, 0))
    patterns = form.material.order(len(style.phrases), Draw.PHRASE)
    phrases: list[_Phrase] = []
    call = calls[0]
    dialogue, place, heard = -1, 0, 0
    for chord in plan.chords:
        # Parts 0 and 1 have the same pattern, part 2 another one, part 3 the first again: a period inside the section.
        pattern = style.phrases[patterns[1 if chord.part == 2 else 0]]
        role = pattern[sum(other.part == chord.part for other in plan.chords[: chord.index]) % len(pattern)]
        if role == "-" or chord.breath or form.presence[chord.part].melody == 0:
            continue
        dice = form.material.at(Draw.PHRASE, chord.index + 1)
        if form.visit and form.own.chance(_OWN_VARIANT, Draw.VARY, chord.index):
            dice = form.own.at(Draw.PHRASE, chord.index + 1)
        if role == "c" or dialogue < 0:
            call = calls[1] if chord.part == 2 else calls[0]
            dialogue, place = dialogue + 1, 0
            motif = call if heard == 0 or dice.chance(_PLAIN_CALL, 0) else vary(call, dice.at(1))
            heard += 1
        else:
            place += 1
            motif = {"v": vary, "a": answer, "h": head}[role](call, dice.at(1))
        centre = _degree_near(chord.mode, style.centre_midi) + round(_ARC_DEGREES * form.arc.level(chord.position))
        phrases.append(
            _Phrase(
                motif=motif,
                chord=chord,
                delay=dice.below(_LONGEST_DELAY, 2),
                centre=centre + (style.answer_shift if role == "a" else 0),
                answers=role == "a",
                dialogue=dialogue,
                place=place,
            )
        )
    return phrases


def _notes(plan: Plan, phrase: _Phrase, last_degree: int, dice: Dice) -> list[_Note]:
    """The notes of a phrase, fitted to the chords that they sound over.

    Args:
        last_degree: of the note before the phrase.
        dice: draws of this phrase.
    """
    motif = phrase.motif
    count = len(motif.lengths)
    # Begin on the chord tone nearest to the wanted register, a little towards the last note.
    middle = (max(motif.intervals) + min(motif.intervals)) / 2
    wanted = round(phrase.centre - middle + _PULL_TO_LAST * (last_degree - phrase.centre))
    start = _chord_degree(phrase.chord, wanted, 0)
    grid_step = phrase.delay
    # A phrase that would not reach its last note before the next chord begins without delay.
    if (
        grid_step + motif.grid_steps - motif.lengths[-1]
    ) * plan.grid_step_s > phrase.chord.end_s - phrase.chord.begin_s:
        grid_step = 0
    peak = max(range(count), key=lambda index: motif.intervals[index])
    previous = last_degree
    repeated = False
    notes: list[_Note] = []
    for index, (length, interval) in enumerate(zip(motif.lengths, motif.intervals, strict=True)):
        onset_s = phrase.chord.begin_s + grid_step * plan.grid_step_s
        if onset_s >= plan.chords[-1].end_s:
            break
        chord = plan.chord_at(onset_s)
        degree = start + interval
        strong = length > min(motif.lengths) or index in (0, count - 1)
        if strong:
            degree = _chord_degree(chord, degree, previous if index else degree + 1)
            mode_note = _nearest_octave(CHARACTERISTIC[chord.mode], degree)
            near = abs(mode_note - degree) <= _MODE_NOTE_REACH
            if near and dice.chance(_MODE_NOTE_AT_PEAK if index == peak else _MODE_NOTE, index, 0):
                degree = mode_note
        if index:
            may_repeat = not repeated and dice.chance(_REPEAT, index, 7)
            degree = _singable(chord, previous, degree, strong=strong, may_repeat=may_repeat)
            repeated = degree == previous
        notes.append(_Note(index, onset_s, length, degree, chord, strong, index == peak))
        previous = degree
        grid_step += length
    return notes


def _write_note(sheet: Sheet, plan: Plan, phrase: _Phrase, note: _Note, *, threshold: float, dice: Dice) -> None:
    """Write a note, its second voice and its echoes.

    Args:
        threshold: of the phrase.
        dice: draws of the phrase.
    """
    style, index = plan.preset.melody, note.index
    pitch = TONIC_MIDI + semitones(note.chord.mode, note.degree)
    accent = (_STRONG_ACCENT if note.strong else _WEAK_ACCENT) + (_PEAK_ACCENT if note.peak else 0.0)
    accent += _ACCENT_RANGE * (dice.unit(index, 1) - 0.5)
    accent *= _ANSWER_GAIN if phrase.answers else 1.0
    rubato_s = style.rubato_s * (2 * dice.unit(index, 2) - 1)
    shortest_s, longest_s = style.ring_s
    hold_s = min(max(note.length * plan.grid_step_s * _LEGATO, shortest_s), longest_s)
    level = plan.form.arc.level(note.chord.position)
    gain = style.gain * accent * (1 + _ARC_GAIN * level)
    later = _STRONG_NOTE if note.strong else _WEAK_NOTE + _WEAK_NOTE_RANGE * dice.unit(index, 3)
    brightness = plan.preset.brightness + _ACCENT_BRIGHTNESS * (accent - _NEUTRAL_ACCENT) + _ARC_BRIGHTNESS * level
    side = (-1.0 if phrase.answers else 1.0) * (0.5 if phrase.dialogue % 2 else 1.0)
    pan = _SIDE_PAN * side + _PAN_RANGE * (2 * dice.unit(index, 4) - 1)
    sheet.add(
        Layer.MELODY,
        note.onset_s + rubato_s,
        hold_s,
        pitch,
        gain=gain,
        pan=pan,
        brightness=brightness,
        threshold=threshold - _ARC_THRESHOLD * level + (later if index else 0.0),
    )
    if not note.strong:
        return
    if style.harmony < 1 and index:
        below = _chord_degree(note.chord, note.degree - dice.pick((2, 3, 5), index, 5), note.degree)
        if below < note.degree:
            sheet.add(
                Layer.MELODY,
                note.onset_s + rubato_s,
                hold_s,
                TONIC_MIDI + semitones(note.chord.mode, below),
                gain=gain * _SECOND_VOICE_GAIN,
                pan=-pan,
                brightness=brightness - _SECOND_VOICE_DULLER,
                threshold=max(style.harmony, threshold + _SECOND_VOICE) + _SECOND_VOICE_RANGE * dice.unit(index, 6),
            )
    for echo in range(1, style.echoes + 1):
        echo_s = note.onset_s + echo * style.echo_grid_steps * plan.grid_step_s
        # An echo of a note that is not in the next chord's scale would be a wrong note.
        if echo_s < plan.chords[-1].end_s and (pitch - TONIC_MIDI) % 12 in _scale_classes(plan.chord_at(echo_s)):
            sheet.add(
                Layer.MELODY,
                echo_s + rubato_s,
                hold_s * _ECHO_HOLD,
                pitch,
                gain=gain * _ECHO_GAIN**echo,
                pan=-pan * _ECHO_PAN,
                brightness=brightness - _ECHO_DULLER * echo,
                threshold=max(threshold, _ECHO_FROM) + _ECHO + _EACH_ECHO * echo,
            )


def _singable(chord: PlacedChord, previous: int, degree: int, *, strong: bool, may_repeat: bool) -> int:
    """The degree, without a leap beyond the octave and without a third repetition of a note."""
    while degree - previous > 7:
        degree -= 7
    while previous - degree > 7:
        degree += 7
    if degree != previous or may_repeat:
        return degree
    # Odd degrees step down and even ones up: no drift in either direction.
    way = -1 if previous % 2 else 1
    return _chord_degree(chord, previous + 2 * way, previous) if strong else previous + way


def _scale_classes(chord: PlacedChord) -> set[int]:
    return {semitones(chord.mode, degree) for degree in range(7)}


def _degree_near(mode: str, pitch_midi: int) -> int:
    """The degree whose pitch is nearest to `pitch_midi` (in the key of C), the lower of two."""
    middle = (pitch_midi - TONIC_MIDI) * 7 // 12
    return min(range(middle - 2, middle + 3), key=lambda degree: abs(TONIC_MIDI + semitones(mode, degree) - pitch_midi))


def _nearest_octave(step: int, degree: int) -> int:
    """Of `step` (0 to 6) in all octaves, the degree nearest to `degree`."""
    return degree + (step - degree + 3) % 7 - 3


def _chord_degree(chord: PlacedChord, degree: int, avoid: int) -> int:
    """The chord tone nearest to a degree; `avoid` counts as two degrees further away than it is."""
    tones = [
        (abs(offset) + (2 if degree + offset == avoid else 0), degree + offset)
        for offset in (0, -1, 1, -2, 2, -3, 3)
        if semitones(chord.mode, degree + offset) % 12 in chord.classes
    ]
    return min(tones, key=lambda tone: tone[0])[1] if tones else degree
