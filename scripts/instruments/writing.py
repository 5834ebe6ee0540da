"""From recordings of an instrument to the bytes of its table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scripts.instruments.catalogue import Recipe
from scripts.instruments.heterodyne import (
    POINTS_HZ,
    MeasuredNote,
    envelopes,
    measure,
    nominal_hz,
    partials_hz,
    release_s,
)
from services.synthesis.instruments.table import LEVEL_STEP_DB, encode

Recordings = Mapping[int, NDArray[np.float64]]
"""By MIDI pitch."""

_FLOOR_DB: Final = -70.0
"""Below it, against the note's peak, a partial's decay is not read."""
_LEVEL_S: Final = 0.7
"""The first part of a note, whose power is brought to 1."""


def table(recipe: Recipe, loud: Recordings, soft: Recordings) -> bytes:
    """The file of an instrument."""
    notes: list[dict[str, Any]] = []
    parts = []
    for pitch in sorted(loud):
        note = measured(recipe, loud[pitch], pitch)
        skip = round(recipe.skip_s * POINTS_HZ)
        envelope = note.envelope[:, skip:]
        size = np.abs(envelope)
        size /= np.sqrt((size[:, : round(_LEVEL_S * POINTS_HZ)] ** 2).mean(axis=1).sum())
        peak = float(size.max())
        other = np.abs(envelopes(soft[pitch], note.hz, note.envelope.shape[1]))[:, skip:]
        notes.append(
            {
                "midi": pitch,
                "points": envelope.shape[1],
                "peak": round(peak, 5),
                "loop": round(recipe.loop_s * POINTS_HZ) - skip,
                "release_s": round(release_s(loud[pitch]), 3),
                "ratio": [round(float(ratio), 6) for ratio in note.hz / nominal_hz(pitch)],
                "decay_db_s": [0.0] * len(size) if recipe.sustained else _decays(size),
                "soft_db": _soft(size, other),
            }
        )
        levels = np.rint(255.0 + 20.0 * np.log10(np.maximum(size / peak, 1e-9)) / LEVEL_STEP_DB)
        turns = np.rint(np.angle(envelope) * (256.0 / (2.0 * np.pi)))
        parts.append((np.clip(levels, 0, 255).astype(np.uint8), (turns.astype(np.int64) % 256).astype(np.uint8)))
    header = {"name": recipe.name, "credit": recipe.credit, "sustained": recipe.sustained, "notes": notes}
    return encode(header, parts)


def measured(recipe: Recipe, sound: NDArray[np.float64], pitch: int) -> MeasuredNote:
    """The partials of one recorded note."""
    points = round(recipe.seconds * POINTS_HZ)
    hz = partials_hz(sound, pitch, sustained=recipe.sustained, rows=recipe.rows)
    return measure(sound, hz, points, slice(round(recipe.loop_s * POINTS_HZ), points))


def _decays(size: NDArray[np.float64]) -> list[float]:
    """Decibels a second by which each partial falls at last: over the later part of what can be heard of it."""
    level_db = 20.0 * np.log10(np.maximum(size, 1e-9) / size.max())
    result = []
    for row in level_db:
        peak = int(np.argmax(row[: POINTS_HZ // 2]))
        quiet = np.flatnonzero(row[peak:] < _FLOOR_DB)
        end = peak + int(quiet[0]) if len(quiet) else len(row)
        begin = peak + (end - peak) // 3
        slope = np.polyfit(np.arange(begin, end), row[begin:end], 1)[0] * POINTS_HZ if end - begin >= 8 else -120.0
        result.append(round(float(np.clip(-slope, 0.5, 120.0)), 2))
    return result


def _soft(loud: NDArray[np.float64], soft: NDArray[np.float64]) -> list[float]:
    """How much softer than the whole note each partial is when the note is soft."""
    first = slice(0, POINTS_HZ)
    powers = [(part[:, first] ** 2).mean(axis=1) for part in (loud, soft)]
    levels_db = [10.0 * np.log10(power / power.sum() + 1e-9) for power in powers]
    return [round(float(value), 1) for value in np.clip(levels_db[1] - levels_db[0], -30.0, 6.0)]
