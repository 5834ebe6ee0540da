"""Melody: motifs that are stated, answered, varied and remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.synthesis.score.events import Layer
from services.synthesis.score.form import Draw, Letter
from services.synthesis.score.hashing import Dice
from services.synthesis.score.plan import PlacedChord, Plan
from services.synthesis.score.presets import Melody
from services.synthesis.score.theory import CHARACTERISTIC, semitones
from services.synthesis.score.writing import Sheet

_TONIC_MIDI: Final = 60

_SHAPES: Final = {
    # Heights from 0 to 1 along a motif; read between the points.
    "arch": (0.2, 0.7, 1.0, 0.6, 0.3),
    "fall": (1.0, 0.8, 0.55, 0.3, 0.0),
    "rise": (0.0, 0.25, 0.6, 0.8, 1.0),
    "wave": (0.4, 0.9, 0.3, 0.7, 0.5),
    "leap": (0.0, 1.0, 0.75, 0.45, 0.35),
    "chant": (0.4, 0.4, 0.7, 0.6, 0.3),
}


@dataclass(frozen=True, slots=True)
class Motif:
    """A melodic idea before it meets a chord.

    Attributes:
        lengths: of its notes, in ticks.
        steps: scale steps from where it starts; the first is 0.
    """

    lengths: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def ticks(self) -> int:
        """Its whole length."""
        return sum(self.lengths)


def invent(style: Melody, dice: Dice) -> Motif:
    """A motif in a preset's manner."""
    lengths = dice.pick(style.rhythms, 0)
    shape = _SHAPES[dice.pick(style.shapes, 1)]
    reach = style.reach * (0.55 + 0.45 * dice.unit(2))
    count = len(lengths)
    heights = []
    for index in range(count):
        place = index / (count - 1) * (len(shape) - 1)
        left = min(int(place), len(shape) - 2)
        height = shape[left] + (shape[left + 1] - shape[left]) * (place - left)
        heights.append(round((height + 0.3 * (dice.unit(3, index) - 0.5)) * reach))
    for index in range(1, count):
        # One repeated note is speech, three are a stutter.
        if heights[index] == heights[index - 1] and (index < 2 or dice.chance(0.75, 4, index)):
            heights[index] += 1 if dice.chance(0.5, 5, index) else -1
    return Motif(lengths, tuple(height - heights[0] for height in heights))


def vary(motif: Motif, dice: Dice) -> Motif:
    """The motif as it comes back: recognisable, not the same."""
    way = dice.below(7, 0)
    lengths, steps = motif.lengths, motif.steps
    if way == 0:
        steps = tuple(-step for step in steps)
    elif way == 1:
        shift = dice.pick((-2, -1, 1, 2), 1)
        steps = tuple(step + shift for step in steps)
    elif way == 2:  # another ending
        steps = (*steps[:-1], steps[-1] + dice.pick((-3, -2, 2, 3), 1))
    elif way == 3:  # another rhythm for the same notes
        lengths = (*lengths[1:-1], lengths[0], lengths[-1])
    elif way == 4:  # without its second note
        lengths = (lengths[0] + lengths[1], *lengths[2:])
        steps = (steps[0], *steps[2:])
    elif way == 5 and lengths[0] >= 2:  # a neighbour before the first leap
        half = lengths[0] // 2
        lengths = (lengths[0] - half, half, *lengths[1:])
        steps = (steps[0], dice.pick((-1, 1), 1), *steps[1:])
    else:  # wider
        steps = tuple(round(step * 1.5) for step in steps)
    return Motif(lengths, steps)


def head(motif: Motif, dice: Dice) -> Motif:
    """Its first two or three notes, the last one left hanging."""
    count = 3 if len(motif.lengths) > 3 and dice.chance(0.6, 0) else 2
    return Motif((*motif.lengths[: count - 1], motif.lengths[-1]), motif.steps[:count])


