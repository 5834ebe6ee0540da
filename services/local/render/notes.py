"""Pure. The notes of a span of a score, as people and programs outside Auralis read them: pitch, velocity, chord."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from services.local.render.score_view import ScoreView
from services.synthesis.score.events import Layer

LOUDEST: Final = 127
"""The largest velocity of MIDI."""


@dataclass(frozen=True, slots=True)
class Note:
    """A note.

    Attributes:
        begin_s, end_s: from the span's beginning; the key is let go at `end_s`, and the sound dies away after it.
        pitch: MIDI number, 60 is middle C.
        velocity: 1 to 127; an amplitude of about (velocity / 127)², as General MIDI instruments have it.
        layer: what the note belongs to.
        chord: name of the chord that sounds when it begins.
    """

    begin_s: float
    end_s: float
    pitch: int
    velocity: int
    layer: Layer
    chord: str


def notes_of(score: ScoreView) -> list[Note]:
    """The notes of `score`, sorted by beginning, then by layer and pitch."""
    chords_s = [chord.at_s for chord in score.chords]
    found = []
    for begin_s, end_s, pitch, gain, layer in zip(
        score.begin_s.tolist(),
        score.end_s.tolist(),
        score.pitch_midi.tolist(),
        score.gain.tolist(),
        score.layer.tolist(),
        strict=True,
    ):
        place = max(bisect_right(chords_s, begin_s) - 1, 0)
        found.append(
            Note(
                begin_s=begin_s,
                end_s=end_s,
                pitch=round(pitch),
                velocity=velocity_of(gain),
                layer=Layer(layer),
                chord=score.chords[place].text if score.chords else "",
            )
        )
    return sorted(found, key=lambda note: (note.begin_s, note.layer, note.pitch))


def velocity_of(gain: float) -> int:
    """The velocity of a note's linear gain, 0 to 1."""
    return min(max(round(LOUDEST * math.sqrt(gain)), 1), LOUDEST)
