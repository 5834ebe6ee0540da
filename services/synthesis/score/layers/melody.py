"""Pure. The melody: the piece's themes, stated, answered, varied and remembered.

Phrases begin at a period of the preset's own (`Melody.phrase_s`), in no step with the chords. They move on a grid:
lengths are whole *grid steps* (`plan.Plan.grid_step_s`), pitches are degrees of the scale (see `theory`). At a quicker
tempo a phrase takes less time, and more of what follows it fits into its period.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.synthesis.score.events import Layer
from services.synthesis.score.form import Letter
from services.synthesis.score.harmony import LOW_MIDI
from services.synthesis.score.hashing import Dice, Draw
from services.synthesis.score.layers.line import clashes, fit, growls
from services.synthesis.score.layers.motif import Motif, answer, fitting, head, inverted, state, stretched, vary
from services.synthesis.score.plan import PlacedChord, Plan
from services.synthesis.score.theory import semitones
from services.synthesis.score.writing import Sheet

# Where phrases stand.
_PHRASE_STRAY: Final = 0.3
"""A phrase begins up to this share of its period after the period does."""
_REST_STEPS: Final = 2
"""Grid steps between a phrase and what follows it in its period."""
_FOLLOWING: Final = 2
"""Phrases that may follow another one in its period, at most."""
_FOLLOWS_FROM: Final = (0.35, 0.2)
"""A phrase is followed at 70 bpm with these chances; they rise with the tempo."""
_OWN_VARIANT: Final = 0.35
"""Chance, for each phrase of a returning passage, that it is new."""
_PLAIN_CALL: Final = 0.5
"""Chance that a call which has been heard comes back unvaried."""
_MELODY_SHARE: Final = 0.8
"""Share of the time that the melody is there."""
_ARC_DEGREES: Final = 4
"""Degrees that the register rises when the arc rises by 1."""
_LOWEST_CENTRE_MIDI: Final = 69
_WANDER_DEGREES: Final = 4
"""Phrases lie up to half as many degrees above or below their register."""

# From which intensity notes are heard: added to a phrase's threshold.
_ALWAYS: Final = -0.15
"""Of the phrase that is heard at any intensity, at most."""
_LATER_PHRASE: Final = 0.07
"""For each phrase of a dialogue after its call."""
_ABSENT: Final = 0.4
"""Where the melody comes or goes."""
_ARC_THRESHOLD: Final = 0.20
"""Taken off when the arc rises by 1: full passages have more notes."""
_STRONG_NOTE: Final = 0.03
_WEAK_NOTE: Final = 0.07
_WEAK_NOTE_RANGE: Final = 0.05
"""For the strong notes after a phrase's first, and for its weak notes: 0.07 to 0.12."""
_PASSING: Final = 0.12
"""Taken off for weak notes as the tempo doubles: more passing notes speak."""
_SECOND_VOICE: Final = 0.2
_SECOND_VOICE_RANGE: Final = 0.2
"""For the second voice: 0.2 above the phrase or `Melody.harmony`, and up to 0.2 more."""
_BELOW: Final = (2, 3, 5)
"""Degrees that it lies below the first voice."""
_DRAWS: Final = 5
_ECHO_FROM: Final = 0.1
_ECHO: Final = 0.12
_EACH_ECHO: Final = 0.22
"""For echoes: 0.12 and 0.22 for each, above the phrase's threshold or 0.1."""

