"""A score of a few plain notes, for tests that must know what is played."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from services.contract.spec import StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.packing.section_store import Compose
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer, Notes, Section, SectionChord

Row = tuple[float, float, float, float, Layer]
"""Onset in seconds, duration, pitch, threshold, layer."""


def notes(rows: Sequence[Row]) -> Notes:
    rows = sorted(rows)
    count = len(rows)

    def column(index: int) -> np.ndarray:
        return np.array([row[index] for row in rows], dtype=np.float64)

    return Notes(
        onset_s=column(0),
        duration_s=column(1),
        pitch_midi=column(2),
        gain=np.full(count, 0.5, dtype=np.float32),
        pan=np.zeros(count, dtype=np.float32),
        brightness=np.full(count, 0.5, dtype=np.float32),
        threshold=column(3).astype(np.float32),
        layer=np.array([row[4] for row in rows], dtype=np.uint8),
        seed=np.arange(count, dtype=np.uint32) * np.uint32(77_777),
    )


def score(rows: Sequence[Row], *, chords: Sequence[tuple[float, str]] = ((0.0, "C"),), air: float = 0.0) -> Compose:
    """A score that plays `rows` in every section."""

    def compose(_spec: StreamSpec, number: int) -> Section:
        return Section(
            number=number,
            notes=notes(rows),
            chords=tuple(SectionChord(onset, name) for onset, name in chords),
            air_s=np.array([0.0, float(SECTION_S)]),
            air_level=np.full(2, air, dtype=np.float32),
        )

    return compose


def without_air(spec: StreamSpec, number: int) -> Section:
    """The real score without its noise, in which a click could hide."""
    section = compose_section(spec, number)
    return dataclasses.replace(section, air_level=np.zeros_like(section.air_level))
