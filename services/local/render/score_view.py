"""A span of a stream's score for pictures: notes, chords and sections over time. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.score.form import bar_of, passages_between
from services.synthesis.score.progression import progression
from services.synthesis.score.selection import played


@dataclass(frozen=True, slots=True)
class Mark:
    """A name at the time in the span where it begins."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class ScoreView:
    """A span of a score. Times are seconds from the span's beginning; earlier beginnings are moved to 0.

    Attributes:
        begin_s, end_s, pitch_midi, gain: float64 [notes]; a note ends when its key is released, before its tail.
        layer: uint8 [notes], values of Layer.
        chords: beginning and name of each chord.
        sections: beginning and letter of each passage of the music, with a prime for each earlier visit.
        parts: beginnings of the chords that passages stand on.
    """

    begin_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    pitch_midi: NDArray[np.float64]
    gain: NDArray[np.float64]
    layer: NDArray[np.uint8]
    chords: tuple[Mark, ...]
    sections: tuple[Mark, ...]
    parts: tuple[float, ...]

    def of(self, layer: Layer) -> NDArray[np.intp]:
        """Indices of a layer's notes."""
        return np.flatnonzero(self.layer == layer)


def view_score(spec: StreamSpec, start_block: int, seconds: float) -> ScoreView:
    """The score of `spec` from `start_block` (seconds since the Unix epoch) on: the notes that it plays."""
    columns: list[NDArray[np.float64]] = []
    chords: list[Mark] = []
    sections: list[Mark] = []
    parts: list[float] = []
    end = start_block + seconds
    # Notes of the section before may still be held at the beginning.
    for number in range(max(start_block // SECTION_S - 1, 0), int(-(-end // SECTION_S))):
        offset_s = float(number * SECTION_S - start_block)
        section = compose_section(spec, number)
        notes = section.notes
        heard = played(notes, spec)
        begin_s = notes.onset_s[heard] + offset_s
        columns.append(
            np.stack(
                (
                    begin_s,
                    begin_s + notes.duration_s[heard],
                    notes.pitch_midi[heard],
                    notes.gain[heard],
                    notes.layer[heard],
                )
            )
        )
        for chord in section.chords:
            # A section's first chord may be the one before, which goes on.
            if chord.onset_s > 0.0 or not chords or chord.name != chords[-1].text:
                chords.append(Mark(chord.onset_s + offset_s, chord.name))
    for passage in passages_between(spec.seed, start_block * 1000, math.ceil(end * 1000)):
        bar_s = bar_of(passage.begin_ms, spec.bpm) * SECTION_S / spec.bpm - start_block
        sections.append(Mark(bar_s, passage.name))
        length_s = (passage.end_ms - passage.begin_ms) / 1000
        slots = progression(spec.seed, spec.mode, passage).slots
        parts += [bar_s + slot.position * length_s for slot in slots if slot.rank == 0]
    table = np.concatenate(columns, axis=1)
    table = table[:, (table[0] < seconds) & (table[1] > 0.0)]
    return ScoreView(
        begin_s=np.maximum(table[0], 0.0),
        end_s=np.minimum(table[1], seconds),
        pitch_midi=table[2],
        gain=table[3],
        layer=table[4].astype(np.uint8),
        chords=_within(chords, seconds),
        sections=_within(sections, seconds),
        parts=tuple(at_s for at_s in parts if 0.0 < at_s < seconds),
    )


def _within(marks: list[Mark], seconds: float) -> tuple[Mark, ...]:
    """Marks that begin inside the span, after the one that holds at its beginning, moved to 0."""
    before = [mark for mark in marks if mark.at_s <= 0.0]
    first = [Mark(0.0, before[-1].text)] if before else []
    return (*first, *(mark for mark in marks if 0.0 < mark.at_s < seconds))
