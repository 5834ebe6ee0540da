"""The measured figures by row and by source. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.music_report.limits import EACH, LIMITS, OF_ONE_PRESET, UNKNOWN, limit_of

PRESET, PEER, ALL = "preset", "peer", "all presets"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        key: its name in JSON and among the limits.
        title: for people.
        unit: of its figures.
        decimals: shown.
    """

    key: str
    title: str
    unit: str
    decimals: int = 1


ROWS: Final = (
    Row("ear.people", "outside ear: from people", "", 0),
    Row("ear.organ", "outside ear: from the sine organ", "", 0),
    Row("ear.nearest", "outside ear: nearest person", "", 0),
    Row("ear.organ_lead", "outside ear: organ farther than the nearest person by", "", 0),
    Row("ear.rms", "outside ear: rms", ""),
    Row("ear.step", "outside ear: step of 3 s", ""),
    Row("ear.together", "outside ear: all presets together from people", "", 0),
    Row("ear.apart", "outside ear: presets apart", ""),
    Row("tone.peaks", "spectral peaks within 50 dB", "", 0),
    Row("tone.movement", "500 Hz band moves (rms)", "dB"),
    Row("tone.slope", "slope of the long-term spectrum", "dB/oct"),
    Row("low.beat", "fundamental below 120 Hz moves", "dB"),
    Row("low.correlation", "correlation below 120 Hz, least", "", 2),
    Row("low.key_step", "centroid of neighbouring keys differs by", "%", 0),
    Row("space.t30_500", "T30 at 500 Hz", "s"),
    Row("space.t30_high", "T30 at 4 to 10 kHz", "s"),
    Row("space.wet_high", "room above 4.1 kHz against the rest", "dB"),
    Row("space.tail", "3 s after a note", "dB"),
    Row("air.movement", "level above 5 kHz within an hour", "dB"),
    Row("dynamics.lufs_0", "loudness at intensity 0", "LUFS"),
    Row("dynamics.lufs_25", "loudness at intensity 0.25", "LUFS"),
    Row("dynamics.lufs_50", "loudness at intensity 0.5", "LUFS"),
    Row("dynamics.lufs_75", "loudness at intensity 0.75", "LUFS"),
    Row("dynamics.lufs_100", "loudness at intensity 1", "LUFS"),
    Row("dynamics.least_rise", "least rise from one intensity to the next", "LU"),
    Row("dynamics.range", "loudness range over ten minutes", "LU"),
    Row("dynamics.change", "greatest change of short-term loudness in 1 s", "LU"),
    Row("recognition.share", "recognised among the presets", "", 2),
    Row("score.repetition", "score: onsets come back after 60 or 240 s (autocorrelation)", "", 2),
    Row("score.last_density", "score: density of a passage's last 20 s", "", 2),
    Row("score.seeds", "score: six seeds told apart", "", 2),
    Row("score.passages", "score: eight passages told apart", "", 2),
    Row("score.come_back", "score: phrases that say again, changed, what was said 30 minutes before", "", 2),
    Row("score.fall", "score: notes a minute fall as bpm rises by one by", "%"),
    Row("score.equal_seconds", "score: equal seconds of a tempo and its double", "s", 0),
    Row("score.tension", "score: tension follows the arc (correlation)", "", 2),
    Row("score.low_seconds", "score: low minor seconds in an hour of the worst mode", "s", 0),
    Row("score.without_bass", "score: chords without bass", "%", 0),
    Row("score.clash", "score: a note rings beside the next chord for", "s"),
    Row("score.steps", "score: steps among the melody's moves", "", 2),
    Row("score.leaps_filled", "score: leaps that are filled", "", 2),
    Row("score.answers", "score: answers that close on root or fifth", "", 2),
    Row("score.phrase_notes", "score: notes of a phrase", ""),
    Row("score.key_step", "score: mean pitch of a layer from key to key", "st"),
    Row("score.sounding", "score: notes held together", ""),
    Row("score.notes", "score: notes a minute", "", 0),
    Row("controls.brightness", "brightness 0 to 1 moves the centroid by", "%", 0),
    Row("controls.density", "density 0 to 1: lines that begin besides", "/min", 0),
    Row("controls.onsets", "density 0 to 1: onsets in the score", "times"),
    Row("controls.texture", "the two most similar textures differ by (third octaves)", "dB"),
    Row("controls.texture_level", "level of the texture 0 to 1.5: above 5 kHz", "dB"),
    Row("layers.drone", "what is missing without the drone, against the whole", "dB"),
    Row("layers.bass", "… without the bass", "dB"),
    Row("layers.pad", "… without the pad", "dB"),
    Row("layers.melody", "… without the melody", "dB"),
    Row("layers.shimmer", "… without the shimmer", "dB"),
    Row("layers.pulse", "… without the pulse", "dB"),
    Row("layers.air", "… without the texture", "dB"),
)
"""All rows, in the table's order."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        row: key of its row.
        kind: PRESET, PEER or ALL.
        name: of the preset or peer that was measured; empty for ALL.
        value: in the row's unit; None where it was not measured.
        note: the reason why not, or what belongs to the figure.
    """

    row: str
    kind: str
    name: str
    value: float | None
    note: str = ""

    @property
    def verdict(self) -> str:
        """OK or SHORT where a limit applies to this figure alone; UNKNOWN otherwise."""
        limit = limit_of(self.row, self.name)
        if self.kind == PEER or self.value is None or limit is None or limit.scope != EACH:
            return UNKNOWN
        return limit.judge([self.value])

    def as_json(self) -> dict[str, Any]:
        """For a line of JSON."""
        limit = None if self.kind == PEER else limit_of(self.row, self.name)
        unit = next(row.unit for row in ROWS if row.key == self.row)
        return {
            "row": self.row,
            "kind": self.kind,
            "name": self.name,
            "value": None if self.value is None else round(self.value, 4),
            "unit": unit,
            "must": limit.text if limit else "",
            "verdict": self.verdict,
            "note": self.note,
        }


class Results:
    """Figures in the order in which they came; of a row and name the first one counts."""

    def __init__(self, figures: Iterable[Figure] = ()) -> None:
        self.figures: list[Figure] = []
        for figure in figures:
            self.add(figure.row, figure.kind, figure.name, figure.value, figure.note)

    def add(self, row: str, kind: str, name: str, value: float | None, note: str = "") -> None:
        """Keep a figure; what is not a number was not measured.

        Raises:
            ValueError: no such row.
        """
        if all(row != known.key for known in ROWS):
            raise ValueError(f"row: got {row!r}, expected one of ROWS")
        if value is not None and not math.isfinite(value):
            value, note = None, note or "there is nothing of it to be measured"
        if self.get(row, name) is None:
            self.figures.append(Figure(row, kind, name, value, note))

    def get(self, row: str, name: str) -> Figure | None:
        """The figure of a row for a name."""
        return next((figure for figure in self.figures if (figure.row, figure.name) == (row, name)), None)

    def values(self, row: str, kind: str) -> list[float]:
        """All that was measured of a row."""
        return [f.value for f in self.figures if (f.row, f.kind) == (row, kind) and f.value is not None]

    def verdict(self, row: str) -> str:
        """OK, SHORT or UNKNOWN for a row, over the presets that its limit speaks of."""
        limit = LIMITS.get(row)
        if limit is not None:
            return limit.judge(self.values(row, PRESET) + self.values(row, ALL))
        named = [self.get(row, name) for known, name in OF_ONE_PRESET if known == row]
        verdicts = [figure.verdict for figure in named if figure is not None]
        return min(verdicts, key=lambda verdict: verdict != "short of", default=UNKNOWN)