# How a note is played.
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
_CLASH_HOLD_S: Final = 0.9
"""A passing note beside a tone of the chord is held no longer."""
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
class LineNote:
    """A note of a phrase.

    Attributes:
        index: in the phrase.
        onset_s: on the grid, from the passage's start.
        length: grid steps.
        degree: of the scale.
        pitch_midi: of it.
        chord: the chord that it sounds over.
        strong: whether it is long, first or last.
        peak: whether it is the phrase's highest.
        threshold: the intensity from which it is heard.
    """

    index: int
    onset_s: float
    length: int
    degree: int
    pitch_midi: int
    chord: PlacedChord
    strong: bool
    peak: bool
    threshold: float


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of the melody, without its second voice and echoes.

    Attributes:
        number: of its period in the passage.
        place: number of phrases between it and the first one of that period.
        role: c a call, a an answer, h a head, v a variation.
        notes: in time.
    """

    number: int
    place: int
    role: str
    notes: tuple[LineNote, ...]

    @property
    def answers(self) -> bool:
        """Whether it answers a call."""
        return self.role == "a"


def write_melody(sheet: Sheet, plan: Plan) -> None:
    """Write the melody of a passage."""
    for phrase in phrases(plan):
        dice = plan.own.at(Draw.MELODY, phrase.number, phrase.place, 1)
        draws = dice.table(np.arange(len(phrase.notes), dtype=np.int64), _DRAWS).tolist()
        for note, row in zip(phrase.notes, draws, strict=True):
            _write_note(sheet, plan, phrase, note, row)


def phrases(plan: Plan) -> list[Phrase]:
    """The phrases of a passage that begin in the plan's window, in time."""
    style, own = plan.preset.melody, plan.own
    first, second = _calls(plan)
    pattern = plan.material.pick(style.phrases, Draw.PHRASE)
    period_s = style.phrase_s * plan.card.breath
    count = max(int(plan.length_s / period_s), 1)
    # Phrases come in one after the other as intensity grows.
    order = own.order(count, Draw.THRESHOLD, Layer.MELODY)
    begins_s = (np.arange(count) + _PHRASE_STRAY * own.at(Draw.PHRASE, 0).units_at(np.arange(count))) * period_s
    presences = plan.presence(Layer.MELODY, begins_s, _MELODY_SHARE).tolist()
    # One phrase of a passage sounds at any intensity.
    spoken = [n for n in range(count) if pattern[n % len(pattern)] != "-"]
    always = min(spoken, key=lambda n: (-presences[n], order[n]), default=-1)
    found: list[Phrase] = []
    heard = 0
    for number in range(count):
        role = pattern[number % len(pattern)]
        if role == "-":
            continue
        calls = role == "c"
        heard += calls
        begin_s, there = float(begins_s[number]), 1.0 if number == always else presences[number]
        room_s = (number + 1) * period_s
        if there == 0.0 or not plan.wanted(begin_s - plan.beat_s, room_s + plan.beat_s):
            continue
        dice = plan.material.at(Draw.PHRASE, number + 1)
        if plan.form.visit and own.chance(_OWN_VARIANT, Draw.VARY, number):
            dice = own.at(Draw.PHRASE, number + 1)
        call = second if number % (2 * len(pattern)) >= len(pattern) else first
        base = style.threshold + style.spread * order[number] / count + _ABSENT * (1 - there)
        base -= plan.busy(Layer.MELODY)
        if number == always:
            base = min(base, _ALWAYS)
        begin = round(begin_s / plan.grid_step_s)
        for place in range(1 + _FOLLOWING):
            if place and dice.unit(3, place) > _FOLLOWS_FROM[place - 1] * plan.pace:
                break
            now = role if place == 0 else "a" if role in "cv" and place == 1 else "h"
            motif = _motif(now, call, dice.at(1, place), plain=heard <= 1 or dice.chance(_PLAIN_CALL, 0))
            cut = fitting(motif, int(room_s / plan.grid_step_s) - begin - 1)
            if cut is None:
                break
            threshold = base + _LATER_PHRASE * (place + (role != "c"))
            notes = _notes(plan, cut, begin, now, threshold=threshold, dice=own.at(Draw.MELODY, number, place))
            if len(notes) > 1:
                found.append(Phrase(number, place, now, notes))
            begin += cut.grid_steps + _REST_STEPS
    return found


