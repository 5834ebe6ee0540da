"""The rows of the score: each preset's notes are read, nothing is rendered. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.music_report import lines, score
from services.contract.spec import MAX_BPM, MIN_BPM, StreamSpec
from services.contract.timebase import SECTION_S

Measured = float | tuple[float, str]
"""A figure, or a figure and what belongs to it."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of the score is read.

    Attributes:
        first: section that everything begins with.
        hour: sections of most rows.
        two_hours: of rows for which things must come back.
        stretch: of rows that read many tempos, modes or keys.
        tempo_step: every how manieth bpm the notes a minute are compared with those of the next one.
        seeds: that are told apart.
    """

    first: int
    hour: int = 15
    two_hours: int = 30
    stretch: int = 6
    tempo_step: int = 1
    seeds: int = 6


def brief(extent: Extent) -> Extent:
    """The least extent for which every row has a figure."""
    return replace(extent, two_hours=15, stretch=2, tempo_step=35, seeds=2)


_QUIET_STEPS: Final = 8
"""Intensity at which a tempo and its double are compared, in steps: little covers what is the same."""
_SLOW_BPM: Final = (40, 60, 90)
"""Tempos that are compared with their doubles."""


def _repetition(spec: StreamSpec, extent: Extent) -> Measured:
    return score.repetition(score.stretch(spec, extent.first, extent.two_hours))


def _equal_seconds(spec: StreamSpec, extent: Extent) -> Measured:
    return float(score.equal_seconds(replace(spec, intensity_steps=_QUIET_STEPS), extent.first, _SLOW_BPM))


def _greatest_fall(spec: StreamSpec, extent: Extent) -> Measured:
    tempos = sorted(
        {bpm + one for bpm in range(MIN_BPM, MAX_BPM, extent.tempo_step) for one in (0, 1)} & set(range(MAX_BPM + 1))
    )
    return score.greatest_fall(spec, extent.first, extent.stretch, tempos)


def _phrases(spec: StreamSpec, extent: Extent) -> list[lines.Heard]:
    return lines.heard_phrases(spec, extent.first, extent.hour)


def _come_back(spec: StreamSpec, extent: Extent) -> Measured:
    found, others = (
        lines.heard_phrases(replace(spec, seed=spec.seed + step), extent.first, extent.two_hours) for step in (0, 1)
    )
    own, chance = lines.come_back(found, others)
    return own, f"of another seed's {chance:.2f}"


ROWS: Final[Mapping[str, Callable[[StreamSpec, Extent], Measured]]] = {
    "score.repetition": _repetition,
    "score.last_density": lambda spec, extent: score.last_density(spec, extent.first, extent.two_hours),
    "score.seeds": lambda spec, extent: score.seeds_told_apart(
        lambda seed: replace(spec, seed=seed), extent.first, extent.seeds
    ),
    "score.passages": lambda spec, extent: score.passages_told_apart(spec, extent.first),
    "score.come_back": _come_back,
    "score.fall": _greatest_fall,
    "score.equal_seconds": _equal_seconds,
    "score.tension": lambda spec, extent: score.tension_follows(spec, extent.first, extent.two_hours),
    "score.low_seconds": lambda spec, extent: score.worst_mode(spec, extent.first, extent.stretch),
    "score.without_bass": lambda spec, extent: score.without_bass(spec, extent.first, extent.hour),
    "score.clash": lambda spec, extent: score.longest_clash(spec, extent.first, extent.stretch),
    "score.steps": lambda spec, extent: lines.steps(_phrases(spec, extent)),
    "score.leaps_filled": lambda spec, extent: lines.leaps_filled(_phrases(spec, extent)),
    "score.answers": lambda spec, extent: lines.answers_at_rest(_phrases(spec, extent)),
    "score.phrase_notes": lambda spec, extent: lines.notes_a_phrase(_phrases(spec, extent)),
    "score.key_step": lambda spec, extent: score.key_step(spec, extent.first, extent.hour),
    "score.sounding": lambda spec, extent: score.sounding(score.stretch(spec, extent.first, extent.hour)),
    "score.notes": lambda spec, extent: score.notes_a_minute(score.stretch(spec, extent.first, extent.hour)),
}
"""By row: what is measured of a stream."""


def measure(spec: StreamSpec, extent: Extent, row: str) -> tuple[float, str]:
    """A row's figure for a stream, and what belongs to it."""
    found = ROWS[row](spec, extent)
    return found if isinstance(found, tuple) else (found, "")


def extent_from(start_s: int) -> Extent:
    """The whole extent, from the section on that holds a moment (seconds since the epoch)."""
    return Extent(start_s // SECTION_S)