def answer(motif: Motif, dice: Dice) -> Motif:
    """The call's rhythm with a line that comes down to rest."""
    last = len(motif.steps) - 1
    settle = -abs(dice.pick((1, 2, 3), 0))
    steps = tuple(
        round((-step if dice.chance(0.35, 1) else step) * (1 - index / (2 * last)) + settle * index / last)
        for index, step in enumerate(motif.steps)
    )
    return Motif(motif.lengths, steps)


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A motif placed under a chord.

    Attributes:
        start_tick: ticks of rest before it.
        centre: degree around which it lies.
        answers: it answers a call.
        dialogue, place: which call it belongs to, and how many phrases after it.
    """

    motif: Motif
    chord: PlacedChord
    start_tick: int
    centre: int
    answers: bool
    dialogue: int
    place: int


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
        base = style.threshold + style.spread * order[phrase.dialogue] / dialogues + 0.07 * phrase.place
        if plan.form.presence[phrase.chord.part].melody < 1 and phrase.place:
            base += 0.25
        last_degree = _write_phrase(sheet, plan, phrase, base, last_degree)


def _phrases(plan: Plan) -> list[_Phrase]:
    style, form = plan.preset.melody, plan.form
    calls = [invent(style, form.material.at(Draw.MOTIF, index)) for index in range(2)]
    if form.letter is not Letter.A:
        # What the first section of the group said is remembered in the others.
        calls[1] = invent(style, form.group.at(Draw.MATERIAL, Letter.A, Draw.MOTIF, 0))
    patterns = form.material.order(len(style.phrases), Draw.PHRASE)
    phrases: list[_Phrase] = []
    call = calls[0]
    dialogue, place, heard = -1, 0, 0
    for chord in plan.chords:
        # Parts 0 and 1 speak alike, part 2 differs, part 3 comes back: a period inside the section.
        pattern = style.phrases[patterns[1 if chord.part == 2 else 0]]
        role = pattern[sum(other.part == chord.part for other in plan.chords[: chord.index]) % len(pattern)]
        if role == "-" or chord.breath or form.presence[chord.part].melody == 0:
            continue
        dice = form.material.at(Draw.PHRASE, chord.index + 1)
        if form.visit and form.own.chance(0.35, Draw.VARY, chord.index):
            dice = form.own.at(Draw.PHRASE, chord.index + 1)
        if role == "c" or dialogue < 0:
            call = calls[1] if chord.part == 2 else calls[0]
            dialogue, place = dialogue + 1, 0
            motif = call if heard == 0 or dice.chance(0.4, 0) else vary(call, dice.at(1))
            heard += 1
        else:
            place += 1
            motif = {"v": vary, "a": answer, "h": head}[role](call, dice.at(1))
        centre = _degree_near(chord.mode, style.centre_midi) + round(4 * form.arc.level(chord.position))
        phrases.append(
            _Phrase(
                motif=motif,
                chord=chord,
                start_tick=dice.below(4, 2),
                centre=centre + (style.answer_shift if role == "a" else 0),
                answers=role == "a",
                dialogue=dialogue,
                place=place,
            )
        )
    return phrases


def _write_phrase(sheet: Sheet, plan: Plan, phrase: _Phrase, base: float, last_degree: int) -> int:
    style, form = plan.preset.melody, plan.form
    dice = form.own.at(Draw.MELODY, phrase.chord.index)
    tick_s = plan.tick_s
    motif = phrase.motif
    count = len(motif.lengths)
    # Start on the chord tone nearest to where the line is wanted, a little towards where it was.
    wanted = round(phrase.centre - (max(motif.steps) + min(motif.steps)) / 2 + 0.25 * (last_degree - phrase.centre))
    start = _chord_degree(phrase.chord, wanted, 0)
    tick = phrase.start_tick
    # A phrase that cannot unfold before the next chord starts at once.
    if (tick + motif.ticks - motif.lengths[-1]) * tick_s > phrase.chord.end_s - phrase.chord.begin_s:
        tick = 0
    peak = max(range(count), key=lambda index: motif.steps[index])
    side = -1.0 if phrase.answers else 1.0
    if phrase.dialogue % 2:
        side *= 0.5
    previous = last_degree
    repeated = False
    for index, (length, step) in enumerate(zip(motif.lengths, motif.steps, strict=True)):
        onset_s = phrase.chord.begin_s + tick * tick_s
        if onset_s >= plan.chords[-1].end_s:
            break
        chord = _chord_at(plan, onset_s)
        degree = start + step
        strong = length > min(motif.lengths) or index in (0, count - 1)
        if strong:
            degree = _chord_degree(chord, degree, previous if index else degree + 1)
            # The note that makes the mode what it is, where the line is near it anyway.
            tell = _nearest_with_step(CHARACTERISTIC[chord.mode], degree)
            if abs(tell - degree) <= 2 and dice.chance(0.6 if index == peak else 0.12, index, 0):
                degree = tell
        if index:
            degree = _singable(
                chord, previous, degree, strong=strong, repeat=not repeated and dice.chance(0.35, index, 7)
            )
            repeated = degree == previous
        pitch = _TONIC_MIDI + semitones(chord.mode, degree)
        accent = (0.80 if strong else 0.62) + (0.14 if index == peak else 0.0) + 0.10 * (dice.unit(index, 1) - 0.5)
        accent *= 0.92 if phrase.answers else 1.0
        rubato_s = style.rubato_s * (2 * dice.unit(index, 2) - 1)
        ring_s = min(max(length * tick_s * 1.15, style.ring_s[0]), style.ring_s[1])
        level = form.arc.level(chord.position)
        gain = style.gain * accent * (1 + 0.5 * level)
        threshold = base - 0.20 * level + (0.0 if index == 0 else 0.06 if strong else 0.18 + 0.12 * dice.unit(index, 3))
        brightness = plan.preset.brightness + 0.25 * (accent - 0.75) + 0.3 * level
        pan = 0.35 * side + 0.12 * (2 * dice.unit(index, 4) - 1)
        sheet.add(
            Layer.MELODY,
            onset_s + rubato_s,
            ring_s,
            pitch,
            gain=gain,
            pan=pan,
            brightness=brightness,
            threshold=threshold,
        )
        if strong and style.harmony < 1 and index:
            below = _chord_degree(chord, degree - dice.pick((2, 3, 5), index, 5), degree)
            if below < degree:
                sheet.add(
                    Layer.MELODY,
                    onset_s + rubato_s,
                    ring_s,
                    _TONIC_MIDI + semitones(chord.mode, below),
                    gain=gain * 0.6,
                    pan=-pan,
                    brightness=brightness - 0.1,
                    threshold=max(style.harmony, base + 0.2) + 0.2 * dice.unit(index, 6),
                )
        if strong:
            for echo in range(1, style.echoes + 1):
                echo_s = onset_s + echo * style.echo_ticks * plan.tick_s
                # An echo of a note that the next chord does not hold would be a wrong note.
                if echo_s < plan.chords[-1].end_s and (pitch - _TONIC_MIDI) % 12 in _scale_classes(
                    _chord_at(plan, echo_s)
                ):
                    sheet.add(
                        Layer.MELODY,
                        echo_s + rubato_s,
                        ring_s * 0.8,
                        pitch,
                        gain=gain * 0.5**echo,
                        pan=-pan * 1.4,
                        brightness=brightness - 0.12 * echo,
                        threshold=max(base, 0.1) + 0.12 + 0.22 * echo,
                    )
        previous = degree
        tick += length
    return previous


def _singable(chord: PlacedChord, previous: int, degree: int, *, strong: bool, repeat: bool) -> int:
    """The degree, without a leap beyond the octave and without the stutter of a note said three times."""
    while degree - previous > 7:
        degree -= 7
    while previous - degree > 7:
        degree += 7
    if degree != previous or repeat:
        return degree
    # Odd degrees step down and even ones up: no drift in either direction.
    way = -1 if previous % 2 else 1
    return _chord_degree(chord, previous + 2 * way, previous) if strong else previous + way


def _chord_at(plan: Plan, onset_s: float) -> PlacedChord:
    for chord in reversed(plan.chords):
        if chord.begin_s <= onset_s + 1e-9:
            return chord
    return plan.chords[0]


def _scale_classes(chord: PlacedChord) -> set[int]:
    return {semitones(chord.mode, degree) for degree in range(7)}


def _degree_near(mode: str, pitch_midi: int) -> int:
    """The degree whose pitch is nearest to `pitch_midi` (in the key of C), the lower of two."""
    middle = (pitch_midi - _TONIC_MIDI) * 7 // 12
    return min(
        range(middle - 2, middle + 3), key=lambda degree: abs(_TONIC_MIDI + semitones(mode, degree) - pitch_midi)
    )


def _nearest_with_step(step: int, degree: int) -> int:
    """The degree nearest to `degree` that is `step` of the scale in some octave."""
    return degree + (step - degree + 3) % 7 - 3


def _chord_degree(chord: PlacedChord, degree: int, avoid: int) -> int:
    """The chord tone nearest to a degree, other than `avoid` where another is as near as two steps."""
    tones = [
        (abs(offset) + (2 if degree + offset == avoid else 0), degree + offset)
        for offset in (0, -1, 1, -2, 2, -3, 3)
        if semitones(chord.mode, degree + offset) % 12 in chord.classes
    ]
    return min(tones, key=lambda tone: tone[0])[1] if tones else degree