def _calls(plan: Plan) -> tuple[Motif, Motif]:
    """The two motifs of a passage, as the movement has its themes."""
    style, mood = plan.preset.melody, plan.form.mood
    themes = plan.card.themes
    found = []
    for step in range(2):
        number = (plan.form.letter + mood.turned + step) % len(themes)
        # A theme has one rhythm and direction in a piece.
        motif = state(themes[number], style, Dice(number).at(*themes[number]))
        if mood.inverted:
            motif = inverted(motif)
        if mood.stretched and plan.form.letter is not Letter.B:
            motif = stretched(motif)
        found.append(motif)
    return found[0], found[1]


def _motif(role: str, call: Motif, dice: Dice, *, plain: bool) -> Motif:
    if role == "c":
        return call if plain else vary(call, dice)
    if role == "a":
        return answer(call, dice)
    return head(call, dice) if role == "h" else vary(call, dice)


def _notes(plan: Plan, motif: Motif, begin: int, role: str, *, threshold: float, dice: Dice) -> tuple[LineNote, ...]:
    """The notes of a phrase, fitted to the chords that they sound over.

    Args:
        begin: grid step that it begins with, from the passage's start.
        threshold: of the phrase.
        dice: draws of this phrase.
    """
    style = plan.preset.melody
    onsets: list[float] = []
    step = begin
    for length in motif.lengths:
        onsets.append(step * plan.grid_step_s)
        step += length
    while onsets and onsets[-1] >= plan.length_s:
        onsets.pop()
    count = len(onsets)
    if count < 2:
        return ()
    motif = Motif(motif.lengths[:count], motif.moves[: count - 1])
    chords = [plan.chord_at(onset_s) for onset_s in onsets]
    shortest = min(motif.lengths)
    strong = [length > shortest or index in (0, count - 1) for index, length in enumerate(motif.lengths)]
    heights = motif.heights
    # The middle of the phrase lies in its register.
    middle = (max(heights) + min(heights)) / 2
    centre_midi = style.centre_midi + plan.card.register + plan.form.mood.register
    # No register puts a melody among the low voices.
    centre_midi = max(centre_midi, min(style.centre_midi, _LOWEST_CENTRE_MIDI)) - plan.tonic_midi
    centre = centre_midi * 7 / 12 + _ARC_DEGREES * plan.level(onsets[0]) + _WANDER_DEGREES * (dice.unit(0, 1) - 0.5)
    start = round(centre + (style.answer_shift if role == "a" else 0) - middle)
    degrees = fit(motif, chords, strong, start, plan.drone_midi, rests=role in "ah")
    peak = max(range(count), key=lambda index: degrees[index])
    level = plan.level(onsets[0])
    passing = _PASSING * max(plan.pace - 1.0, -1.0) / 2
    weak = dice.table(np.arange(count, dtype=np.int64), 1)[:, 0].tolist()
    notes = []
    for index in range(count):
        later = 0.0
        if index:
            later = _STRONG_NOTE if strong[index] else _WEAK_NOTE + _WEAK_NOTE_RANGE * weak[index] - passing
        notes.append(
            LineNote(
                index=index,
                onset_s=onsets[index],
                length=motif.lengths[index],
                degree=degrees[index],
                pitch_midi=plan.tonic_midi + semitones(chords[index].mode, degrees[index]),
                chord=chords[index],
                strong=strong[index],
                peak=index == peak,
                threshold=threshold - _ARC_THRESHOLD * level + max(later, 0.0),
            )
        )
    return tuple(notes)


