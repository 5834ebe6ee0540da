"""What is measured: which sound of which soundfont, at which pitches. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FLUID: Final = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
"""Debian's `fluid-soundfont-gm`, MIT."""
MUSESCORE: Final = Path("/usr/share/sounds/sf3/MuseScore_General_Full.sf3")
"""Debian's `musescore-general-soundfont`, MIT; its strings are CC0, its grand piano is in the public domain."""

PACKAGES: Final = {FLUID: "fluid-soundfont-gm", MUSESCORE: "musescore-general-soundfont"}


@dataclass(frozen=True, slots=True)
class Source:
    """One sound of a soundfont.

    Attributes:
        soundfont: file.
        bank, program: MIDI numbers.
        pitches: MIDI pitches that are measured.
    """

    soundfont: Path
    bank: int
    program: int
    pitches: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one instrument is measured.

    Attributes:
        name: of the table.
        sources: sounds that share the table, low to high.
        sustained: it sounds as long as the key is held; its rows are the harmonics. What is struck or plucked has
            its rows where its spectrum has peaks.
        rows: partials of a note at most.
        loud, soft: MIDI velocities. The table holds the loud one, and by how much each partial of the soft one differs.
        seconds: where the table ends, after the note's beginning.
        loop_s: from here on the table may be read back and forth while the note is held.
        skip_s: where the table begins.
        credit: who recorded it, and the licence.
    """

    name: str
    sources: tuple[Source, ...]
    sustained: bool
    rows: int = 24
    loud: int = 96
    soft: int = 44
    seconds: float = 2.6
    loop_s: float = 0.8
    skip_s: float = 0.0
    credit: str = "FluidR3 GM by Frank Wen and contributors, MIT"


_VSCO: Final = "Versilian Studios Chamber Orchestra 2 CE by Sam Gossner and others, CC0; MuseScore General, MIT"
_SPLENDID: Final = "Splendid Grand by AKAI, public domain; MuseScore General by S. Christian Collins, MIT"


def _fluid(program: int, low: int, high: int, step: int = 4) -> tuple[Source, ...]:
    return (Source(FLUID, 0, program, tuple(range(low, high + 1, step))),)


RECIPES: Final = (
    Recipe(
        "strings",
        (
            Source(MUSESCORE, 40, 49, (36, 40, 44, 48, 52)),
            Source(MUSESCORE, 30, 49, (56, 60, 64)),
            Source(MUSESCORE, 20, 49, (68, 72, 76, 80, 84)),
        ),
        sustained=True,
        # They swell for a second and more: the player has an attack of its own.
        skip_s=1.4,
        loop_s=1.4,
        seconds=3.8,
        credit=_VSCO,
    ),
    Recipe("ensemble", _fluid(48, 36, 84), sustained=True),
    Recipe("cello", _fluid(42, 36, 72), sustained=True),
    Recipe("choir", _fluid(52, 44, 84), sustained=True),
    Recipe("voices", _fluid(53, 48, 80), sustained=True),
    Recipe("flute", _fluid(73, 60, 92), sustained=True, rows=16),
    Recipe("clarinet", _fluid(71, 48, 84), sustained=True),
    Recipe("horn", _fluid(60, 40, 72), sustained=True),
    Recipe(
        "piano",
        (Source(MUSESCORE, 0, 0, tuple(range(36, 97, 5))),),
        sustained=False,
        loud=64,
        soft=30,
        credit=_SPLENDID,
    ),
    Recipe("harp", _fluid(46, 36, 96, 5), sustained=False),
    Recipe("guitar", _fluid(24, 40, 80, 5), sustained=False),
    Recipe("rhodes", _fluid(4, 36, 84, 6), sustained=False),
    Recipe("celesta", _fluid(8, 60, 102, 6), sustained=False, rows=12),
    Recipe("vibraphone", _fluid(11, 54, 84, 6), sustained=False, rows=12),
    Recipe("musicbox", _fluid(10, 60, 102, 6), sustained=False, rows=12),
    Recipe("glass", _fluid(92, 48, 90, 6), sustained=True, rows=20),
    Recipe("kalimba", _fluid(108, 48, 84, 6), sustained=False, rows=12),
    Recipe("contrabass", _fluid(43, 28, 52, 4), sustained=True, rows=28),
)
