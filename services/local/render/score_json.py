"""Pure. A span of a stream's score as JSON; docs/export.md describes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from services.contract.spec import StreamSpec
from services.local.render.notes import notes_of
from services.local.render.players import players_of
from services.local.render.score_view import Mark, ScoreView
from services.synthesis.score.events import Layer
from services.synthesis.score.theory import note_name

FORMAT: Final = "auralis-score"
VERSION: Final = 1
"""Raised only when a reader of the version before would misread a file; new fields do not raise it."""
_DIGITS: Final = 6
"""Times are written in microseconds at the finest."""


def score_json(spec: StreamSpec, score: ScoreView, *, start_block: int, seconds: float) -> str:
    """The document, with a line for each note, chord and section.

    Args:
        spec: the stream.
        score: the span, from `score_view.view_score`.
        start_block: first second of the span since the Unix epoch.
        seconds: length of the span.
    """
    head: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "title": spec.title,
        "stream_id": spec.stream_id,
        "stream": spec.to_params(),
        "start": start_block,
        "seconds": seconds,
        "layers": {layer.name.lower(): _layer(spec, layer) for layer in Layer},
    }
    lists = {
        "sections": [_mark(section) for section in score.sections],
        "chords": [_mark(chord) for chord in score.chords],
        "notes": _notes(spec, score),
    }
    parts = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items()]
    parts += [f"{json.dumps(name)}: {_lines(values)}" for name, values in lists.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _layer(spec: StreamSpec, layer: Layer) -> dict[str, Any]:
    return {
        "level": spec.levels[layer.name.lower()],
        "instruments": [
            {
                "name": player.instrument,
                "midi_program": player.program,
                "volume": player.volume,
                "transpose": player.transpose,
            }
            for player in players_of(spec, layer)
        ],
    }


def _mark(mark: Mark) -> dict[str, Any]:
    return {"time": round(mark.at_s, _DIGITS), "name": mark.text}


def _notes(spec: StreamSpec, score: ScoreView) -> list[dict[str, Any]]:
    instruments = {layer: [player.instrument for player in players_of(spec, layer)] for layer in Layer}
    return [
        {
            "time": round(note.begin_s, _DIGITS),
            "duration": round(note.end_s - note.begin_s, _DIGITS),
            "pitch": note.pitch,
            "name": f"{note_name(note.pitch, spec.pitch_class, spec.mode)}{note.pitch // 12 - 1}",
            "velocity": note.velocity,
            "layer": note.layer.name.lower(),
            "instruments": instruments[note.layer],
            "chord": note.chord,
        }
        for note in notes_of(score)
    ]


def _lines(values: Sequence[dict[str, Any]]) -> str:
    """A list with a line for each value, so that two scores can be compared line by line."""
    if not values:
        return "[]"
    return "[\n" + ",\n".join(f"  {json.dumps(value, ensure_ascii=False)}" for value in values) + "\n]"