def _write_note(sheet: Sheet, plan: Plan, phrase: Phrase, note: LineNote, draws: list[float]) -> None:
    """Write a note, its second voice and its echoes."""
    style, index = plan.preset.melody, note.index
    stress, stray, side_stray, second, second_from = draws
    accent = (_STRONG_ACCENT if note.strong else _WEAK_ACCENT) + (_PEAK_ACCENT if note.peak else 0.0)
    accent += _ACCENT_RANGE * (stress - 0.5)
    accent *= _ANSWER_GAIN if phrase.answers else 1.0
    rubato_s = style.rubato_s * (2 * stray - 1)
    shortest_s, longest_s = style.ring_s
    hold_s = min(max(note.length * plan.grid_step_s * _LEGATO, shortest_s), longest_s)
    if clashes(note.degree, note.chord):
        hold_s = min(hold_s, max(note.length * plan.grid_step_s, _CLASH_HOLD_S / 2), _CLASH_HOLD_S)
    if note.pitch_midi < LOW_MIDI:
        hold_s = min(hold_s, max(note.length * plan.grid_step_s, _CLASH_HOLD_S / 2))
    level = plan.level(note.onset_s)
    gain = style.gain * accent * (1 + _ARC_GAIN * level) * plan.gain(Layer.MELODY)
    brightness = plan.brightness + _ACCENT_BRIGHTNESS * (accent - _NEUTRAL_ACCENT) + _ARC_BRIGHTNESS * level
    side = (-1.0 if phrase.answers else 1.0) * (0.5 if phrase.number % 2 else 1.0)
    pan = _SIDE_PAN * side + _PAN_RANGE * (2 * side_stray - 1)
    sheet.add(
        Layer.MELODY,
        note.onset_s + rubato_s,
        hold_s,
        note.pitch_midi,
        gain=gain,
        pan=pan,
        brightness=brightness,
        threshold=note.threshold,
    )
    if not note.strong:
        return
    if style.harmony < 1 and index and plan.card.never != "second voice":
        below = _chord_degree(note.chord, note.degree - _BELOW[int(second * len(_BELOW))], note.degree)
        below_midi = plan.tonic_midi + semitones(note.chord.mode, below)
        if below < note.degree and not growls(below_midi, note.chord, plan.drone_midi):
            sheet.add(
                Layer.MELODY,
                note.onset_s + rubato_s,
                hold_s,
                below_midi,
                gain=gain * _SECOND_VOICE_GAIN,
                pan=-pan,
                brightness=brightness - _SECOND_VOICE_DULLER,
                threshold=max(style.harmony, note.threshold + _SECOND_VOICE) + _SECOND_VOICE_RANGE * second_from,
            )
    if plan.card.never == "echoes":
        return
    for echo in range(1, style.echoes + 1):
        echo_s = note.onset_s + echo * style.echo_grid_steps * plan.grid_step_s
        # An echo that the next chord does not want would be a wrong note.
        chord = plan.chord_at(echo_s)
        wrong = (note.pitch_midi - plan.tonic_midi) % 12 not in _scale_classes(chord) or (
            chord is not note.chord and clashes(note.degree, chord)
        )
        wrong = wrong or growls(note.pitch_midi, chord, plan.drone_midi)
        if echo_s < plan.length_s and not wrong:
            sheet.add(
                Layer.MELODY,
                echo_s + rubato_s,
                hold_s * _ECHO_HOLD,
                note.pitch_midi,
                gain=gain * _ECHO_GAIN**echo,
                pan=-pan * _ECHO_PAN,
                brightness=brightness - _ECHO_DULLER * echo,
                threshold=max(note.threshold, _ECHO_FROM) + _ECHO + _EACH_ECHO * echo,
            )


def _scale_classes(chord: PlacedChord) -> set[int]:
    return {semitones(chord.mode, degree) % 12 for degree in range(7)}


def _chord_degree(chord: PlacedChord, degree: int, avoid: int) -> int:
    """The chord tone nearest to a degree; `avoid` counts as two degrees further away than it is."""
    tones = [
        (abs(offset) + (2 if degree + offset == avoid else 0), degree + offset)
        for offset in (0, -1, 1, -2, 2, -3, 3)
        if semitones(chord.mode, degree + offset) % 12 in chord.classes
    ]
    return min(tones, key=lambda tone: tone[0])[1] if tones else degree
